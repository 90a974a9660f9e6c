"""An encoder of images that is learned from and never moved: a module, or a run and one of its parts."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field
from unbraid.core.given import Frozen
from unbraid.core.method import Method


class Target(nn.Module):
    """Images in [0, 1] -> rows of numbers.

    Args:
        net: A module that gives them, or a method whose part they are.
        field: The images (C, H, W).
        part: The part of a method; its first vector where empty.

    Attributes:
        width: Numbers in a row.

    Raises:
        ConfigError: It does not take such images, or gives something else.

    >>> target = Target(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), Field((1, 2, 2)))
    >>> target.width, target(torch.zeros(5, 1, 2, 2)).shape
    (3, torch.Size([5, 3]))
    """

    def __init__(self, net: nn.Module, field: Field, part: str = "") -> None:
        super().__init__()
        self.net = Frozen(net)
        self.part = _vector(net, part) if isinstance(net, Method) else part
        self.width = self._measured(field)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """One row per image."""
        net = self.net.inner
        rows: Tensor = net.encode({"x": x})[self.part] if isinstance(net, Method) else self.net(x)
        return rows

    @torch.no_grad()
    def _measured(self, field: Field) -> int:
        net = self.net.inner
        device = next((t.device for t in (*net.parameters(), *net.buffers())), torch.device("cpu"))
        try:
            said: Any = self(torch.zeros(2, *field.shape, device=device))
        except (RuntimeError, TypeError) as error:
            got = " ".join(str(error).split())[:120]
            raise ConfigError(f"a target that takes images {field.shape}", got=got, where="target") from None
        if not isinstance(said, Tensor) or said.ndim != 2:
            got = f"shape {tuple(said.shape)}" if isinstance(said, Tensor) else type(said).__name__
            raise ConfigError("a target that gives a row of numbers for each image", got=got, where="target")
        return said.shape[1]


def _vector(net: Method[Any], part: str) -> str:
    vectors = [spec.name for spec in net.parts() if spec.kind == "vec"]
    name = part or next(iter(vectors), "")
    if name not in vectors:
        raise ConfigError("a vector among the target's parts", got=f"'{name}'", fix=", ".join(vectors), where="part")
    return name
