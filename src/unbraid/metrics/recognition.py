"""How well the classes of a factor can be read from codes: the linear probe and the nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.core.errors import DataError
from unbraid.metrics.probes.common import Heads, plan
from unbraid.metrics.probes.softmax import STRENGTHS, regression, tuned
from unbraid.ops.knn import knn

NEIGHBOURS = 20
TEMPERATURE = 0.07  # of the weights exp(cosine / temperature) of the neighbours


@dataclass(frozen=True)
class Recognition:
    """Shares of held-out items whose class is told right.

    Attributes:
        linear: By ridge multinomial regression on standardised codes.
        neighbours: By the vote of the nearest items in cosine, weighted by closeness.
        chance: By always naming the commonest class.
    """

    linear: float
    neighbours: float
    chance: float


def recognition(
    codes: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
    *,
    held_out: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Recognition:
    """Learn on all folds but one and tell the classes of that one, for each fold; -1 counts as unknown.

    Args:
        codes: One row of numbers per item.
        labels: Classes 0..C-1, or -1.
        folds: The fold 0..K-1 of each item.
        held_out: The folds to tell; all where None. (0,) is an ordinary test set if the others are all in fold 1.
        seed: Chooses the items that the ridge is tuned on.

    Raises:
        DataError: Fewer than two classes, or nothing to learn from or to tell.

    >>> codes = np.repeat(np.eye(2), 20, axis=0)
    >>> recognition(codes, np.repeat([0, 1], 20), np.arange(40) % 2)
    Recognition(linear=1.0, neighbours=1.0, chance=0.5)
    """
    known = labels >= 0
    codes, labels, folds = codes[known], labels[known], folds[known]
    told = tuple(range(int(folds.max(initial=0)) + 1)) if held_out is None else held_out
    if len(np.unique(labels)) < 2:
        raise DataError("at least 2 classes", got=str(len(np.unique(labels))))
    right = [_fold(codes, labels, folds, fold, seed) for fold in told]
    linear, neighbours, chance, items = (sum(column) for column in zip(*right, strict=True))
    return Recognition(linear / items, neighbours / items, chance / items)


def _fold(codes: np.ndarray, labels: np.ndarray, folds: np.ndarray, fold: int, seed: int) -> tuple[float, ...]:
    """Items told right by each means, and items to tell."""
    test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
    if not len(test) or len(train) < 2:
        raise DataError("items to learn from and items to tell", got=f"{len(train)} and {len(test)}")
    x = torch.as_tensor(np.ascontiguousarray(codes), dtype=torch.float32)
    heads = Heads.of([labels])
    rows = plan(np.where(folds == fold, 0, 1), None, cap=len(train), seed=seed)[:1]
    fitted = regression(x, heads, [train], tuned(x, heads, rows, STRENGTHS))
    by_probe = fitted.logits(0, x[torch.from_numpy(test)], heads.spans[0]).argmax(1).numpy()
    by_vote = vote(x[torch.from_numpy(test)], x[torch.from_numpy(train)], torch.from_numpy(labels[train])).numpy()
    commonest = np.bincount(labels[train]).argmax()
    return (*(float((guess == labels[test]).sum()) for guess in (by_probe, by_vote, commonest)), len(test))


def vote(
    query: Float[torch.Tensor, "n d"],
    pool: Float[torch.Tensor, "m d"],
    labels: Int[torch.Tensor, " m"],
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Int[torch.Tensor, " n"]:
    """The class of each query by its `k` nearest rows of the pool, each with weight exp(cosine / temperature)."""
    distance, index = knn(query, pool, min(k, len(pool)))
    weight = torch.exp(-distance / temperature)
    votes = weight.new_zeros(len(query), int(labels.max()) + 1)
    return votes.scatter_add_(1, labels[index], weight).argmax(1)
