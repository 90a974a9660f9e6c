"""Views of sounds and signals, time last: waveforms (B, T), series and mel bands (B, C, T); every item its own draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.views.view import Chance, Draw, View

Range = tuple[float, float]


def _between(limits: Range, u: Tensor) -> Tensor:
    low, high = limits
    return low + (high - low) * u


def _each(value: Tensor, x: Tensor) -> Tensor:
    """One number per item, to be broadcast over the rest."""
    return value.reshape(-1, *[1] * (x.ndim - 1))


def _at_times(x: Float[Tensor, "batch *c t"], index: Int[Tensor, "batch u"]) -> Float[Tensor, "batch *c u"]:
    """`x` at a list of times per item."""
    where = index.reshape(len(x), *[1] * (x.ndim - 2), -1).expand(*x.shape[:-1], -1)
    return x.gather(-1, where)


@dataclass(frozen=True)
class Window(View):
    """A stretch of the item from a random time on.

    Attributes:
        length: Its samples; at most those of the item.
    """

    length: int

    def after(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[:-1], min(self.length, shape[-1]))

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        room = shape[-1] - self.after(shape)[-1] + 1
        return {"start": (at.rand(shape[:1]) * room).long()}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return _at_times(x, draw["start"][:, None] + torch.arange(self.after(x.shape)[-1], device=x.device))


@dataclass(frozen=True)
class Shift(View):
    """Moves the item in time; what leaves at one end comes back at the other.

    Attributes:
        most: Largest shift either way, as a share of the length.
    """

    most: float = 0.1

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"by": (self.most * shape[-1] * (2 * at.rand(shape[:1]) - 1)).round().long()}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return _at_times(x, (torch.arange(x.shape[-1], device=x.device) - draw["by"][:, None]) % x.shape[-1])


@dataclass(frozen=True)
class Stretch(View):
    """Plays the item faster or slower, by linear interpolation; slower ones are cut off, after faster ones is silence.

    Attributes:
        rate: Least and largest speed; even in its logarithm.
    """

    rate: Range = (0.9, 1.1)

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        low, high = self.rate
        return {"rate": torch.exp(_between((math.log(low), math.log(high)), at.rand(shape[:1])))}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        last = x.shape[-1] - 1
        place = torch.arange(x.shape[-1], device=x.device) * draw["rate"][:, None]
        left = place.floor().long().clamp(max=last)
        rest = (place - left).clamp(max=1).reshape(len(x), *[1] * (x.ndim - 2), -1)
        between = _at_times(x, left) * (1 - rest) + _at_times(x, (left + 1).clamp(max=last)) * rest
        return between * (place <= last).reshape(rest.shape)


@dataclass(frozen=True)
class Gain(View):
    """Makes the item louder or softer.

    Attributes:
        decibels: Least and largest gain.
        flip: Probability that the sign is turned, too.
    """

    decibels: Range = (-6.0, 6.0)
    flip: float = 0.0

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        u = at.rand((shape[0], 2))
        sign = torch.where(u[:, 1] < self.flip, -1.0, 1.0)
        return {"gain": sign * 10 ** (_between(self.decibels, u[:, 0]) / 20)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return x.mul_(_each(draw["gain"], x))


@dataclass(frozen=True)
class WhiteNoise(View):
    """Adds white noise at a ratio to the power of the item; silence stays silent.

    Attributes:
        snr: Least and largest signal-to-noise ratio, in decibels.
    """

    snr: Range = (5.0, 30.0)

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"snr": _between(self.snr, at.rand(shape[:1])), "noise": at.randn(shape)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        power = x.flatten(1).square().mean(1)
        return x.add_(draw["noise"] * _each((power * 10 ** (-draw["snr"] / 10)).sqrt(), x))


@dataclass(frozen=True)
class Mask(View):
    """Silences stretches of time (Park et al., 2019); they may overlap.

    Attributes:
        count: How many.
        most: The longest, as a share of the length.
    """

    count: int = 2
    most: float = 0.1

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        """Where each stretch begins and ends, as shares of the length."""
        u = at.rand((shape[0], 2, self.count))
        width = self.most * u[:, 0]
        start = (1 - width) * u[:, 1]
        return {"start": start, "end": start + width}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        hidden = _within(draw, x.shape[-1]).reshape(len(x), *[1] * (x.ndim - 2), -1)
        return x.masked_fill_(hidden, 0.0)


@dataclass(frozen=True)
class BandMask(Mask):
    """Silences stretches of neighbouring channels: mel bands, electrodes; as `Mask` does of time."""

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        hidden = _within(draw, x.shape[-2])[..., None].reshape(len(x), *[1] * (x.ndim - 3), -1, 1)
        return x.masked_fill_(hidden, 0.0)


def _within(draw: Draw, length: int) -> Tensor:
    """Which of `length` places (B, length) lie in any of the stretches that were drawn."""
    place = (torch.arange(length, device=draw["start"].device) + 0.5) / length
    inside = (place >= draw["start"][..., None]) & (place < draw["end"][..., None])
    return inside.any(1)


@dataclass(frozen=True)
class Drop(View):
    """Silences whole channels, each by itself.

    Attributes:
        p: Probability of each channel.
    """

    p: float = 0.1

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"off": at.rand(shape[:-1]) < self.p}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return x.masked_fill_(draw["off"][..., None], 0.0)


@dataclass(frozen=True)
class Equalise(View):
    """Colours the spectrum by a smooth random curve, the same for all channels of an item.

    Attributes:
        decibels: Largest gain or loss at a point of the curve.
        points: Points of the curve, evenly from 0 to half the sampling rate; straight lines between them.
    """

    decibels: float = 6.0
    points: int = 6

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"curve": self.decibels * (2 * at.rand((shape[0], self.points)) - 1)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        spectrum = torch.fft.rfft(x)
        bins = spectrum.shape[-1]
        curve = torch.nn.functional.interpolate(draw["curve"][:, None], bins, mode="linear", align_corners=True)
        gain = 10 ** (curve.reshape(len(x), *[1] * (x.ndim - 2), bins) / 20)
        coloured: Tensor = torch.fft.irfft(spectrum * gain, x.shape[-1])
        return coloured
