"""`blocks`: what a generator makes whose outputs fall into blocks, with the codes it made them from."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Device, MemoryDataset, rows_of
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.ops.blocks import PAIR, block_weights, in_blocks

WEIGHTS = 0
"""Seed of the generator: there is one for every width."""


class Blocks(MemoryDataset):
    """Vectors tanh(W_i z_i), one block of eight numbers for each pair z_i of a standard normal code.

    The field `latent` is the code, and so are the factors: `a0`, `b0` of the first block, and so on.

    Args:
        rows: Items.
        blocks: How many.
        tall: Numbers in each.
        seed: Of the codes.

    >>> batch = Blocks(rows=5).take(torch.arange(5))
    >>> batch["x"].shape, batch["latent"].shape
    (torch.Size([5, 32]), torch.Size([5, 8]))
    """

    def __init__(self, rows: int = 2000, blocks: int = 4, tall: int = 8, seed: int = 0) -> None:
        if min(rows, blocks, tall) < 1:
            got = f"rows={rows}, blocks={blocks}, tall={tall}"
            raise DataError("a row, a block and a number in it, or more", got=got, where="--data blocks")
        generator = torch.Generator().manual_seed(key_of("blocks", seed))
        self._codes_made = torch.randn((rows, PAIR * blocks), generator=generator)
        x = in_blocks(self._codes_made, block_weights(PAIR * blocks, tall * blocks, WEIGHTS))
        factors = [Factor(f"{name}{i}", "continuous") for i in range(blocks) for name in "ab"]
        table = FactorTable(factors, self._codes_made.double().numpy())
        super().__init__(f"blocks:rows={rows},blocks={blocks},tall={tall},seed={seed}", x, table)
        self.fields = Fields(**self.fields, latent=Field((PAIR * blocks,)))

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        batch = super().take(indices, device)
        self._codes_made = self._codes_made.to(batch["x"].device)
        return {**batch, "latent": rows_of(self._codes_made, batch["index"])}
