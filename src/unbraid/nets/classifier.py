"""A small classifier for vectors, series and images: the features, and a head that reads them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.mlp import mlp
from unbraid.nets.norm import BatchNorm

Norm = Literal["batch", "group", "none"]
"""How layers are normalised: over the batch, or over each item alone ("group"), or not at all."""


class SmallClassifier(nn.Module):
    """Convolutions (or dense layers, for vectors), an optional embedding, a head: (B, *item) -> (B, classes).

    Images and series pass three convolutions of strides 1, 2, 2 with `width`, twice and twice as many channels, and are
    pooled to two positions an axis. Vectors pass two dense layers of width 8 `width`.

    Args:
        field: The observation: a vector (D,), a series (C, T) or an image (C, H, W).
        classes: Number of classes.
        width: Channels of the first layer.
        embedding: Numbers in the embedding that the head reads; 0 lets it read the pooled maps.
        norm: How the layers are normalised.
        hidden: Widths of hidden layers of the head, which have no activation between them.

    Raises:
        DataError: The observation is none of these.
    """

    def __init__(
        self,
        field: Field,
        classes: int,
        width: int = 16,
        embedding: int = 0,
        norm: Norm = "batch",
        hidden: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        body, numbers = _dense(field, width, norm) if len(field.shape) == 1 else _convolutions(field, width, norm)
        self.features = nn.Sequential(*body, *([nn.Linear(numbers, embedding)] if embedding else []))
        self.width = embedding or numbers
        self.head = mlp((self.width, *hidden, classes), act=nn.Identity)

    def forward(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch classes"]:
        """One row of logits per item."""
        logits: Tensor = self.head(self.features(x))
        return logits


def _dense(field: Field, width: int, norm: Norm) -> tuple[list[nn.Module], int]:
    wide = 8 * width
    return [*mlp((field.shape[0], wide, wide), norm=lambda n: _norm(norm, n), last=True)], wide


def _convolutions(field: Field, width: int, norm: Norm) -> tuple[list[nn.Module], int]:
    axes = len(field.shape) - 1
    if axes not in (1, 2) or min(field.shape[1:]) < 8:
        raise DataError(
            "a vector (D,), a series (C, T) or an image (C, H, W) of at least 8 positions an axis",
            got=f"items of shape {field.shape}",
            where="field 'x'",
        )
    conv, pool = (nn.Conv1d, nn.AdaptiveAvgPool1d) if axes == 1 else (nn.Conv2d, nn.AdaptiveAvgPool2d)
    shrink = nn.MaxPool1d(2, ceil_mode=True) if axes == 1 else nn.MaxPool2d(2, ceil_mode=True)
    widths, strides = (field.shape[0], width, 2 * width, 2 * width), (1, 2, 2)
    layers: list[nn.Module] = []
    for (before, after), stride in zip(pairwise(widths), strides, strict=True):
        layers += [conv(before, after, 3, stride, padding=1), _norm(norm, after), nn.ReLU()]
    return [*layers, shrink, pool(2), nn.Flatten()], widths[-1] * 2**axes


def _norm(kind: Norm, channels: int) -> nn.Module:
    if kind == "batch":
        return BatchNorm(channels)
    return nn.GroupNorm(math.gcd(4, channels), channels) if kind == "group" else nn.Identity()
