"""Networks that make sound: a U-shaped generator under conditions, filters from a cepstrum, critics of waves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from unbraid.ops.harmonic import harmonics, impulse_responses, ltv_filter, quefrencies

_SLOPE = 0.2


def _conv(before: int, after: int, kernel: int = 3, dilation: int = 1) -> nn.Conv1d:
    """A convolution that keeps the length, its kernel orthogonal at first."""
    conv = nn.Conv1d(before, after, kernel, dilation=dilation, padding=dilation * (kernel // 2))
    nn.init.orthogonal_(conv.weight)
    return conv


def _leaky(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, _SLOPE)


def stretched(x: Float[Tensor, "b c t"], count: int) -> Float[Tensor, "b c count"]:
    """The same course in `count` values, straight lines between the given ones."""
    return nn.functional.interpolate(x, count, mode="linear") if x.shape[2] != count else x


class FiLM(nn.Module):
    """A scale and a shift for every channel and time, from a signal."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.signal = _conv(before, before)
        self.scale = _conv(before, after)
        self.shift = _conv(before, after)

    def forward(self, x: Float[Tensor, "b c t"]) -> tuple[Tensor, Tensor]:
        """The scale and the shift."""
        signal = _leaky(self.signal(x))
        return self.scale(signal), self.shift(signal)


class UpBlock(nn.Module):
    """Raises the rate by a factor; one scale and shift acts three times within it (Chen et al., 2021).

    Args:
        before: Channels that come.
        after: Channels that go.
        factor: How much longer it makes its input.
        dilations: Of its four convolutions.
    """

    def __init__(self, before: int, after: int, factor: int, dilations: Sequence[int] = (1, 3, 9, 27)) -> None:
        super().__init__()
        self.factor = factor
        self.first = _conv(before, after, dilation=dilations[0])
        self.modulated = nn.ModuleList(_conv(after, after, dilation=d) for d in dilations[1:])
        self.residual = _conv(before, after, kernel=1)

    def forward(
        self, x: Float[Tensor, "b c t"], scale: Float[Tensor, "b d s"], shift: Float[Tensor, "b d s"]
    ) -> Float[Tensor, "b d s"]:
        """The longer signal."""
        count = x.shape[2] * self.factor
        third, ninth, last = self.modulated
        main = _leaky(self.first(stretched(_leaky(x), count)))
        y = third(_leaky(scale * main + shift)) + self.residual(stretched(x, count))
        z = ninth(_leaky(scale * y + shift))
        out: Tensor = y + last(_leaky(scale * z + shift))
        return out


