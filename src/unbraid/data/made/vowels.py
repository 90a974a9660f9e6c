"""`vowels`: short voices made of a source and a filter, with known speakers, vowels, pitches and levels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.data.dataset import Device
from unbraid.data.factors import Factor
from unbraid.data.made.grid import FactorGrid
from unbraid.data.readers.waves import padded, wave_fields

RATE, SECONDS = 8000, 0.4
"""Samples per second, and seconds of an item."""

_VOWELS: Mapping[str, tuple[float, float, float]] = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
"""The first three formants of men in hertz (Peterson and Barney, 1952)."""

_NEUTRAL = (500.0, 1500.0, 2500.0)
_SPEAKERS: Mapping[str, tuple[float, float, float, float]] = {
    "ann": (1.18, 1.05, -9.0, 0.004),
    "bob": (0.92, 0.95, -6.0, 0.001),
    "cat": (1.10, 0.92, -12.0, 0.012),
    "dan": (0.98, 1.08, -4.0, 0.003),
    "eve": (1.25, 1.00, -7.0, 0.008),
    "fay": (1.04, 1.00, -10.0, 0.002),
}
"""How long the tract is (a factor on the formants), the third formant besides, decibels an octave, breath."""

_PITCHES = (95.0, 120.0, 150.0, 190.0)
_LEVELS = (0.15, 0.35, 0.8)
_BANDWIDTHS = (60.0, 90.0, 140.0)
_FRAME = 80
_HARMONICS = 42


class Vowels(FactorGrid):
    """720 vowels of 0.4 seconds: vowel 5, speaker 6, pitch 4, loudness 3 and take 2, at 8,000 samples a second.

    A speaker is the length of the vocal tract, the place of the third formant, a tilt and some breath; none of them
    knows the pitch or the level. Takes differ in onset, length and the course of the pitch.

    Args:
        speakers: How many of the speakers, from the first on; and so on.
        pitches: Of the pitches.
        levels: Of the levels of loudness.
        takes: Of the takes.

    >>> data = Vowels(speakers=2, pitches=1)
    >>> len(data), data.fields["wave"].shape, data.roles["group"]
    (60, (3200,), 'speaker')
    """

    rate = RATE

    def __init__(self, speakers: int = 6, pitches: int = 4, levels: int = 3, takes: int = 2) -> None:
        factors = (
            Factor("vowel", "categorical", tuple(_VOWELS)),
            Factor("speaker", "categorical", tuple(_SPEAKERS)[:speakers]),
            Factor("pitch", "ordinal", tuple(f"{p:g}" for p in _PITCHES[:pitches])),
            Factor("loudness", "ordinal", tuple(f"{level:g}" for level in _LEVELS[:levels])),
            Factor("take", "categorical", tuple(str(i + 1) for i in range(takes))),
        )
        count = int(RATE * SECONDS)
        super().__init__("vowels", factors, (1, 1, count), version=1)
        self.fields = wave_fields(count, self.factors)
        self.roles = {"label": "vowel", "phone": "vowel", "group": "speaker"}
        self._waves, self._lengths = _speak(self.factors_of(torch.arange(len(self))))

    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index t"]:
        """The waves of some combinations."""
        return self._waves.to(factors.device)[self.index_of(factors)]

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        self._check(indices)
        if self._waves.device != torch.device(device):
            self._waves, self._lengths = self._waves.to(device), self._lengths.to(device)
        where = indices.to(device)
        factors = self.factors_of(where)
        return {
            **padded(self._waves[where], self._lengths[where]),
            "index": where,
            "factors": factors.float(),
            "known": torch.ones_like(factors, dtype=torch.bool),
        }


def _speak(factors: Int[Tensor, "n 5"]) -> tuple[Float[Tensor, "n t"], Int[Tensor, " n"]]:
    """The waves of some combinations, and how many samples of each are real."""
    generator = torch.Generator().manual_seed(0)
    vowel, speaker, pitch, level, _ = factors.unbind(1)
    n, count = len(factors), int(RATE * SECONDS)
    onset, length, slope, wobble, phase = torch.rand(5, n, 1, generator=generator).unbind(0)
    time, frames = torch.arange(count) / RATE, torch.arange(count // _FRAME) * (_FRAME / RATE)
    vibrato = 0.02 * wobble * (2 * math.pi * (5 * frames + phase)).sin()
    f0 = torch.tensor(_PITCHES)[pitch][:, None] * (1 + 0.12 * (slope - 0.5) * (frames / SECONDS - 0.5) + vibrato)
    voice = _sing(f0, _amplitudes(f0, _formants(vowel, speaker, frames, onset), speaker), count)
    breath = torch.tensor([s[3] for s in _SPEAKERS.values()])[speaker][:, None]
    voice = voice + breath * torch.randn(n, count, generator=generator)
    end = SECONDS * (0.75 + 0.25 * length)
    envelope = (time / (0.02 + 0.03 * onset)).clamp(max=1) * ((end - time) / 0.06).clamp(0, 1)
    wave = (voice * envelope * torch.tensor(_LEVELS)[level][:, None]).clamp(-1, 1)
    return wave, (end[:, 0] * RATE).long().clamp(max=count)


def _sing(f0: Float[Tensor, "n f"], amplitudes: Float[Tensor, "n f h"], count: int) -> Float[Tensor, "n t"]:
    """The harmonics of a pitch, each as strong as it is at the time; cosines of multiples by Chebyshev's recursion."""
    turns = _fine(f0, count).double().div(RATE).cumsum(1)
    first = (2 * math.pi * turns).cos()
    before, now = torch.ones_like(first), first
    voice = torch.zeros_like(first)
    for amplitude in amplitudes.unbind(2):
        voice += now * _fine(amplitude, count)
        before, now = now, 2 * first * now - before
    return (voice / voice.square().mean(1, keepdim=True).sqrt() * 0.2).float()


