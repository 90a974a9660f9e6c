"""Vision transformers: images to one token for each patch and one for the whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from unbraid.core.errors import ConfigError


@dataclass(frozen=True)
class Tokens:
    """What a ViT makes of images.

    Attributes:
        cls: The token of the whole image, normalised.
        patches: The tokens of the patches that were kept, row by row, normalised.
    """

    cls: Float[Tensor, "batch width"]
    patches: Float[Tensor, "batch patches width"]


class ViT(nn.Module):
    """A transformer over patches (Dosovitskiy et al., 2021), with fixed positions and normalisation before each branch.

    The tokens behind every block, the class token first, are the outputs of the modules `blocks.0`, `blocks.1`, ...,
    (B, 1 + patches, width): read them with `Hooked`.

    Args:
        size: Height and width of the images, or both.
        patch: Side of a patch.
        width: Numbers in a token, a multiple of 4 and of `heads`.
        depth: Blocks.
        heads: Attention heads.
        channels: Of the images.
        ratio: Width of the hidden layer in a block, in tokens' widths.

    Raises:
        ConfigError: Patches do not tile the images, or the width does not fit.

    >>> vit = ViT(16, patch=8, width=12, depth=2, heads=3)
    >>> tokens = vit(torch.rand(5, 3, 16, 16))
    >>> tokens.cls.shape, tokens.patches.shape
    (torch.Size([5, 12]), torch.Size([5, 4, 12]))
    """

    positions: Tensor

    def __init__(
        self,
        size: int | tuple[int, int],
        patch: int,
        width: int,
        depth: int,
        heads: int,
        channels: int = 3,
        ratio: float = 4.0,
    ) -> None:
        super().__init__()
        height, wide = (size, size) if isinstance(size, int) else size
        if patch < 1 or height % patch or wide % patch:
            raise ConfigError("patches that tile the image", got=f"{patch} in {height} x {wide}", where="patch")
        if width % 4 or width % heads:
            raise ConfigError(f"a width divisible by 4 and by {heads} heads", got=str(width), where="width")
        self.grid = (height // patch, wide // patch)
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.cls = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.register_buffer("positions", sincos2d(self.grid, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "batch c h w"], keep: Int[Tensor, "batch kept"] | None = None) -> Tokens:
        """The tokens of images.

        Args:
            x: The images.
            keep: Numbers of the patches that are seen, for each image; all of them where None.
        """
        patches = self.embed(x).flatten(2).mT + self.positions
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))
        tokens = torch.cat([self.cls.expand(len(x), 1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return Tokens(tokens[:, 0], tokens[:, 1:])


class Block(nn.Module):
    """Attention and a perceptron, each added to what it was given."""

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        hidden = int(ratio * width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The tokens one block later."""
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(*qkv.unbind(0)).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.out(seen)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def sincos2d(grid: tuple[int, int], width: int) -> Float[Tensor, "patches width"]:
    """Fixed positions: sines and cosines of the row in the first half, of the column in the second.

    >>> sincos2d((2, 3), 8).shape
    torch.Size([6, 8])
    """
    rate = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    halves = [torch.cat([angle.sin(), angle.cos()], 1) for angle in (t.reshape(-1, 1) * rate for t in (rows, columns))]
    return torch.cat(halves, 1).float()
