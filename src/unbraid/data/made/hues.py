"""Colours around the circle."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def hues(count: int) -> Float[Tensor, "count 3"]:
    """As many hues, equally far apart on the colour circle, all of full value and not quite full saturation.

    >>> [[round(v, 2) for v in rgb] for rgb in hues(3).tolist()]
    [[1.0, 0.15, 0.15], [0.15, 1.0, 0.15], [0.15, 0.15, 1.0]]
    """
    turn = torch.arange(count)[:, None] * (6 / count) + torch.tensor([0.0, 4.0, 2.0])
    return 0.15 + 0.85 * ((turn % 6 - 3).abs() - 1).clamp(0, 1)
