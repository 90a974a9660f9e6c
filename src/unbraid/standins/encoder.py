"""A small encoder that learned from labels, in the place of a large one that learned without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset
from unbraid.data.origin import origin_of
from unbraid.data.wrapped import in_roles
from unbraid.nets.classifier import SmallClassifier
from unbraid.standins.classifier import learn
from unbraid.standins.learning import chance

_AT_ONCE = 1024


class LabelledEncoder(nn.Module):
    """The embedding of a classifier, brought to mean 0 and variance 1 over the data that it learned from.

    Args:
        field: The observation.
        classes: That it learns to tell.
        width: Numbers in the embedding.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, field: Field, classes: int, width: int) -> None:
        super().__init__()
        self.net = SmallClassifier(field, classes, embedding=width)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def forward(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch width"]:
        """One row per item."""
        code: Tensor = self.net.features(x)
        return (code - self.mean) / self.deviation

    @torch.no_grad()
    def standardise(self, data: Dataset) -> None:
        """Take mean and deviation from the embeddings of data."""
        rows = torch.split(torch.arange(len(data)), _AT_ONCE)
        codes = torch.cat([self.net.features(data.take(some)["x"]) for some in rows])
        self.mean.copy_(codes.mean(0))
        self.deviation.copy_(codes.std(0, correction=0).clamp_min(1e-6))


@dataclass(frozen=True)
class SmallEncoder:
    """A `LabelledEncoder` trained on the labels of the data at hand, or of those that they come from, by Adam.

    Attributes:
        width: Numbers in an embedding.
        epochs: Passes over the data.
        batch: Items per step.
        lr: Learning rate.
        steps: Most steps, however many data there are.
    """

    width: int = 32
    epochs: int = 20
    batch: int = 64
    lr: float = 1e-3
    steps: int = 3000

    def shape(self, fields: Fields) -> LabelledEncoder:
        """The network before training."""
        classes = fields["label"].classes if "label" in fields else None
        if classes is None:
            fix = "give an encoder, a finished run of barlow-twins for one"
            raise DataError("labels that a stand-in encoder can learn from", got="none", fix=fix)
        return LabelledEncoder(fields["x"], classes, self.width)

    def make(self, data: Any, seed: int) -> LabelledEncoder:
        """The network, trained."""
        source = origin_of(data, ["label"]) or in_roles(data, ["label"], {})
        with chance(seed, "encoder"):
            net = self.shape(source.fields)
        steps = max(1, min(self.steps, self.epochs * len(source) // self.batch))
        learn(net.net, source, seed, steps=steps, batch=self.batch, lr=self.lr)
        net.standardise(source)
        return net.eval()


SMALL = SmallEncoder()
"""32 numbers."""
