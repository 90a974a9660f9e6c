"""A map whose outputs fall into blocks, each of which depends on two numbers of the input alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError

PAIR = 2
"""Numbers that a block depends on."""


def block_weights(width: int, outputs: int, seed: int) -> Float[Tensor, "blocks tall 2"]:
    """Standard normal weights of the blocks.

    Raises:
        ConfigError: The numbers cannot be shared evenly by the blocks.
    """
    if width < PAIR or width % PAIR or outputs < 1 or outputs % (width // PAIR):
        got = f"{width} numbers and {outputs} outputs"
        raise ConfigError("pairs of numbers, and as many outputs for each", got=got, where="blocks")
    blocks = width // PAIR
    return torch.randn((blocks, outputs // blocks, PAIR), generator=torch.Generator().manual_seed(seed))


def in_blocks(
    z: Float[Tensor, "*batch width"], weights: Float[Tensor, "blocks tall 2"]
) -> Float[Tensor, "*batch outputs"]:
    """tanh(W_i z_i) of each pair z_i, one block after the other.

    >>> in_blocks(torch.zeros(3, 8), block_weights(8, 32, seed=0)).shape
    torch.Size([3, 32])
    """
    pairs = z.reshape(*z.shape[:-1], -1, PAIR)
    return torch.einsum("...ip,iop->...io", pairs, weights).tanh().flatten(-2)
