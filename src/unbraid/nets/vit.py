"""Vision transformers: images to one token for each patch and one for the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from unbraid.core.errors import ConfigError, ContractError

Positions = Literal["rows", "columns", "learned"]
"""Fixed sines and cosines, those of the row or of the column in the first half of the channels, or learned numbers."""


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
    """A transformer over patches (Dosovitskiy et al., 2021), with normalisation before each branch.

    Images of another size than it was made for have their positions interpolated.

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
        positions: How places are told.
        drop_path: Probability that an item skips a branch of the last block; proportionally less of those before.
        hides: Whether it has a token that takes the place of masked patches.

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
        *,
        positions: Positions = "rows",
        drop_path: float = 0.0,
        hides: bool = False,
    ) -> None:
        super().__init__()
        height, wide = (size, size) if isinstance(size, int) else size
        if patch < 1 or height % patch or wide % patch:
            raise ConfigError("patches that tile the image", got=f"{patch} in {height} x {wide}", where="patch")
        if width % 4 or width % heads:
            raise ConfigError(f"a width divisible by 4 and by {heads} heads", got=str(width), where="width")
        self.grid, self.patch = (height // patch, wide // patch), patch
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.cls = nn.Parameter(torch.empty(width).normal_(std=0.02))
        if positions == "learned":
            self.positions = nn.Parameter(torch.empty(self.grid[0] * self.grid[1], width).normal_(std=0.02))
        else:
            places = sincos2d(self.grid, width, columns_first=positions == "columns")
            self.register_buffer("positions", places, persistent=False)
        self.mask_token = nn.Parameter(torch.empty(width).normal_(std=0.02)) if hides else None
        drops = (drop_path * i / max(1, depth - 1) for i in range(depth))
        self.blocks = nn.ModuleList(Block(width, heads, ratio, drop) for drop in drops)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Float[Tensor, "batch c h w"],
        keep: Int[Tensor, "batch kept"] | None = None,
        masked: Bool[Tensor, "batch rows columns"] | None = None,
    ) -> Tokens:
        """The tokens of images.

        Args:
            x: The images.
            keep: Numbers of the patches that are seen, for each image; all of them where None.
            masked: Patches whose place is taken by the mask token.
        """
        tokens = self.norm(self.layers(x, keep, masked)[-1])
        return Tokens(tokens[:, 0], tokens[:, 1:])

    def layers(
        self,
        x: Float[Tensor, "batch c h w"],
        keep: Int[Tensor, "batch kept"] | None = None,
        masked: Bool[Tensor, "batch rows columns"] | None = None,
    ) -> list[Float[Tensor, "batch tokens width"]]:
        """What enters the first block and what leaves each, the class token first, not normalised."""
        patches = self.embed(x).flatten(2).mT
        if masked is not None:
            if self.mask_token is None:
                raise ContractError("a ViT(hides=True) for masked patches", got="no mask token")
            patches = torch.where(masked.flatten(1)[..., None], self.mask_token.to(patches.dtype), patches)
        patches = patches + self._places((x.shape[2] // self.patch, x.shape[3] // self.patch))
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))
        states = [torch.cat([self.cls.expand(len(x), 1, -1), patches], 1)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def _places(self, grid: tuple[int, int]) -> Float[Tensor, "patches width"]:
        if grid == self.grid:
            return self.positions
        table = self.positions.mT.reshape(1, -1, *self.grid)
        return interpolate(table, grid, mode="bicubic", align_corners=False)[0].flatten(1).mT


class Block(nn.Module):
    """Attention and a perceptron, each added to what it was given."""

    def __init__(self, width: int, heads: int, ratio: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        hidden = int(ratio * width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The tokens one block later."""
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(*qkv.unbind(0)).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.drop(self.out(seen))
        out: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return out


class DropPath(nn.Module):
    """Leaves out a branch for some items while training, and makes it stronger for the others.

    Args:
        rate: Probability that an item goes without.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch *more"]) -> Float[Tensor, "batch *more"]:
        """The branch, or 0."""
        if not self.training or not self.rate:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


def start_(net: nn.Module) -> None:
    """Weights as in MAE and MoCo v3: Xavier's uniform ones, queries, keys and values apart; biases 0."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear):
            parts = 3 if name.endswith("qkv") else 1
            limit = math.sqrt(6 / (module.out_features // parts + module.in_features))
            nn.init.uniform_(module.weight, -limit, limit)
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


def sincos2d(grid: tuple[int, int], width: int, *, columns_first: bool = False) -> Float[Tensor, "patches width"]:
    """Fixed positions: sines and cosines of the row in the first half, of the column in the second.

    Args:
        grid: Rows and columns.
        width: Numbers for each place.
        columns_first: Whether the column has the first half instead, as in MAE.

    >>> sincos2d((2, 3), 8).shape
    torch.Size([6, 8])
    """
    rate = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    axes = (columns, rows) if columns_first else (rows, columns)
    halves = [torch.cat([angle.sin(), angle.cos()], 1) for angle in (t.reshape(-1, 1) * rate for t in axes)]
    return torch.cat(halves, 1).float()


def patches_of(images: Float[Tensor, "batch c h w"], patch: int) -> Float[Tensor, "batch patches pixels"]:
    """The pixels of each patch: row by row, the channels of a pixel side by side.

    >>> patches_of(torch.arange(8.0).view(1, 1, 2, 4), 2).tolist()
    [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    batch, channels, height, width = images.shape
    cells = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def image_of(
    patches: Float[Tensor, "batch patches pixels"], grid: tuple[int, int], patch: int
) -> Float[Tensor, "batch c h w"]:
    """The images that `patches_of` took apart."""
    cells = patches.reshape(len(patches), *grid, patch, patch, -1).permute(0, 5, 1, 3, 2, 4)
    return cells.reshape(len(patches), -1, grid[0] * patch, grid[1] * patch)
