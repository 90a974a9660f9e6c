"""A small classifier, trained on the labels of the data at hand or of the data they come from."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import Source
from unbraid.data.dataset import Dataset
from unbraid.data.origin import origin_of
from unbraid.data.wrapped import in_roles
from unbraid.nets.classifier import Norm, SmallClassifier
from unbraid.standins.learning import chance, descend

_KEPT = 8


@dataclass(frozen=True)
class SmallOne:
    """A `SmallClassifier` trained for some epochs by Adam.

    Where the data name an origin, as those of a shifted world do, it is trained there.

    Attributes:
        norm: How its layers are normalised.
        embedding: Numbers in its embedding; 0 for none.
        hidden: Widths of the hidden layers of its head.
        epochs: Passes over the data.
        batch: Items per step.
        lr: Learning rate.
        steps: Most steps, however many data there are.
    """

    norm: Norm = "batch"
    embedding: int = 0
    hidden: tuple[int, ...] = ()
    epochs: int = 20
    batch: int = 64
    lr: float = 1e-3
    steps: int = 3000
    _made: OrderedDict[tuple[str, int], nn.Module] = field(default_factory=OrderedDict, compare=False, repr=False)

    def shape(self, fields: Fields) -> nn.Module:
        """The network before training."""
        classes = fields["label"].classes
        if classes is None:
            raise DataError("labels of a known number of classes", got="others", where="field 'label'")
        return SmallClassifier(fields["x"], classes, embedding=self.embedding, norm=self.norm, hidden=self.hidden)

    def make(self, data: Any, seed: int) -> nn.Module:
        """The network, trained; the last few are kept in memory."""
        source = origin_of(data, ["label"]) or in_roles(data, ["label"], {})
        key = (source.hash, seed)
        if key not in self._made:
            self._made[key] = self._trained(source, seed)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return copy.deepcopy(self._made[key])

    def _trained(self, source: Dataset, seed: int) -> nn.Module:
        with chance(seed, "classifier"):
            net = self.shape(source.fields)
        steps = min(self.steps, self.epochs * len(source) // self.batch)
        learn(net, source, seed, steps=max(1, steps), batch=self.batch, lr=self.lr)
        return net


def _of_labels(logits: Tensor, batch: Batch) -> Tensor:
    return functional.cross_entropy(logits, batch["label"])


def learn(
    net: nn.Module,
    source: Source,
    seed: int,
    *,
    steps: int,
    batch: int,
    lr: float,
    loss: Callable[[Tensor, Batch], Tensor] = _of_labels,
) -> None:
    """Descend the cross-entropy of a network in place, by Adam.

    Args:
        net: From x to logits.
        source: With labels.
        seed: Of the order.
        steps: How many.
        batch: Items per step.
        lr: Learning rate.
        loss: Of logits and batch; the cross-entropy with the field `label` unless told otherwise.
    """
    descend(net, source, lambda read: loss(net(read["x"]), read), seed, steps=steps, batch=batch, lr=lr)


BATCH = SmallOne()
"""With batch normalisation."""

GROUP = SmallOne(norm="group")
"""With group normalisation, for batches of one."""

PLAIN = SmallOne(norm="none", embedding=64, hidden=(32,), epochs=15)
"""Without normalisation, and with an embedding: to be cut in two."""
