"""Sound as tensors: resampling, the short-time Fourier transform, mel bands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

_SMALL = 1e-30


@dataclass(frozen=True)
class MelSpec:
    """How a mel spectrogram is made.

    Attributes:
        rate: Samples per second.
        bands: Mel bands, from 0 to half the rate.
        hop: Samples from one frame to the next.
        window: Samples under the window of a frame.
        fft: Samples that are transformed; the window is filled up with zeros.
    """

    rate: int = 8000
    bands: int = 32
    hop: int = 250
    window: int = 256
    fft: int = 512


def resample(wave: Float[Tensor, "b t"], count: int) -> Float[Tensor, "b count"]:
    """The same stretch of sound in `count` samples, by its Fourier series: what the fewer samples cannot hold is gone.

    >>> wave = torch.sin(torch.arange(100) * 2 * math.pi / 25)[None]
    >>> torch.allclose(resample(wave, 50), wave[:, ::2], atol=1e-5)
    True
    """
    before = wave.shape[1]
    if before == count:
        return wave
    series = torch.fft.rfft(wave)[:, : (min(before, count) + 1) // 2]
    out: Tensor = torch.fft.irfft(series, count) * (count / before)
    return out


def stft(wave: Float[Tensor, "b t"], fft: int, hop: int, window: int) -> Complex[Tensor, "b bins frames"]:
    """The short-time Fourier transform: one frame about the middle of each hop, under a Hann window.

    >>> stft(torch.zeros(2, 8000), fft=512, hop=250, window=256).shape
    torch.Size([2, 257, 32])
    """
    before = (fft - hop) // 2
    padded = torch.nn.functional.pad(wave, (before, fft - hop - before))
    shape = torch.hann_window(window, dtype=wave.dtype, device=wave.device)
    return torch.stft(padded, fft, hop, window, shape, center=False, return_complex=True)


def mel_filters(rate: int, fft: int, bands: int) -> Float[Tensor, "bands bins"]:
    """Triangles of height 1 over the bins of a transform, their corners evenly spaced on the mel scale of HTK.

    mel(f) = 2595 log10(1 + f / 700), from 0 to half the rate.

    >>> mel_filters(8000, 512, 32).shape
    torch.Size([32, 257])
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, fft // 2 + 1, dtype=torch.float64)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp(min=0).float()


def log_mel(wave: Float[Tensor, "b t"], spec: MelSpec, span: float = 80.0) -> Float[Tensor, "b bands frames"]:
    """The power in each mel band and frame in decibels: 1 at an item's peak, 0 at `span` below it and in silence.

    >>> log_mel(torch.zeros(1, 8000), MelSpec()).max()
    tensor(0.)
    """
    power = stft(wave, spec.fft, spec.hop, spec.window).abs().square()
    mel = mel_filters(spec.rate, spec.fft, spec.bands).to(wave.device) @ power
    peak = mel.amax((1, 2), keepdim=True)
    decibels = 10 * (mel / peak.clamp(min=_SMALL)).clamp(min=_SMALL).log10()
    return (1 + decibels / span).clamp(0, 1)
