"""Pairs of items that differ in some factors and share the rest, for methods that learn from such pairs."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset
from unbraid.data.made.grid import FactorGrid


def changed_pairs(
    data: Dataset, indices: Int[Tensor, " batch"], generator: torch.Generator, changes: int | None = None
) -> Int[Tensor, "batch 2"]:
    """Each item with a partner.

    In a made world (`FactorGrid`) the partner is the same combination with some factors, chosen at random, drawn anew
    (and so now and then equal to what they were), as Locatello et al. (2020) make pairs.

    In other data the partner is another row, drawn among those that share the value of one known factor; the factor is
    drawn for each item among those (continuous ones left out) whose value some other row has too. An item about which
    no such factor is known is its own partner.

    Args:
        data: Where the items come from.
        indices: The first of each pair.
        generator: The only source of chance; a CPU generator.
        changes: How many factors a made world draws anew; None draws 1..K-1 for each pair. Other data have no use
            for it.

    Raises:
        DataError: No two rows are known to share anything.

    >>> from unbraid.data.made.discs import Discs
    >>> changed_pairs(Discs(), torch.arange(5), torch.Generator().manual_seed(0), changes=1).shape
    torch.Size([5, 2])
    """
    if isinstance(data, FactorGrid):
        partner = _redrawn(data, indices.cpu(), generator, changes)
    else:
        if data not in _SHARERS:
            _SHARERS[data] = _Sharers(data)
        partner = _SHARERS[data].partner(indices.cpu(), generator)
    return torch.stack([indices, partner.to(indices.device)], -1)


def companions(data: Dataset, indices: Int[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, "batch 2"]:
    """Each item with another one of the same instance, drawn at random; one that is the only one with itself.

    Args:
        data: With a factor `instance`, or another in that role.
        indices: The first of each pair.
        generator: The only source of chance; a CPU generator.

    Raises:
        DataError: No instance has two items.

    >>> from unbraid.data.made.objects import Objects
    >>> data = Objects(instances=3, views=4, unseen=0)
    >>> companions(data, torch.tensor([0, 5]), torch.Generator().manual_seed(0)) // 4
    tensor([[0, 0],
            [1, 1]])
    """
    if data not in _OF_ONE:
        _OF_ONE[data] = _Sharers(data, data.roles.get("instance", "instance"))
    partner = _OF_ONE[data].partner(indices.cpu(), generator)
    return torch.stack([indices, partner.to(indices.device)], -1)


def _redrawn(data: FactorGrid, indices: Tensor, generator: torch.Generator, changes: int | None) -> Tensor:
    batch, k = len(indices), len(data.sizes)
    if changes is not None and not 1 <= changes <= k:
        raise DataError(f"a number of changes from 1 to {k}", got=str(changes), where=data.name)
    # Always drawn, so that the draws after it do not depend on how `changes` was given.
    count = torch.randint(1, max(2, k), (batch, 1), generator=generator)
    count = count if changes is None else torch.full_like(count, changes)
    rank = torch.rand(batch, k, generator=generator).argsort(1).argsort(1)
    new = (torch.rand(batch, k, generator=generator, dtype=torch.float64) * torch.tensor(data.sizes)).long()
    return data.index_of(torch.where(rank < count, new, data.factors_of(indices)))


class _Sharers:
    """For every factor the rows sorted by its value, so that a random row of equal value is one look-up away.

    Args:
        data: The rows.
        only: The factor whose value shall be shared; any that is not continuous where None.
    """

    def __init__(self, data: Dataset, only: str | None = None) -> None:
        table = data.table(torch.arange(len(data)))
        wanted = [f.kind != "continuous" if only is None else f.name == only for f in table.factors]
        columns = [table.values[:, j] for j, use in enumerate(wanted) if use]
        self._rows, self._start, self._count = (
            torch.from_numpy(np.stack(part, 1)) if columns else torch.zeros(len(data), 0, dtype=torch.long)
            for part in (zip(*map(_runs, columns), strict=True) if columns else ((), (), ()))
        )
        self._rank = self._rows.argsort(0)
        if not columns or not (self._count > 1).any():
            raise DataError(
                f"rows that share the value of {'some factor' if only is None else repr(only)}",
                got=f"the factors {', '.join(table.names)}" if table.names else "no factors",
                fix="give factors (--factors FILE), or choose a method that learns without pairs",
                where=data.name,
            )

    def partner(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        count = self._count[indices]
        lots = torch.rand(count.shape, generator=generator).masked_fill(count < 2, -1)
        chosen = lots.argmax(1, keepdim=True)
        size, start, rank = (t[indices].gather(1, chosen)[:, 0] for t in (self._count, self._start, self._rank))
        step = torch.rand(len(indices), generator=generator, dtype=torch.float64)
        step = 1 + (step * (size - 1).clamp(min=0)).long()
        at = start + (rank - start + step) % size.clamp(min=1)
        partner = self._rows[at, chosen[:, 0]]
        return torch.where(size > 1, partner, indices)


def _runs(column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows sorted by value; and for each row where the run of its value starts and how long it is (0 if missing)."""
    order = np.argsort(column, kind="stable")
    _, of, sizes = np.unique(column, return_inverse=True, return_counts=True)
    start = np.cumsum(sizes) - sizes
    return order, start[of], np.where(np.isnan(column), 0, sizes[of])


_SHARERS: WeakKeyDictionary[Dataset, _Sharers] = WeakKeyDictionary()
_OF_ONE: WeakKeyDictionary[Dataset, _Sharers] = WeakKeyDictionary()
