"""Sound from mel bands and a pitch without any training: harmonics and noise, filtered until they have the bands."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.methods.voice.frames import Mel
from unbraid.ops.audio import mel_filters, overlap_add, stft
from unbraid.ops.harmonic import harmonics

_ROUNDS = 4
_BREATH = 0.05
_HISS = 0.3
_STEP = 10.0
_WIDTH = 200.0
"""Hertz from one harmonic to the next, at most, that a filter shall not follow."""


def sound_of_bands(
    bands: Float[Tensor, "b f m"], pitch: Float[Tensor, "b fine"], mel: Mel, noise: Float[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Waves whose mel bands are about those asked for.

    Harmonics of the pitch with a little noise, or noise alone where there is no pitch, go through a filter of zero
    phase in every frame; what the bands then lack is asked for once more, a few times over.

    Args:
        bands: Log10 magnitudes, as `mel` gives them.
        pitch: In hertz, 0 where there is none; a whole number of values for each frame.
        mel: How bands are made.
        noise: Of spread 1.
    """
    fine = mel.hop * bands.shape[1] // pitch.shape[1]
    voiced = nn.functional.interpolate((pitch > 0).to(noise)[:, None], scale_factor=fine)[:, 0]
    excitation = harmonics(pitch, mel.rate, fine) + noise * (_HISS - (_HISS - _BREATH) * voiced)
    spectrum = stft(excitation, mel.fft, mel.hop, 2 * mel.hop)
    filters = mel_filters(mel.rate, mel.fft, mel.bands).to(bands.device)
    share = filters / filters.sum(0).clamp(min=1e-9)
    smooth = _smoothing(filters, mel.rate)
    gain = (bands - mel(excitation)) @ smooth
    wave = _filtered(spectrum, gain, share, mel.hop)
    for _ in range(_ROUNDS):
        gain = gain + (bands - mel(wave)).clamp(-1, 1) @ smooth
        wave = _filtered(spectrum, gain, share, mel.hop)
    return wave


def _smoothing(filters: Float[Tensor, "m bins"], rate: int) -> Float[Tensor, "m m"]:
    """Means over neighbouring bands where these are so narrow that they tell harmonics apart, in the columns.

    Filters shall have the shape of the voice; where its harmonics are, the pitch says.
    """
    hertz = torch.linspace(0, rate / 2, filters.shape[1], device=filters.device)
    centre = (filters @ hertz) / filters.sum(1)
    near = (1 - (centre[:, None] - centre).abs() / _WIDTH).clamp(min=0)
    return near / near.sum(0)


def _filtered(
    spectrum: Tensor, gain: Float[Tensor, "b f m"], share: Float[Tensor, "m bins"], hop: int
) -> Float[Tensor, "b t"]:
    """The sound of a spectrum whose bins were raised by the gains of their bands."""
    factor = _STEP ** (gain.clamp(-6, 3) @ share).mT * (share.sum(0) > 0)[:, None]
    frames = torch.fft.irfft((spectrum * factor).mT)
    laid = overlap_add(frames, hop)
    before = (frames.shape[2] - hop) // 2
    return laid[:, before : before + frames.shape[1] * hop]


def at_loudness(
    wave: Float[Tensor, "b t"], made: Float[Tensor, "b fine"], asked: Float[Tensor, "b fine"]
) -> Float[Tensor, "b t"]:
    """A sound raised and lowered from what its loudness is to what it shall be, by at most 20 decibels."""
    gain = ((asked - made) / 2).clamp(-1, 1)
    smooth = nn.functional.avg_pool1d(gain[:, None], 3, 1, 1, count_include_pad=False)
    return wave * _STEP ** nn.functional.interpolate(smooth, wave.shape[1], mode="linear")[:, 0]
