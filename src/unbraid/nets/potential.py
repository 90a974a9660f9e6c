"""Families of scalar potentials over codes, along whose gradients codes are moved."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

Which = int | Int[Tensor, " batch"]
"""A potential for all codes, or one for each."""


class Field(Protocol):
    """A family of potentials.

    Attributes:
        count: How many.
        unit: Whether codes move along the unit gradient, as where only its direction is learned.
    """

    count: int
    unit: bool

    def __call__(
        self, z: Float[Tensor, "batch dim"], t: Float[Tensor, " time"], which: Which
    ) -> Float[Tensor, " batch"]:
        """The values at some codes at one time, or at one time for each."""


def sinusoids(t: Float[Tensor, " time"], width: int) -> Float[Tensor, "time width"]:
    """Sines, then cosines of times at geometric frequencies from 1 down to 1 / 10,000; a zero where `width` is odd.

    >>> sinusoids(torch.zeros(1), 6).tolist()
    [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]
    """
    half = width // 2
    steps = torch.arange(half, device=t.device, dtype=t.dtype)
    angle = t[:, None] * torch.exp(-steps * math.log(10_000) / max(1, half - 1))
    return functional.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, width % 2))


class Potentials(nn.Module):
    """Potentials that change in time, each a small network with values in (-1, 1), and a wave speed of its own.

    tanh(w . tanh(A (tanh(B z) + C GELU(D e(t))))), each with biases, for the sinusoids e(t).

    Args:
        count: How many.
        width: Numbers in a code.
        saturate: Whether the last tanh is there in eval mode, too; without, the moves are longer.

    Attributes:
        speed: One for each, 1 at first.
    """

    unit = False

    def __init__(self, count: int, width: int, *, saturate: bool = True) -> None:
        super().__init__()
        self.count, self.width, self.saturate = count, width, saturate
        self.place, self.time, self.time2, self.mix = (Stacked(count, width, width) for _ in range(4))
        self.read = Stacked(count, width, 1)
        self.speed = nn.Parameter(torch.ones(count))

    def forward(
        self, z: Float[Tensor, "batch dim"], t: Float[Tensor, " time"], which: Which
    ) -> Float[Tensor, " batch"]:
        """The values of one potential."""
        assert isinstance(which, int)
        time = self.time2(functional.gelu(self.time(sinusoids(t, self.width), which)), which)
        mixed = self.mix(self.place(z, which).tanh() + time, which).tanh()
        value: Tensor = self.read(mixed, which)[:, 0]
        return value.tanh() if self.training or self.saturate else value


class Stacked(nn.Module):
    """Linear layers of one shape, of which one is used at a time.

    Args:
        count: How many.
        before: Width of the input.
        after: Width of the output.
    """

    def __init__(self, count: int, before: int, after: int) -> None:
        super().__init__()
        bound = before**-0.5  # as torch starts linear layers
        self.weight = nn.Parameter(torch.empty(count, after, before).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, after).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "batch before"], which: int) -> Float[Tensor, "batch after"]:
        """The output of one layer."""
        return functional.linear(x, self.weight[which], self.bias[which])


class LinearPotentials(nn.Module):
    """Potentials whose gradient is a direction of length 1, the same everywhere (Voynov and Babenko, 2020).

    Args:
        count: How many.
        width: Numbers in a code.
    """

    unit = True

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.directions = nn.Parameter(torch.randn(count, width))

    def forward(
        self, z: Float[Tensor, "batch dim"], t: Float[Tensor, " time"], which: Which
    ) -> Float[Tensor, " batch"]:
        """The coordinates of codes along the directions."""
        return (z * functional.normalize(self.directions[which], dim=-1)).sum(1)


class RadialPotentials(nn.Module):
    """Potentials made of radial bumps in pairs of opposite sign at opposite places (Tzelepis et al., 2021).

    f(z) = sum_i a_i exp(-g_i |z - s_i|^2); places s and scales g are learned, the signs a stay. The pairs of potential
    k are at first at a distance from 1 (the first) to 4 (the last) from the origin, and a bump falls to one half at
    the place of its opposite.

    Args:
        count: How many.
        width: Numbers in a code.
        pairs: Pairs in each.
    """

    unit = True
    signs: Tensor

    def __init__(self, count: int, width: int, pairs: int) -> None:
        super().__init__()
        self.count = count
        radius = torch.linspace(1, 4, count) if count > 1 else torch.ones(1)
        place = functional.normalize(torch.randn(count, pairs, width), dim=-1) * radius[:, None, None]
        self.places = nn.Parameter(torch.cat([place, -place], 1))
        scale = math.log(2) / (2 * radius).square()
        self.scales = nn.Parameter(scale.log()[:, None].repeat(1, 2 * pairs))
        self.register_buffer("signs", torch.tensor([1.0, -1.0]).repeat_interleave(pairs))

    def forward(
        self, z: Float[Tensor, "batch dim"], t: Float[Tensor, " time"], which: Which
    ) -> Float[Tensor, " batch"]:
        """The sums of the bumps at codes."""
        distance = (z[:, None] - self.places[which]).square().sum(-1)
        return (self.signs * torch.exp(-self.scales[which].exp() * distance)).sum(-1)
