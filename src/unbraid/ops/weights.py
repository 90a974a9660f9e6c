"""Points of weight space: mixtures of two draws, planes through three points."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError


def interpolated(a: Tensor, b: Tensor, alpha: float, *, keep_variance: bool = True) -> Tensor:
    """(1 - alpha) a + alpha b; divided by its length in independent draws where the variance is kept.

    >>> interpolated(torch.tensor([1.0]), torch.tensor([1.0]), 0.5).round(decimals=4)
    tensor([1.4142])
    """
    scale = math.hypot(alpha, 1 - alpha) if keep_variance else 1.0
    return ((1 - alpha) * a + alpha * b) / scale


def neighbour(a: Tensor, b: Tensor, eps: float, *, keep_variance: bool = True) -> Tensor:
    """A + eps b, likewise.

    >>> neighbour(torch.tensor([3.0]), torch.tensor([1.0]), 0.0)
    tensor([3.])
    """
    return (a + eps * b) / (math.hypot(1, eps) if keep_variance else 1.0)


class Plane(NamedTuple):
    """The plane through three points.

    Attributes:
        origin: The first point.
        axes: Orthonormal directions; the first leads to the second point.
        places: Coordinates of the three points.
    """

    origin: Float[Tensor, " d"]
    axes: Float[Tensor, "2 d"]
    places: Float[Tensor, "3 2"]

    def at(self, place: Float[Tensor, " 2"]) -> Float[Tensor, " d"]:
        """The point of some coordinates."""
        return self.origin + place @ self.axes


def plane(a: Float[Tensor, " d"], b: Float[Tensor, " d"], c: Float[Tensor, " d"]) -> Plane:
    """The plane through three points.

    Raises:
        DataError: They lie on one line.

    >>> plane(torch.zeros(3), torch.tensor([2.0, 0, 0]), torch.tensor([1.0, 3, 0])).places.tolist()
    [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]
    """
    u, v = b - a, c - a
    first = u / u.norm().clamp_min(torch.finfo(u.dtype).tiny)
    rest = v - (v @ first) * first
    if rest.norm() <= 1e-6 * v.norm() or not u.norm():
        raise DataError("three points that do not lie on one line", got="three that do")
    axes = torch.stack([first, rest / rest.norm()])
    return Plane(a, axes, torch.stack([torch.zeros_like(u), u, v]) @ axes.T)


def barrier(errors: Float[Tensor, " n"]) -> float:
    """How far errors on the line between two networks rise above the mean of those at its ends.

    >>> round(barrier(torch.tensor([0.25, 0.75, 0.25])), 3), barrier(torch.zeros(3))
    (0.5, 0.0)
    """
    return float(errors.max() - (errors[0] + errors[-1]) / 2)
