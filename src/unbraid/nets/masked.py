"""An encoder of frames that learns by naming what was hidden from it (after HuBERT, Hsu et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class MaskedEncoder(nn.Module):
    """A transformer over frames, with a token for hidden ones and a reading of each frame's class.

    Where a frame lies is told by a convolution over its surroundings, so that any length will do.

    Args:
        features: Numbers in a frame.
        width: Of the hidden states.
        depth: Blocks.
        heads: Of attention.
        classes: That frames may be of.
        reach: Frames under the convolution that tells places, an odd number.

    >>> states = MaskedEncoder(8, width=16, depth=2, heads=2, classes=4)(torch.zeros(1, 5, 8))
    >>> len(states), states[0].shape
    (3, torch.Size([1, 5, 16]))
    """

    def __init__(
        self, features: int, width: int = 96, depth: int = 4, heads: int = 4, classes: int = 64, reach: int = 31
    ) -> None:
        super().__init__()
        self.into = nn.Linear(features, width)
        self.place = nn.Conv1d(width, width, reach, padding=reach // 2, groups=heads)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Parameter(torch.randn(width) * 0.1)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.names = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(
        self,
        frames: Float[Tensor, "b f m"],
        valid: Bool[Tensor, "b f"] | None = None,
        masked: Bool[Tensor, "b f"] | None = None,
    ) -> list[Float[Tensor, "b f w"]]:
        """What enters the first block, and what leaves each one.

        Args:
            frames: What is read.
            valid: The frames that are real; all, if not given.
            masked: Frames that are hidden.
        """
        x = self.into(frames)
        x = x if masked is None else self.hidden.where(masked[..., None], x)
        x = x if valid is None else x * valid[..., None]
        states = [self.norm(x + nn.functional.gelu(self.place(x.transpose(1, 2)).transpose(1, 2)))]
        ignored = None if valid is None else ~valid
        for block in self.blocks:
            states.append(block(states[-1], src_key_padding_mask=ignored))
        return states

    def read(self, state: Float[Tensor, "b f w"]) -> Float[Tensor, "b f classes"]:
        """The logits of each frame's class."""
        logits: Tensor = self.names(state)
        return logits


def spans(starts: Bool[Tensor, "b f"], length: int) -> Bool[Tensor, "b f"]:
    """Masks that hide so many frames from each start on.

    >>> spans(torch.tensor([[False, True, False, False, False]]), 2).int().tolist()
    [[0, 1, 1, 0, 0]]
    """
    reached = nn.functional.pad(starts.float(), (length - 1, 0))[:, None]
    return nn.functional.max_pool1d(reached, length, 1)[:, 0] > 0


def masked_prediction(
    logits: Float[Tensor, "b f c"],
    classes: Int[Tensor, "b f"],
    masked: Bool[Tensor, "b f"],
    mean: Callable[[Tensor], Tensor] = lambda x: x,
) -> Float[Tensor, ""]:
    """The mean cross-entropy over the frames that are hidden; zero where none is.

    Args:
        logits: Of each frame's class.
        classes: The classes.
        masked: Which frames are hidden.
        mean: The mean of a number over the processes that share the batch.
    """
    each = nn.functional.cross_entropy(logits.transpose(1, 2), classes, reduction="none")
    return mean((each * masked).sum()) / mean(masked.sum().float()).clamp(min=1)
