"""One small classifier for each attribute of a code."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class Branches(nn.Module):
    """A branch of logits for each attribute, behind layers that all share.

    Args:
        width: Numbers in a code.
        outputs: Logits of each branch.
        hidden: Width of the hidden layer of each branch; 0 for linear branches.
        shared: Layers of the code's width before the branches.
        slope: Of the leaky activations.

    >>> import torch
    >>> [logits.shape for logits in Branches(8, (1, 3))(torch.zeros(5, 8))]
    [torch.Size([5, 1]), torch.Size([5, 3])]
    """

    def __init__(
        self, width: int, outputs: Sequence[int], hidden: int = 16, shared: int = 0, slope: float = 0.1
    ) -> None:
        super().__init__()
        layers = [layer for _ in range(shared) for layer in (nn.Linear(width, width), nn.LeakyReLU(slope))]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(_branch(width, n, hidden, slope) for n in outputs)

    def forward(self, codes: Float[Tensor, "*batch width"]) -> tuple[Tensor, ...]:
        """The logits (*batch, outputs) of every branch."""
        shared = self.trunk(codes)
        return tuple(head(shared) for head in self.heads)

    def diagonal(self, codes: Float[Tensor, "batch branches width"]) -> tuple[Tensor, ...]:
        """The logits (batch, outputs) of every branch on its own column of codes."""
        columns = self.trunk(codes).unbind(1)
        return tuple(head(column) for head, column in zip(self.heads, columns, strict=True))


def _branch(width: int, outputs: int, hidden: int, slope: float) -> nn.Module:
    if not hidden:
        return nn.Sequential(nn.Linear(width, outputs))
    return nn.Sequential(nn.Linear(width, hidden), nn.LeakyReLU(slope), nn.Linear(hidden, outputs))
