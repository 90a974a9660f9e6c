"""Stretches of brain signals about events: the names of their channels, their times and, if it is known, the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.wrapped import Subset, Wrapped

SPAN = (-0.248, 0.772)
"""First and last second of an epoch, from its event on, where nobody says others."""

PARTICIPANT = "participant"
"""The factor that says whose an epoch is, where several items may be of one."""


class Epochs(MemoryDataset):
    """Series (C, T) in microvolts about an event.

    Args:
        name: What it is called in reports.
        x: The series.
        table: The factors of every row.
        ids: A name per row.
        channels: Names of the C channels: electrodes, with the condition in front where several are stacked.
        span: First and last second, from the event on.
        clean: The series without noise, where they are known.

    >>> data = Epochs("two", torch.zeros(2, 1, 3), FactorTable.empty(2), ["a", "b"], ["Pz"], (0.0, 0.5))
    >>> data.times.tolist()
    [0.0, 0.25, 0.5]
    """

    def __init__(
        self,
        name: str,
        x: Float[Tensor, "n c t"],
        table: FactorTable,
        ids: Sequence[str],
        channels: Sequence[str],
        span: tuple[float, float] = SPAN,
        clean: Float[Tensor, "n c t"] | None = None,
    ) -> None:
        super().__init__(name, x, table, ids)
        self.channels, self.span, self._clean = tuple(channels), span, clean
        if PARTICIPANT in table.names:
            self.roles = {"group": PARTICIPANT}

    @property
    def times(self) -> Float[np.ndarray, " t"]:
        """Seconds of each sample."""
        return np.linspace(*self.span, self.fields["x"].shape[1])

    def clean(self, indices: Int[Tensor, " n"]) -> Float[Tensor, "n c t"] | None:
        """These series without noise, where they are known."""
        return None if self._clean is None else self._clean[indices.cpu()]

    def with_factors(self, more: FactorTable) -> Epochs:
        everything = torch.arange(len(self))
        table = self._table.joined(more)
        x, ids = self.take(everything)["x"], self.ids(everything)
        return Epochs(self.name, x, table, ids, self.channels, self.span, self._clean)


def epochs_of(data: object) -> Epochs | None:
    """The epochs that a data set is a view of, if they are such.

    >>> epochs_of(object()) is None
    True
    """
    while isinstance(data, Wrapped):
        data = data.inner
    return data if isinstance(data, Epochs) else None


def clean_of(data: Dataset, indices: Int[Tensor, " n"]) -> Float[Tensor, "n c t"] | None:
    """The series of some rows without noise, where they are known."""
    while isinstance(data, Wrapped):
        indices = data.indices[indices.cpu()] if isinstance(data, Subset) else indices
        data = data.inner
    return data.clean(indices) if isinstance(data, Epochs) else None


def trial_table(names: Sequence[str], counts: Sequence[int]) -> FactorTable:
    """The factors `participant` and `trial` of so many trials of each.

    >>> trial_table(["sub-01", "sub-02"], [2, 1]).values.tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    who = np.repeat(np.arange(len(names)), counts)
    trial = np.concatenate([np.arange(count) for count in counts])
    most = tuple(str(k + 1) for k in range(max(counts)))
    factors = (Factor(PARTICIPANT, "categorical", tuple(names)), Factor("trial", "ordinal", most))
    return FactorTable(factors, np.stack([who, trial], 1).astype(np.float64))
