"""Tokens of the patches that were seen, to the pixels of all."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.nets.vit import Block, Tokens, sincos2d, start_


class PatchDecoder(nn.Module):
    """A transformer that fills in patches (He et al., 2022).

    Args:
        before: Width of the tokens.
        grid: Patches of an image.
        pixels: Numbers in a patch.
        width: Of the decoder, a multiple of 4 and of `heads`.
        depth: Blocks.
        heads: Attention heads.

    Raises:
        ConfigError: The width does not fit.

    >>> decoder = PatchDecoder(8, grid=(2, 2), pixels=12, width=8, depth=1, heads=2)
    >>> seen = Tokens(torch.zeros(3, 8), torch.zeros(3, 1, 8))
    >>> decoder(seen, torch.tensor([[1, 0, 2, 3]]).expand(3, -1)).shape
    torch.Size([3, 4, 12])
    """

    positions: Tensor

    def __init__(self, before: int, grid: tuple[int, int], pixels: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if width % 4 or width % heads:
            raise ConfigError(f"a width divisible by 4 and by {heads} heads", got=str(width), where="decoder_width")
        self.into = nn.Linear(before, width)
        self.mask_token = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.register_buffer("positions", sincos2d(grid, width, columns_first=True), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, 4.0) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, pixels)
        start_(self)

    def forward(
        self, seen: Tokens, restore: Int[Tensor, "batch patches"] | None = None
    ) -> Float[Tensor, "batch patches pixels"]:
        """The pixels of every patch.

        Args:
            seen: The class token, and the tokens of the patches that were seen.
            restore: Where each patch is in the shuffle whose first ones were seen; all in order where None.
        """
        cls, patches = self.into(seen.cls)[:, None], self.into(seen.patches)
        if restore is not None:
            missing = restore.shape[1] - patches.shape[1]
            patches = torch.cat([patches, self.mask_token.to(patches.dtype).expand(len(patches), missing, -1)], 1)
            patches = patches.gather(1, restore[..., None].expand(-1, -1, patches.shape[2]))
        tokens = torch.cat([cls, patches + self.positions], 1)
        for block in self.blocks:
            tokens = block(tokens)
        pixels: Tensor = self.out(self.norm(tokens[:, 1:]))
        return pixels
