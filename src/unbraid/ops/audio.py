"""Sound as tensors: resampling, the short-time Fourier transform, mel bands, loudness, overlap-add."""

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


def overlap_add(frames: Float[Tensor, "b frames window"], hop: int) -> Float[Tensor, "b t"]:
    """The sum of frames laid one hop after another: as many samples as they cover.

    >>> overlap_add(torch.ones(1, 3, 4), hop=2)
    tensor([[1., 1., 2., 2., 2., 2., 1., 1.]])
    """
    count, window = frames.shape[1:]
    length = (count - 1) * hop + window
    laid = torch.nn.functional.fold(frames.transpose(1, 2), (1, length), (1, window), stride=(1, hop))
    return laid[:, 0, 0]


def a_weighting(frequency: Float[Tensor, " bins"], floor: float = -80.0) -> Float[Tensor, " bins"]:
    """How much louder or softer than at 1 kHz the ear hears each frequency, in decibels (IEC 61672, curve A).

    >>> a_weighting(torch.tensor([0.0, 100.0, 1000.0])).round(decimals=1) + 0.0
    tensor([-80.0000, -19.1000,   0.0000])
    """
    square = frequency.double().square()
    corners = [12194.217**2, 20.598997**2, 107.65265**2, 737.86223**2]
    gain = 2.0 + 20.0 * (
        math.log10(corners[0])
        + 2 * square.log10()
        - (square + corners[0]).log10()
        - (square + corners[1]).log10()
        - 0.5 * (square + corners[2]).log10()
        - 0.5 * (square + corners[3]).log10()
    )
    return gain.clamp(min=floor).to(frequency.dtype)


def loudness(
    wave: Float[Tensor, "b t"], rate: int, hop: int, window: int = 2048, span: float = 80.0
) -> Float[Tensor, "b frames"]:
    """The power that the ear hears about each hop: log10 of the mean over the bins, weighted as by curve A.

    The bins of each item more than `span` decibels below its loudest are lifted to that, as librosa does.

    Args:
        wave: Longer than half a window.
        rate: Samples per second.
        hop: Samples from one frame to the next; frames lie about 0, hop, 2 hop, ...
        window: Samples under a frame's Hann window.
        span: Decibels from the loudest bin to the floor.

    >>> loudness(torch.zeros(1, 4000), 8000, 80).shape
    torch.Size([1, 51])
    """
    hann = torch.hann_window(window, dtype=wave.dtype, device=wave.device)
    power = torch.stft(wave, window, hop, window, hann, center=True, pad_mode="reflect", return_complex=True)
    decibels = 10 * power.abs().square().clamp(min=1e-10).log10()
    decibels = decibels.maximum(decibels.amax((1, 2), keepdim=True) - span)
    heard = a_weighting(torch.linspace(0, rate / 2, window // 2 + 1, dtype=wave.dtype, device=wave.device))
    return (10 ** ((decibels + heard[:, None]) / 10)).mean(1).add(1e-5).log10()
