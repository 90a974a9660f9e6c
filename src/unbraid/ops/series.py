"""Series described by a few numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Course(NamedTuple):
    """How series run, channel by channel.

    Attributes:
        trend: By how much the straight line of least squares rises from the first step to the last.
        amplitude: Root of twice the variance around that line: the amplitude, where the rest is a sine.
        frequency: Periods in the whole series: the mean of the rest's spectrum.
    """

    trend: Float[Tensor, "*batch"]
    amplitude: Float[Tensor, "*batch"]
    frequency: Float[Tensor, "*batch"]


def course(x: Float[Tensor, "*batch time"]) -> Course:
    """Trend, amplitude and frequency of series of two steps or more.

    >>> t = torch.arange(64) / 64
    >>> [round(float(v)) for v in course(2 * torch.cos(2 * torch.pi * 5 * t) + 3)]
    [0, 2, 5]
    """
    steps = x.shape[-1]
    time = torch.linspace(-0.5, 0.5, steps, dtype=x.dtype, device=x.device)
    middle = x - x.mean(-1, keepdim=True)
    trend = (middle * time).sum(-1) / time.square().sum()
    rest = middle - trend[..., None] * time
    amplitude = (2 * rest.square().mean(-1)).sqrt()
    power = torch.fft.rfft(rest).abs().square()
    total = power.sum(-1)
    bins = torch.arange(power.shape[-1], dtype=x.dtype, device=x.device)
    return Course(trend, amplitude, (power * bins).sum(-1) / torch.where(total > 0, total, 1.0))
