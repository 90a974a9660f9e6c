"""Which few items a classifier of an attribute learns from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError


def confident(
    scores: Float[Tensor, "n outputs"], classes: Sequence[int], names: Sequence[str], portion: float
) -> Int[Tensor, "n attributes"]:
    """The class of the most confident items of each attribute, -1 for all others.

    A score gives the share `portion` of all items at either end: 1 at the upper, 0 at the lower. Logits of several
    classes give as many items of each class, of those that are likeliest to be of it, the surest.

    Args:
        scores: NaN where not known.
        classes: Columns of each attribute, 1 for a score.
        names: Of the attributes, for messages.
        portion: Of all items.

    Raises:
        DataError: Too few items are known, or there are none of a class.

    >>> confident(torch.tensor([[0.3], [2.0], [-1.0], [1.0]]), (1,), ("smile",), 0.25)[:, 0].tolist()
    [-1, 1, 0, -1]
    """
    count = max(1, round(portion * len(scores)))
    columns = torch.split(scores, list(classes), 1)
    return torch.stack(
        [_ends(c, n, count) if c.shape[1] == 1 else _surest(c, n, count) for c, n in zip(columns, names, strict=True)],
        1,
    )


def _ends(scores: Float[Tensor, "n 1"], name: str, count: int) -> Int[Tensor, " n"]:
    found = torch.full((len(scores),), -1, device=scores.device)
    known = (~scores[:, 0].isnan()).nonzero()[:, 0]
    if len(known) < 2 * count:
        raise DataError(f"{2 * count} known scores or more", got=str(len(known)), where=f"attribute '{name}'")
    order = known[scores[known, 0].argsort(stable=True)]
    found[order[:count]], found[order[-count:]] = 0, 1
    return found


def _surest(logits: Float[Tensor, "n classes"], name: str, count: int) -> Int[Tensor, " n"]:
    found = torch.full((len(logits),), -1, device=logits.device)
    probability = logits.softmax(1)
    likeliest = torch.where(logits.isnan().any(1), -1, probability.argmax(1))
    for label in range(logits.shape[1]):
        mine = (likeliest == label).nonzero()[:, 0]
        if not len(mine):
            raise DataError("items of every class", got=f"none of class {label}", where=f"attribute '{name}'")
        found[mine[probability[mine, label].argsort(descending=True, stable=True)[:count]]] = label
    return found


def held_out(
    kept: Int[Tensor, "n attributes"], share: float, chance: torch.Generator
) -> tuple[Int[Tensor, "n attributes"], Int[Tensor, "n attributes"]]:
    """The kept items of each attribute in two: to learn from, and (a share, one at least) to choose by."""
    train, held = kept.clone(), torch.full_like(kept, -1)
    for k in range(kept.shape[1]):
        rows = (kept[:, k] >= 0).nonzero()[:, 0]
        mixed = rows[torch.randperm(len(rows), generator=chance, device=chance.device).to(rows.device)]
        some = mixed[: max(1, round(share * len(rows)))]
        held[some, k] = kept[some, k]
        train[some, k] = -1
    return train, held
