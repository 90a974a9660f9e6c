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
_MOST = 60.0  # logits this far below the largest count as this far: sums stay in single precision


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
    def owner(self) -> Float[Tensor, "c h"]:
        """1 where a column belongs to a factor."""
        factor = torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))
        return torch.nn.functional.one_hot(factor, len(self.sizes)).float()

    def at(self, rows: list[np.ndarray]) -> Float[Tensor, "f m c"]:
        """1 at the true class of each factor of each fold's rows; 0 where unknown and in the padding."""
        found = torch.zeros(len(rows), max(map(len, rows)), sum(self.sizes))
        for f, r in enumerate(rows):
            for h, span in enumerate(self.spans):
                y = self.labels[torch.from_numpy(r), h]
                found[f, : len(r), span].scatter_(1, y.clamp(min=0)[:, None], (y >= 0).float()[:, None])
        return found

    def log_prior(self, true: Float[Tensor, "f m c"]) -> Float[Tensor, "f 1 c"]:
        """Log-frequencies of the classes in each fold, half an item added to each."""
        counts = true.sum(1, keepdim=True) + 0.5
        return (counts / (counts @ self.owner @ self.owner.mT)).log()

    def probabilities(self, logits: Float[Tensor, "f m c"], known: Float[Tensor, "f m h"]) -> Float[Tensor, "f m c"]:
        """Softmax within each factor, 0 where it is unknown; overwrites the logits."""
        weights = logits.sub_(self._most(logits)).clamp_(min=-_MOST).exp_()
        return weights.mul_((known / (weights @ self.owner)) @ self.owner.mT)

    def _most(self, logits: Float[Tensor, "f m c"]) -> Float[Tensor, "f m c"]:
        """The largest logit of each factor, at all of its columns."""
        return torch.stack([logits[..., span].amax(-1) for span in self.spans], -1) @ self.owner.mT

    def losses(self, logits: Float[Tensor, "f m c"], true: Float[Tensor, "f m c"]) -> Float[Tensor, "f h"]:
        """Mean loss in nats over the known labels, for each fold and factor."""
        logits = (logits - self._most(logits.detach())).clamp(min=-_MOST)
        known = true @ self.owner
        total = ((logits.exp() @ self.owner).log() * known).sum(1) - (logits * true).sum(1) @ self.owner
        return total / known.sum(1).clamp(min=1)


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
