"""How often a classifier is right, in all and in the group where it is right least."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.fields import Batch
from unbraid.core.method import Prediction, Source

_AT_ONCE = 256


def batches(data: Source, size: int = _AT_ONCE) -> Iterator[Batch]:
    """All items in order."""
    return (data.take(rows) for rows in torch.split(torch.arange(len(data)), size))


def tell(predict: Callable[[Batch], Prediction], data: Source, size: int = _AT_ONCE) -> Float[Tensor, "n classes"]:
    """The logits of all items."""
    return torch.cat([predict(batch).logits for batch in batches(data, size)])


def column(data: Source, name: str) -> Int[Tensor, " n"] | None:
    """A field of whole numbers for all items; None where the data do not have it."""
    if name not in data.fields:
        return None
    return torch.cat([batch[name] for batch in batches(data)])


def accuracies(logits: Float[Tensor, "n classes"], data: Source) -> dict[str, float]:
    """Shares of right answers: over all items, as the mean over groups, and in the worst group.

    A group is a class, or a class within an environment (the field `domain`) where that is known. Empty where the data
    have no labels.
    """
    label = column(data, "label")
    if label is None:
        return {}
    right = (logits.argmax(1) == label).double()
    domain = column(data, "domain")
    groups = label if domain is None else label * (int(domain.max()) + 1) + domain
    each = torch.stack([right[groups == group].mean() for group in sorted(set(groups.tolist()))])
    return {
        "accuracy": float(right.mean()),
        "mean of groups": float(each.mean()),
        "worst group": float(each.min()),
    }
