"""Sound from a pitch: harmonics that follow it, and filters that change from frame to frame (after NHV)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.ops.audio import overlap_add

_GAIN = 0.1
_ROUNDING = 1e-6


def harmonics(f0: Float[Tensor, "b frames"], rate: int, hop: int, count: int = 200) -> Float[Tensor, "b t"]:
    """The sum of cosines at the multiples of a pitch that lie below half the rate; nothing where there is no pitch.

    The sum over the harmonics is taken in closed form, sin((n + 1/2) p) / (2 sin(p / 2)) - 1/2, so that its cost does
    not depend on their number.

    Args:
        f0: In hertz, 0 where there is none; one value for each hop, lines between them.
        rate: Samples per second.
        hop: Samples for each value.
        count: Most harmonics.

    >>> wave = harmonics(torch.tensor([[200.0] * 50, [0.0] * 50]), rate=8000, hop=80)
    >>> wave.shape, int(torch.fft.rfft(wave[0]).abs().argmax()) % 100, float(wave[1].abs().max())
    (torch.Size([2, 4000]), 0, 0.0)
    """
    pitch = nn.functional.interpolate(f0[:, None].double(), scale_factor=hop, mode="linear")[:, 0]
    voiced = pitch > 0
    turns = (pitch / rate).cumsum(1)
    phase = 2 * math.pi * (turns - turns.round())
    most = rate / 2 / pitch.where(voiced, torch.ones_like(pitch))
    n = (most - _ROUNDING).ceil().sub(1).clamp(0, count)
    half = (phase / 2).sin()
    whole = half.abs() < 1e-9  # where all cosines are 1
    kernel = ((n + 0.5) * phase).sin() / (2 * half.where(~whole, torch.ones_like(half))) - 0.5
    return (_GAIN * kernel.where(~whole, n) * voiced).to(f0.dtype)


def quefrencies(count: int) -> Float[Tensor, " count"]:
    """The distance of each of an even number of cepstral values from the middle, from 1.

    >>> quefrencies(6).tolist()
    [3.0, 2.0, 1.0, 1.0, 2.0, 3.0]
    """
    half = torch.arange(1.0, count // 2 + 1)
    return torch.cat([half.flip(0), half])


def impulse_responses(
    cepstrum: Float[Tensor, "b frames c"], fft: int, centred: bool = False
) -> Float[Tensor, "b frames taps"]:
    """The filter of each frame from its complex cepstrum, in fft + 1 taps.

    The transform of the cepstrum is the filter's log magnitude (real part, in units of 10 decibels) and phase.

    Args:
        cepstrum: An even number of values; zeros are put on both sides.
        fft: Values of the transform.
        centred: Whether tap fft / 2 is the present, so that a cepstrum of zeros changes nothing. As published, tap 0
            is, so that a network has to learn the phase of half a window, and the inverse is of one value more.

    >>> impulse_responses(torch.zeros(1, 1, 4), 8, centred=True)[0, 0].argmax()
    tensor(4)
    """
    side = (fft - cepstrum.shape[-1]) // 2
    spectrum = torch.fft.fft(nn.functional.pad(cepstrum, (side, side)), fft)
    magnitude = 10 ** (spectrum.real / 10)
    response = torch.polar(magnitude, spectrum.imag)
    if centred:
        return nn.functional.pad(torch.fft.ifft(response, n=fft).real.roll(fft // 2, -1), (0, 1))
    taps: Tensor = torch.fft.ifft(response, n=fft + 1).real
    return taps


def ltv_frames(
    excitation: Float[Tensor, "b t"], taps: Float[Tensor, "b frames taps"], hop: int
) -> Float[Tensor, "b frames window"]:
    """Each frame of two hops, the first before its place, correlated with its own taps; not yet under a window.

    A frame is taken to be silent on both sides. Done by transforms, so that no tap is laid out for every sample.
    """
    fft = taps.shape[-1] - 1
    frames = nn.functional.pad(excitation, (hop, 0)).unfold(1, 2 * hop, hop)[:, : taps.shape[1]]
    size = 2 * hop + fft
    around = nn.functional.pad(frames, (fft // 2, fft // 2))
    product = torch.fft.rfft(around, size) * torch.fft.rfft(taps, size).conj()
    filtered: Tensor = torch.fft.irfft(product, size)[..., : 2 * hop]
    return filtered


def ltv_filter(
    excitation: Float[Tensor, "b t"], taps: Float[Tensor, "b frames taps"], hop: int, centred: bool = False
) -> Float[Tensor, "b t"]:
    """A sound through filters that change every hop, cross-faded (a linear time-varying filter).

    Args:
        excitation: One hop for each frame.
        taps: See `impulse_responses`.
        hop: Samples for each frame.
        centred: As `taps` were made. If not, the output comes a hop late, and the tail of the last frame is added to
            the first one, as published.

    >>> wave = torch.randn(1, 32)
    >>> same = ltv_filter(wave, impulse_responses(torch.zeros(1, 4, 4), 1024, centred=True), 8, centred=True)
    >>> torch.allclose(same, wave, atol=1e-5)
    True
    """
    window = torch.hann_window(2 * hop, dtype=excitation.dtype, device=excitation.device)
    frames, length = taps.shape[1], excitation.shape[1]
    if centred:
        more = torch.cat([taps, taps[:, -1:]], 1)
        laid = overlap_add(ltv_frames(nn.functional.pad(excitation, (0, hop)), more, hop) * window, hop)
        return laid[:, hop : hop + length]
    laid = overlap_add(ltv_frames(excitation, taps, hop) * window, hop)
    return torch.cat([laid[:, :hop] + laid[:, frames * hop :], laid[:, hop : frames * hop]], 1)
