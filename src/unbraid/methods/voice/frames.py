"""What a voice is made of, frame by frame: what decides who is like whom, and what is sounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.ops.audio import mel_filters, stft

_FLOOR = 1e-5
_SPREAD = 1e-3


class Frames(NamedTuple):
    """The frames of some waves.

    Attributes:
        matching: What two frames are compared by; of no speaker, if it can be.
        synthesis: What a voice is made from; of a speaker.
        valid: Which frames are real.
    """

    matching: Float[Tensor, "b f d"]
    synthesis: Float[Tensor, "b f e"]
    valid: Bool[Tensor, "b f"]


@dataclass(frozen=True)
class Mel:
    """The mel bands of a wave.

    Attributes:
        rate: Samples per second.
        hop: Samples of a frame.
        bands: How many.
    """

    rate: int
    hop: int
    bands: int

    @property
    def fft(self) -> int:
        """Samples that are transformed: the two hops under a frame's window, filled up."""
        return max(256, 1 << (2 * self.hop - 1).bit_length())

    def __call__(self, wave: Float[Tensor, "b t"]) -> Float[Tensor, "b f m"]:
        """The log10 of the magnitude in each band, from about -5 in silence."""
        magnitude = stft(wave, self.fft, self.hop, 2 * self.hop).abs()
        mel = mel_filters(self.rate, self.fft, self.bands).to(wave.device) @ magnitude
        return mel.clamp(min=_FLOOR).log10().transpose(1, 2)


def valid_frames(length: Int[Tensor, " b"], count: int, hop: int) -> Bool[Tensor, "b f"]:
    """The frames whose middles lie within the real samples; the first one always does.

    >>> valid_frames(torch.tensor([5, 0]), 3, 2).int().tolist()
    [[1, 1, 0], [1, 0, 0]]
    """
    middle = (torch.arange(count, device=length.device) + 0.5) * hop
    inside = middle < length[:, None]
    inside[:, 0] = True
    return inside


def normalised(x: Float[Tensor, "b f d"], valid: Bool[Tensor, "b f"]) -> Float[Tensor, "b f d"]:
    """Each item with mean 0 and spread 1 in every number over its real frames; 0 in the others."""
    weight = valid[..., None] / valid.sum(1)[:, None, None]
    centred = x - (x * weight).sum(1, keepdim=True)
    spread = (centred.square() * weight).sum(1, keepdim=True).sqrt()
    return centred / (spread + _SPREAD) * valid[..., None]


def in_context(x: Float[Tensor, "b f d"], reach: int) -> Float[Tensor, "b f wide"]:
    """Each frame with those up to `reach` before and after it; zeros beyond the ends.

    >>> in_context(torch.tensor([[[1.0], [2.0], [3.0]]]), 1).tolist()
    [[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 0.0]]]
    """
    around = nn.functional.pad(x, (0, 0, reach, reach)).unfold(1, 2 * reach + 1, 1)
    return around.transpose(2, 3).flatten(2)


def mean_of(states: Sequence[Float[Tensor, "b f d"]], entries: Sequence[int]) -> Float[Tensor, "b f d"]:
    """The mean of some hidden states."""
    return torch.stack([states[i] for i in entries]).mean(0)


def cepstra(mel: Float[Tensor, "b f m"], count: int) -> Float[Tensor, "b f c"]:
    """The first cosine coefficients of the bands, the level left out: how the spectrum of a frame is shaped."""
    bands = mel.shape[2]
    angle = torch.pi * (torch.arange(bands, device=mel.device) + 0.5) / bands
    basis = (angle[:, None] * torch.arange(1, count + 1, device=mel.device)).cos() * (2 / bands) ** 0.5
    found: Tensor = mel @ basis
    return found
