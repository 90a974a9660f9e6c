"""Losses that are to be held below a bound: each is weighed by a multiplier that grows while it is above."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def tightened(
    multiplier: Float[Tensor, "*constraints"],
    excess: Float[Tensor, "*constraints"],
    rate: float,
    limits: tuple[float, float],
) -> Float[Tensor, "*constraints"]:
    """The multiplier times exp(rate * excess), within its limits: up where a bound is exceeded, else down.

    Source:
        Rezende and Viola, "Taming VAEs", 2018, algorithm 1.

    >>> import torch
    >>> round(float(tightened(torch.tensor(1.0), torch.tensor(0.5), 0.1, (1e-3, 1e4))), 6)
    1.051271
    """
    return (multiplier * (rate * excess).exp()).clamp(*limits)
