"""What is computed once for every recording, and what its conversion takes from a target's recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.ops.matching import matched_elsewhere


class Pool(NamedTuple):
    """The frames of a target's recordings.

    Attributes:
        keys: What frames are compared with.
        values: What sounds in place of those that are near.
        pitch: Mean of the pitch where there is one; NaN where there is none at all.
        loudness: Mean of the loudness.
    """

    keys: Float[Tensor, "m d"]
    values: Float[Tensor, "m e"]
    pitch: Float[Tensor, ""]
    loudness: Float[Tensor, ""]


class Columns(nn.Module):
    """Every item's frames in terms of its speaker's other recordings, its pitch and its loudness, as slots.

    Attributes:
        matched: The frames that the vocoder learns from.
        pitch: In hertz.
        loudness: As the ear hears it.
        index: The items, in order.
        usable: Whether all frames of an item found others.
    """

    matched: Tensor
    pitch: Tensor
    loudness: Tensor
    index: Tensor
    usable: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("matched", "pitch", "loudness"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("index", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("usable", torch.zeros(0, dtype=torch.bool))

    def fill(self, every: Mapping[str, Tensor], k: int) -> None:
        """Match the frames of all items.

        Args:
            every: Of all items `matching`, `synthesis` and `valid` frames, `pitch`, `loudness` and `index`, and who
                (`group`) sings what (`song`): frames of one song do not meet.
            k: Frames that are averaged.

        Raises:
            DataError: No speaker has a second recording.
        """
        made, usable = every["synthesis"].clone(), torch.zeros_like(every["index"], dtype=torch.bool)
        for group in torch.unique(every["group"]):
            rows = (every["group"] == group).nonzero()[:, 0]
            matching, synthesis, valid, song = (every[n][rows] for n in ("matching", "synthesis", "valid", "song"))
            made[rows], usable[rows] = _others(matching, synthesis, valid, song, k)
        if not usable.any():
            fix = "give more than one recording of each"
            raise DataError("a speaker of several recordings", got="none", fix=fix, where="field 'group'")
        order = every["index"].argsort()
        self.matched, self.usable = made[order], usable[order]
        self.pitch, self.loudness, self.index = (every[n][order] for n in ("pitch", "loudness", "index"))

    def rows(self, index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Where the items of a batch stand."""
        return torch.searchsorted(self.index, index)


def _others(
    matching: Float[Tensor, "n f d"],
    synthesis: Float[Tensor, "n f e"],
    valid: Bool[Tensor, "n f"],
    song: Int[Tensor, " n"],
    k: int,
) -> tuple[Float[Tensor, "n f e"], Bool[Tensor, " n"]]:
    """One speaker's frames in terms of other songs, and which items are so in full."""
    owner = song[:, None].expand_as(valid)[valid]
    frames, enough = matched_elsewhere(matching[valid], synthesis[valid], owner, k)
    made = synthesis.clone()
    made[valid] = frames
    return made, torch.ones_like(valid).masked_scatter(valid, enough).all(1)
