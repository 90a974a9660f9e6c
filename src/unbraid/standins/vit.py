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
    """A `ViT` for the frames of clips, with the weights it was drawn with: it sees, and knows nothing.

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
        """The network for frames of these data."""
        x = fields["x"]
        if len(x.shape) != 4:
            raise DataError("clips (T, C, H, W)", got=f"items of shape {x.shape}", where="field 'x'")
        height, width = x.shape[2:]
        patch = next(p for p in range(max(1, min(height, width) // self.grid), 0, -1) if not (height % p or width % p))
        return ViT((height, width), patch, self.width, self.depth, self.heads)

    def make(self, data: Any, seed: int) -> nn.Module:
        """The network, drawn from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key_of(seed, "vit"))
            return self.shape(data.fields).eval()


UNTRAINED = UntrainedViT()
