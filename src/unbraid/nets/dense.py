"""A dense classifier with batch norm and dropout, its statistics those of the batch of all processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.method import World


class BatchNorm(nn.Module):
    """Columns (B, D) to mean 0 and variance 1, then scaled and moved; running statistics in eval mode.

    Args:
        width: Number of columns.
        momentum: Weight of a new batch in the running statistics.
        eps: Added to the variance; columns that hardly vary stay near 0.

    >>> from unbraid.core.method import Alone
    >>> norm = BatchNorm(3)
    >>> y = norm(torch.randn(50, 3) * 7 + 2, Alone())
    >>> bool(y.mean(0).abs().max() < 1e-5), bool((y.var(0, correction=0) - 1).abs().max() < 1e-3)
    (True, True)
    """

    mean: Tensor
    var: Tensor

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))

    def forward(self, x: Float[Tensor, "batch width"], world: World) -> Float[Tensor, "batch width"]:
        """The normalised columns; in train mode the running statistics take the batch in."""
        if not self.training:
            return (x - self.mean) * (self.var + self.eps).rsqrt() * self.weight + self.bias
        mean = world.mean(x.mean(0))
        var = world.mean((x - mean).square().mean(0))
        rows = len(x) * world.size
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.var.lerp_(var * rows / max(1, rows - 1), self.momentum)
        return (x - mean) * (var + self.eps).rsqrt() * self.weight + self.bias


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

    def forward(self, x: Float[Tensor, "batch width"], world: World) -> Float[Tensor, "batch classes"]:
        """Logits."""
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = self.dropout(norm(layer(x), world).relu())
        out: Tensor = self.layers[-1](x)
        return out
