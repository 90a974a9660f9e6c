"""Directions that a generator's weights tell by themselves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.methods.latent.potential.generator import Generator
from unbraid.ops.derivatives import jvp
from unbraid.ops.linalg import eigh_sorted

_CODES = 256


@torch.no_grad()
def closed_form(generator: Generator, count: int, chance: torch.Generator) -> Float[Tensor, "count width"]:
    """The unit eigenvectors of A^T A, the largest first, for the first weight A that reads a code.

    Where there is no such linear layer, A^T A is the mean of J^T J over some normal codes, J being the generator's
    Jacobian.

    Source:
        Shen and Zhou, 2021, eq. 6.
    """
    weight = _first_weight(generator, chance.device)
    gram = weight.mT @ weight if weight is not None else _mean_gram(generator, chance)
    return eigh_sorted(gram)[1].mT[:count]


def _first_weight(generator: Generator, device: torch.device) -> Float[Tensor, "out width"] | None:
    """Of the first linear layer through which a code goes."""
    found: list[Tensor] = []

    def listen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape == (1, generator.width) and isinstance(module, nn.Linear):
            found.append(module.weight)

    hooks = [m.register_forward_pre_hook(listen) for m in generator.inner.modules() if isinstance(m, nn.Linear)]
    try:
        generator(torch.zeros(1, generator.width, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _mean_gram(generator: Generator, chance: torch.Generator) -> Float[Tensor, "width width"]:
    z = torch.randn((_CODES, generator.width), generator=chance, device=chance.device)
    columns = []
    for axis in torch.eye(generator.width, device=z.device):
        with torch.enable_grad():
            columns.append(jvp(generator, z, axis.expand_as(z).contiguous())[1].detach().flatten())
    pushed = torch.stack(columns)
    return pushed @ pushed.mT / _CODES
