"""A dense classifier with batch norm and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.nets.norm import BatchNorm


class DenseClassifier(nn.Module):
    """Linear, batch norm, ReLU and dropout for each hidden width, then a linear layer to the logits.

    Args:
        widths: Of the input, of each hidden layer and of the output.
        dropout: Share of activations that is dropped in training.
    """

    def __init__(self, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(width) for width in widths[1:-1])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = self.dropout(norm(layer(x)).relu())
        out: Tensor = self.layers[-1](x)
        return out