class DownBlock(nn.Module):
    """Lowers the rate by a factor."""

    def __init__(self, before: int, after: int, factor: int, dilations: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        self.factor = factor
        widths = (before, *[after] * len(dilations))
        self.main = nn.ModuleList(
            _conv(a, b, dilation=d) for (a, b), d in zip(pairwise(widths), dilations, strict=True)
        )
        self.residual = _conv(before, after, kernel=1)

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b d s"]:
        """The shorter signal."""
        count = x.shape[2] // self.factor
        y = stretched(x, count)
        for conv in self.main:
            y = conv(_leaky(y))
        return y + stretched(self.residual(x), count)


class _Path(nn.Module):
    """A condition at the rate of the samples, as scales and shifts for every block of the way up, the first first."""

    def __init__(self, channels: int, widths: Sequence[int], factors: Sequence[int]) -> None:
        super().__init__()
        ways = list(widths[::-1])
        self.before = _conv(channels, ways[0], kernel=5)
        self.blocks = nn.ModuleList(
            DownBlock(a, b, f) for (a, b), f in zip(pairwise(ways), factors[:0:-1], strict=True)
        )
        self.films = nn.ModuleList(FiLM(w, w) for w in ways)

    def forward(self, x: Float[Tensor, "b c t"]) -> list[tuple[Tensor, Tensor]]:
        y = self.before(x)
        found = [self.films[0](y)]
        for block, film in zip(self.blocks, self.films[1:], strict=True):
            y = block(y)
            found.append(film(y))
        return found[::-1]


class WaveUNet(nn.Module):
    """Frames to samples, under conditions at the rate of the samples (after WaveGrad and FastSVC).

    Args:
        features: Numbers in a frame.
        conditions: Channels of each condition.
        width: Channels at the rate of the frames; half as many after each block.
        factors: How much each block raises the rate; their product is the samples of a frame.
    """

    def __init__(
        self,
        features: int,
        conditions: Sequence[int],
        width: int = 768,
        factors: Sequence[int] = (2, 3, 4, 4, 5),
    ) -> None:
        super().__init__()
        widths = [width // 2**i for i in range(len(factors) + 1)]
        self.hop = math.prod(factors)
        self.before = _conv(features, width)
        self.blocks = nn.ModuleList(UpBlock(a, b, f) for (a, b), f in zip(pairwise(widths), factors, strict=True))
        self.paths = nn.ModuleList(_Path(channels, widths[1:], factors) for channels in conditions)
        self.after = _conv(widths[-1], 1)

    def forward(
        self, frames: Float[Tensor, "b frames c"], conditions: Sequence[Float[Tensor, "b d t"]]
    ) -> Float[Tensor, "b t"]:
        """The waves; each condition has as many values as they have samples."""
        paths = [path(x) for path, x in zip(self.paths, conditions, strict=True)]
        y = self.before(frames.transpose(1, 2))
        for block, *levels in zip(self.blocks, *paths, strict=True):
            y = block(y, sum(scale for scale, _ in levels), sum(shift for _, shift in levels))
        wave: Tensor = self.after(y)[:, 0]
        return wave


# ---------------------------------------------------------------------------------------------------- the excitation


class CepstralFilter(nn.Module):
    """A filter for every frame of a sound, made by convolutions over what the frames are.

    Args:
        features: Numbers in a frame.
        hop: Samples of a frame.
        width: Channels between.
        cepstrum: Values of the complex cepstrum, an even number.
        layers: Convolutions between the first and the last.
        groups: Of those between.
        fft: Samples of the filter, less one.
        centred: See `unbraid.ops.harmonic.impulse_responses`.
    """

    distances: Tensor

    def __init__(
        self,
        features: int,
        hop: int,
        width: int = 256,
        cepstrum: int = 222,
        layers: int = 3,
        groups: int = 8,
        fft: int = 1024,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.hop, self.fft, self.centred = hop, fft, centred
        convs = [nn.Conv1d(features, width, 3, padding=1)]
        convs += [nn.Conv1d(width, width, 3, padding=1, groups=groups) for _ in range(layers)]
        convs += [nn.Conv1d(width, cepstrum, 3, padding=1)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        self.convs = nn.ModuleList(weight_norm(conv) for conv in convs)
        self.register_buffer("distances", quefrencies(cepstrum), persistent=False)

    def cepstra(self, frames: Float[Tensor, "b frames c"]) -> Float[Tensor, "b frames q"]:
        """The cepstrum of each frame's filter."""
        y = frames.transpose(1, 2)
        for conv in self.convs[:-1]:
            y = conv(y).relu()
        cepstra: Tensor = self.convs[-1](y).transpose(1, 2)
        return cepstra

    def forward(self, frames: Float[Tensor, "b frames c"], excitation: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """The sound through the filters."""
        taps = impulse_responses(self.cepstra(frames) / self.distances, self.fft, self.centred)
        return ltv_filter(excitation, taps, self.hop, self.centred)


class HarmonicSource(nn.Module):
    """Harmonics of a pitch and noise, each through filters that follow the frames.

    Args:
        features: Numbers in a frame.
        rate: Samples per second.
        hop: Samples of a frame.
        width: Channels of the networks that make the filters.
        cepstrum: Values of a filter's cepstrum.
        fft: Samples of a filter, less one.
        centred: See `unbraid.ops.harmonic.impulse_responses`.
    """

    def __init__(
        self,
        features: int,
        rate: int,
        hop: int,
        width: int = 256,
        cepstrum: int = 222,
        fft: int = 1024,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.rate, self.hop = rate, hop
        self.harmonic, self.noise = (
            CepstralFilter(features, hop, width, cepstrum, fft=fft, centred=centred) for _ in range(2)
        )

    def forward(
        self, frames: Float[Tensor, "b frames c"], f0: Float[Tensor, "b frames"], noise: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b 2 t"]:
        """The harmonics as they are, and both after the filters, within -1..1."""
        raw = harmonics(f0, self.rate, self.hop)
        filtered = self.harmonic(frames, raw) + self.noise(frames, noise)
        return torch.stack([raw, filtered.clamp(-1, 1)], 1)


# -------------------------------------------------------------------------------------------------------- the critics


class WaveCritic(nn.Module):
    """Values of stretches of a wave, by convolutions with strides (Kumar et al., 2019)."""

    def __init__(self, width: int = 16, factors: Sequence[int] = (4, 4, 4, 4), most: int = 1024) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad1d(7), weight_norm(nn.Conv1d(1, width, 15)), nn.LeakyReLU(_SLOPE)]
        for factor in factors:
            after = min(width * factor, most)
            conv = nn.Conv1d(width, after, 10 * factor + 1, factor, 5 * factor, groups=width // 4)
            layers += [weight_norm(conv), nn.LeakyReLU(_SLOPE)]
            width = after
        after = min(2 * width, most)
        layers += [weight_norm(nn.Conv1d(width, after, 5, padding=2)), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers, weight_norm(nn.Conv1d(after, 1, 3, padding=1)))

    def forward(self, wave: Float[Tensor, "b 1 t"]) -> Float[Tensor, "b 1 s"]:
        """The values."""
        values: Tensor = self.layers(wave)
        return values


class WaveCritics(nn.Module):
    """Critics of a wave as it is and at lower and lower rates."""

    def __init__(self, scales: int = 3, width: int = 16, factors: Sequence[int] = (4, 4, 4, 4)) -> None:
        super().__init__()
        self.critics = nn.ModuleList(WaveCritic(width, factors) for _ in range(scales))
        self.pool = nn.AvgPool1d(4, 2, padding=1, count_include_pad=False)

    def forward(self, wave: Float[Tensor, "b t"]) -> list[Float[Tensor, "b 1 s"]]:
        """The values at each rate."""
        values, x = [], wave[:, None]
        for critic in self.critics:
            values.append(critic(x))
            x = self.pool(x)
        return values