def _fine(x: Float[Tensor, "n f"], count: int) -> Float[Tensor, "n t"]:
    return nn.functional.interpolate(x[:, None], count, mode="linear")[:, 0]


def _formants(
    vowel: Int[Tensor, " n"], speaker: Int[Tensor, " n"], frames: Float[Tensor, " f"], onset: Float[Tensor, "n 1"]
) -> Float[Tensor, "n f 3"]:
    """From a neutral tract to the vowel, as long as the speaker's tract has it."""
    goal = torch.tensor(tuple(_VOWELS.values()))[vowel][:, None]
    arrived = (frames / (0.06 + 0.06 * onset)).clamp(max=1)[..., None]
    formants = torch.tensor(_NEUTRAL) * (1 - arrived) + goal * arrived
    kind = torch.tensor(tuple(_SPEAKERS.values()))[speaker]
    third = torch.stack([torch.ones(len(kind)), torch.ones(len(kind)), kind[:, 1]], 1)
    return formants * (kind[:, :1] * third)[:, None]


def _amplitudes(
    f0: Float[Tensor, "n f"], formants: Float[Tensor, "n f 3"], speaker: Int[Tensor, " n"]
) -> Float[Tensor, "n f h"]:
    """How strong each harmonic is: resonances at the formants, and the tilt of the speaker's source."""
    hertz = f0[..., None] * torch.arange(1, _HARMONICS + 1)
    x, centre, width = hertz[..., None], formants[..., None, :], torch.tensor(_BANDWIDTHS)
    gain = (centre.square() / ((x.square() - centre.square()).square() + (x * width).square()).sqrt()).prod(-1)
    tilt = torch.tensor([s[2] for s in _SPEAKERS.values()])[speaker][:, None, None]
    octaves = (hertz / f0[..., None]).log2()
    return gain * 10 ** (tilt * octaves / 20) * (hertz < 0.48 * RATE)
