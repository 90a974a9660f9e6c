"""What the probes share: which rows a fold learns from, and the factors side by side as heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError

Labels = Sequence[Int[np.ndarray, " n"]]
"""One array per factor: classes 0..C-1, and -1 where the item does not count."""
LogProbabilities = list[Float[np.ndarray, "n c"]]
"""One array per factor: the log-probability of each class, rows as in the codes."""

_CHUNK = 20_000


@dataclass(frozen=True)
class Rows:
    """What one fold's probe learns from (`learn`) and is tuned on (`tune`), as positions."""

    learn: np.ndarray
    tune: np.ndarray

    @property
    def all(self) -> np.ndarray:
        """Both."""
        return np.concatenate([self.learn, self.tune])


def plan(folds: np.ndarray, groups: np.ndarray | None, cap: int, seed: int) -> list[Rows]:
    """The rows of each fold's probe: at most `cap` of the other folds', a fifth of their groups for tuning.

    Raises:
        DataError: A fold has fewer than two groups (or items) to learn from.
    """
    unit = np.arange(len(folds)) if groups is None else np.unique(groups, return_inverse=True)[1]
    found = []
    for fold in range(int(folds.max()) + 1):
        rng = np.random.default_rng([seed, fold])
        rows = rng.permutation(np.flatnonzero(folds != fold))[:cap]
        sizes = np.bincount(unit[rows])
        order = rng.permutation(np.flatnonzero(sizes))
        if len(order) < 2:
            raise DataError("at least 2 groups to learn from in each fold", got=str(len(order)))
        enough = int(np.searchsorted(np.cumsum(sizes[order]), len(rows) / 5)) + 1
        tune = np.isin(unit[rows], order[: min(enough, len(order) - 1)])
        found.append(Rows(rows[~tune], rows[tune]))
    return found


@dataclass(frozen=True)
class Heads:
    """All factors side by side: `labels` (N, H), and the number of classes of each factor."""

    labels: Int[Tensor, "n h"]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, labels: Labels) -> Heads:
        """From one array per factor."""
        stacked = torch.from_numpy(np.stack([np.asarray(y, dtype=np.int64) for y in labels], 1))
        return cls(stacked, tuple(int(np.max(y, initial=0)) + 1 for y in labels))

    @property
    def spans(self) -> list[slice]:
        """Where each factor's classes lie among all columns."""
        ends = np.cumsum(self.sizes)
        return [slice(int(e) - s, int(e)) for e, s in zip(ends, self.sizes, strict=True)]

    @property
    def owner(self) -> Int[Tensor, " c"]:
        """The factor of each column."""
        return torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))

    def at(self, rows: list[np.ndarray]) -> Int[Tensor, "f m h"]:
        """The labels of each fold's rows, padded with -1."""
        return stack([self.labels[torch.from_numpy(r)] for r in rows], -1)

    def log_prior(self, labels: Int[Tensor, "f m h"]) -> Float[Tensor, "f c"]:
        """Log-frequencies of the classes in each fold, half an item added to each."""
        found = []
        for h, size in enumerate(self.sizes):
            counts = torch.stack([torch.bincount(y[y >= 0], minlength=size) for y in labels[..., h]]) + 0.5
            found.append((counts / counts.sum(1, keepdim=True)).log())
        return torch.cat(found, 1)

    def losses(self, logits: Float[Tensor, "f m c"], labels: Int[Tensor, "f m h"]) -> Float[Tensor, "f h"]:
        """Mean loss in nats over the known labels, for each fold and factor."""
        found = []
        for h, span in enumerate(self.spans):
            y, known = labels[..., h].clamp(min=0), labels[..., h] >= 0
            picked = logits[..., span].log_softmax(-1).gather(-1, y[..., None])[..., 0]
            found.append(-(picked * known).sum(1) / known.sum(1).clamp(min=1))
        return torch.stack(found, 1)


def stack(tensors: list[Tensor], fill: float = 0) -> Tensor:
    """Tensors (m_f, ...) as one (F, max m, ...), padded at the end."""
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)


def predict(heads: Heads, folds: np.ndarray, logits: Callable[[int, Tensor, int], Tensor]) -> LogProbabilities:
    """Every item predicted by the probe of its fold.

    Args:
        heads: The factors.
        folds: The fold of each item.
        logits: From a fold, the items' positions and a factor to that factor's logits (n, C).
    """
    out = [np.empty((len(folds), size), dtype=np.float32) for size in heads.sizes]
    for fold in range(int(folds.max()) + 1):
        rows = np.flatnonzero(folds == fold)
        for chunk in np.array_split(rows, len(rows) // _CHUNK + 1):
            for h, log_p in enumerate(out):
                log_p[chunk] = logits(fold, torch.from_numpy(chunk), h).log_softmax(-1).numpy()
    return out
