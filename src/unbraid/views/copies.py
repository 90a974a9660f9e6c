"""Transformations that are no secret: every image once under each of them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError

Transform = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) -> images of the same shape; draws nothing."""

Transforms = Literal[
    "none",
    "rotation",
    "rotation2",
    "colours6",
    "colours3",
    "rotation2-colours3",
    "rotation-colours3",
    "rotation-colours6",
]
"""Quarter or half turns, orders of the three colours, and products of these, the turns being the outer loop."""

_COLOURS6 = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_COLOURS3 = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def _turned(quarters: int, colours: tuple[int, ...], x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
    """Turned against the clock, the colours in another order; the same tensor where nothing changes."""
    if quarters:
        x = torch.rot90(x, quarters, (2, 3))
    return x if colours == _COLOURS6[0] else x[:, list(colours)]


def _product(turns: Sequence[int], colours: Sequence[tuple[int, ...]]) -> tuple[Transform, ...]:
    return tuple(partial(_turned, k, order) for k in turns for order in colours)


_QUARTERS, _HALVES, _ALONE = range(4), (0, 2), _COLOURS6[:1]

TRANSFORMS: Mapping[Transforms, tuple[Transform, ...]] = MappingProxyType(
    {
        "none": _product((0,), _ALONE),
        "rotation": _product(_QUARTERS, _ALONE),
        "rotation2": _product(_HALVES, _ALONE),
        "colours6": _product((0,), _COLOURS6),
        "colours3": _product((0,), _COLOURS3),
        "rotation2-colours3": _product(_HALVES, _COLOURS3),
        "rotation-colours3": _product(_QUARTERS, _COLOURS3),
        "rotation-colours6": _product(_QUARTERS, _COLOURS6),
    }
)
"""Name -> transformations, the identity first."""


def transforms_for(name: Transforms, shape: Sequence[int]) -> tuple[Transform, ...]:
    """The transformations of a name, for images of a shape (C, H, W).

    Raises:
        DataError: These images cannot be turned so, or have no three colours.

    >>> len(transforms_for("rotation-colours3", (3, 8, 8)))
    12
    """
    if len(shape) != 3:
        raise DataError("images (C, H, W)", got=f"items of shape {tuple(shape)}", where="field 'x'")
    if "colours" in name and shape[0] != 3:
        raise DataError("images of three colours", got=f"{shape[0]} channels", fix="use rotation", where="field 'x'")
    if name in ("rotation", "rotation-colours3", "rotation-colours6") and shape[1] != shape[2]:
        got = f"{shape[1]} x {shape[2]}"
        raise DataError("square images, for quarter turns", got=got, fix="use rotation2 or square images")
    return TRANSFORMS[name]


def expand(x: Float[Tensor, "batch c h w"], transforms: Sequence[Transform]) -> Float[Tensor, "rows c h w"]:
    """The images under every transformation: row b M + m is image b under transformation m.

    Args:
        x: The images.
        transforms: M functions, the first of which must leave images as they are.

    Raises:
        ConfigError: The first is another, or one changes the shape.

    >>> turned = expand(torch.arange(4.0).reshape(1, 1, 2, 2), TRANSFORMS["rotation"])
    >>> turned.flatten(1).tolist()
    [[0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 0.0, 2.0], [3.0, 2.0, 1.0, 0.0], [2.0, 0.0, 3.0, 1.0]]
    """
    made = [f(x) for f in transforms]
    if not made or (made[0] is not x and not torch.equal(made[0], x)):
        raise ConfigError("the identity as first transformation", got="another", where="transforms")
    if shapes := [tuple(y.shape) for y in made if y.shape != x.shape]:
        raise ConfigError(f"transformations that keep the shape {tuple(x.shape)}", got=str(shapes[0]))
    return torch.stack(made, 1).flatten(0, 1)
