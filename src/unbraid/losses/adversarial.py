"""Losses of critics and of what they criticise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Float[Tensor, " batch"]],
    real: Float[Tensor, "batch *item"],
    fake: Float[Tensor, "batch *item"],
    mix: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Squared distance to 1 of the critic's slope at points between real and made items (Gulrajani et al., 2017).

    Args:
        critic: A value for each item.
        real: Items of the data.
        fake: Made items.
        mix: Share of the real item in each point, 0 to 1.

    >>> zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
    >>> gradient_penalty(lambda x: 3 * x[:, 0] + 4 * x[:, 1], zeros, ones, torch.tensor([0.5])).tolist()
    [16.0]
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1))
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    with torch.enable_grad():
        [slope] = torch.autograd.grad(critic(between).sum(), [between], create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return (norm - 1).square()
