"""A generator whose outputs fall into blocks."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.ops.blocks import block_weights, in_blocks


class BlockGenerator(nn.Module):
    """tanh(W_i z_i) of each pair of numbers of a code (see `unbraid.ops.blocks`).

    Args:
        width: Numbers in a code.
        outputs: Numbers in an item.
        seed: Of the weights.

    Attributes:
        width: Numbers in a code.
    """

    weights: Tensor

    def __init__(self, width: int, outputs: int, seed: int = 0) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("weights", block_weights(width, outputs, seed))

    def forward(self, z: Float[Tensor, "batch width"]) -> Float[Tensor, "batch outputs"]:
        """The items of some codes."""
        return in_blocks(z, self.weights)
