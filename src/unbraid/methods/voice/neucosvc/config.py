"""The options of neural concatenative voice conversion, and presets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unbraid.core.card import told
from unbraid.core.errors import ConfigError
from unbraid.core.method import Clip, Optim, Schedule
from unbraid.losses.stft import SIZES

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {
        "rate": 8000,
        "bands": 40,
        "factors": "2,4,4,5",
        "loudness_window": 512,
        "encoder_steps": 300,
        "levelled": True,
        "render": "bands",
        "width": 96,
        "filter_width": 64,
        "cepstrum": 62,
        "filter_fft": 256,
        "sizes": "512,256,128,64",
        "clip": 1600,
        "batch": 8,
        "steps": 2000,
        "optim.lr": 2e-3,
        "optim.schedule.stair": 1000,
    },
    "tiny": {
        "rate": 8000,
        "bands": 16,
        "factors": "2,4,4,5",
        "width": 32,
        "filter_width": 16,
        "cepstrum": 14,
        "filter_fft": 64,
        "sizes": "256,128,64",
        "loudness_window": 256,
        "clip": 800,
        "critic_width": 4,
        "critic_factors": "4",
        "encoder_width": 16,
        "encoder_depth": 2,
        "classes": 8,
        "entries": "1",
        "encoder_batch": 8,
        "encoder_steps": 3,
        "adversarial_from": 2,
        "batch": 4,
        "steps": 4,
    },
}
"""Speech at 8 kHz in minutes on two cores, and a few steps in seconds."""


@dataclass(frozen=True)
class ConversionConfig:
    """Options of the conversion.

    Attributes:
        rate: Samples per second of the data.
        features: How frames are compared where no encoder is given: by hidden states of one that is trained here
            ("masked"), by mel bands normalised within each recording ("mel"), or by the very bands that sound is
            made from ("raw"), which carry the speaker.
        bands: Mel bands.
        entries: Hidden states, of the encoder trained here, whose mean is compared; 0 enters the first block.
        context: Frames on each side that are compared along.
        matching: Hidden states of a given encoder whose mean is compared.
        synthesis: The one that sound is made from.
        scaled: Whether a given encoder is fed waves of spread 1; as published, it is not.
        k: Frames that are averaged.
        levelled: Whether the loudness is brought to the target's mean, as the pitch is; as published, it is not.
        render: What makes sound: the paper's network, which has to be trained, or harmonics and noise that are filtered
            until they have the mel bands, which need no training.
        encoder_width: Width of the encoder.
        encoder_depth: Blocks of the encoder.
        classes: Of frames, which the encoder has to name.
        hidden: Share of frames at which a hidden stretch begins.
        stretch: Frames of a hidden stretch.
        encoder_batch: Items per step of the encoder's training.
        encoder_steps: Steps of it.
        encoder_optim: How the encoder moves.
        factors: How much each block of the generator raises the rate: 20 ms of samples in all, 10 ms after the
            first.
        width: Channels of the generator at the rate of the frames.
        filter_width: Channels of the networks that make filters.
        cepstrum: Values of a filter's cepstrum.
        filter_fft: Samples of a filter.
        centred: Whether filters begin as the identity; as published, they do not.
        sizes: Windows of the spectral loss.
        loudness_window: Samples under the window of the loudness.
        low: Least pitch in hertz.
        high: Greatest pitch in hertz.
        clip: Samples of a training clip; items no longer than that are taken whole.
        adversarial: Weight of the critics' verdict.
        adversarial_from: Step at which the critics begin.
        critic_width: Channels of the critics' first layer.
        critic_factors: How much each further layer of a critic lowers the rate.
        batch: Clips per step.
        steps: Steps of the network's training; with none, voices are converted as frames only.
        optim: How the vocoder and the critics move.
    """

    rate: int = told(24_000, by="code")
    features: Literal["masked", "mel", "raw"] = told("masked", by="ours")
    bands: int = told(80, by="ours")
    entries: tuple[int, ...] = told((1,), by="ours")
    context: int = told(2, by="ours")
    matching: tuple[int, ...] = told((20, 21, 22, 23, 24), by="code")
    synthesis: int = told(6, by="code")
    scaled: bool = told(False, by="code")
    k: int = told(4, by="code")
    levelled: bool = told(False, by="code")
    render: Literal["network", "bands"] = told("network", by="paper")
    encoder_width: int = told(96, by="ours")
    encoder_depth: int = told(4, by="ours")
    classes: int = told(64, by="ours")
    hidden: float = told(0.08, by="second")
    stretch: int = told(5, by="ours")
    encoder_batch: int = told(32, by="ours")
    encoder_steps: int = told(500, by="ours")
    encoder_optim: Optim = told(Optim("adam", lr=1e-3, clip=Clip("norm", 1.0)), by="ours")
    factors: tuple[int, ...] = told((2, 3, 4, 4, 5), by="code")
    width: int = told(768, by="code")
    filter_width: int = told(256, by="code")
    cepstrum: int = told(222, by="code")
    filter_fft: int = told(1024, by="code")
    centred: bool = told(False, by="code")
    sizes: tuple[int, ...] = told(SIZES, by="code")
    loudness_window: int = told(2048, by="code")
    low: float = told(65.0, by="code")
    high: float = told(1000.0, by="code")
    clip: int = told(48_000, by="code")
    adversarial: float = told(2.5, by="code")
    adversarial_from: int = told(100_000, by="code")
    critic_width: int = told(16, by="code")
    critic_factors: tuple[int, ...] = told((4, 4, 4, 4), by="code")
    batch: int = told(16, by="code")
    steps: int = told(3_000_000, by="code")
    optim: Optim = told(
        Optim("adam", lr=5e-4, clip=Clip("norm", 1.0), schedule=Schedule("stairs", final=0.5, stair=100_000)),
        by="code",
    )

    def __post_init__(self) -> None:
        for name in ("rate", "bands", "k", "width", "batch", "clip", "encoder_width", "encoder_depth", "classes"):
            _check(getattr(self, name) >= 1, "a whole number above 0", getattr(self, name), name)
        _check(len(self.factors) > 1 and min(self.factors) > 1, "two factors or more above 1", self.factors, "factors")
        halves = 2 ** len(self.factors)
        _check(self.width % halves == 0, f"a multiple of {halves}, one half for each factor", self.width, "width")
        _check(self.filter_width % 8 == 0, "a multiple of 8", self.filter_width, "filter_width")
        even = self.cepstrum % 2 == 0 and 0 < self.cepstrum <= self.filter_fft
        _check(even, f"an even number up to {self.filter_fft}", self.cepstrum, "cepstrum")
        inside = all(0 <= e <= self.encoder_depth for e in self.entries) and bool(self.entries)
        _check(inside, f"hidden states 0..{self.encoder_depth}", self.entries, "entries")
        _check(0 < self.low < self.high < self.rate / 2, "0 < low < high < rate / 2", (self.low, self.high), "low")
        _check(0 <= self.hidden <= 1, "a share from 0 to 1", self.hidden, "hidden")


def _check(right: bool, expected: str, got: object, where: str) -> None:
    if not right:
        raise ConfigError(expected, got=str(got), where=where)
