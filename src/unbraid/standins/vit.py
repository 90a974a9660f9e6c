"""A small image transformer in the place of a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Fields
from unbraid.data.order import key_of
from unbraid.nets.vit import ViT


@dataclass(frozen=True)
class UntrainedViT:
    """A `ViT` for images or the frames of clips, with the weights it was drawn with: it sees, and knows nothing.

    Attributes:
        width: Numbers in a token.
        depth: Blocks.
        heads: Attention heads.
        grid: Patches along a side, about.
    """

    width: int = 48
    depth: int = 3
    heads: int = 4
    grid: int = 4

    def shape(self, fields: Fields) -> nn.Module:
        """The network for images or frames of these data."""
        x = fields["x"]
        if len(x.shape) not in (3, 4):
            got = f"items of shape {x.shape}"
            raise DataError("images (C, H, W) or clips (T, C, H, W)", got=got, where="field 'x'")
        channels, height, width = x.shape[-3:]
        patch = next(p for p in range(max(1, min(height, width) // self.grid), 0, -1) if not (height % p or width % p))
        return ViT((height, width), patch, self.width, self.depth, self.heads, channels)

    def make(self, data: Any, seed: int) -> nn.Module:
        """The network, drawn from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key_of(seed, "vit"))
            return self.shape(data.fields).eval()


class _Pictures(UntrainedViT):
    """The same where items are images of at most four channels; others are patch features already."""

    def fits(self, fields: Fields) -> bool:
        """Whether they are."""
        shape = fields["x"].shape
        return len(shape) == 3 and shape[0] <= 4


PICTURES = _Pictures()
UNTRAINED = UntrainedViT()
