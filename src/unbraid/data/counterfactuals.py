"""Pairs of items that differ in one factor alone: what was, and what would be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset


def counterfactuals(
    data: Dataset, indices: Int[Tensor, " n"], factor: str, generator: torch.Generator, value: int | None = None
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """For each item that has one, another that differs from it in one factor only, drawn at random.

    A world that knows every combination (`index_of`) is asked for it; of other data, the pair is looked for among the
    items themselves, and an item whose factors are not all known has none.

    Args:
        data: With factors.
        indices: The items.
        factor: What differs; categorical or ordinal.
        generator: Draws the other value.
        value: The code of the value that the others shall have; None for any.

    Returns:
        Items, and the other item of each.

    >>> from unbraid.data.made.directions import Directions
    >>> world = Directions(values=4, width=6)
    >>> one, other = counterfactuals(world, torch.arange(3), "v", torch.Generator().manual_seed(0))
    >>> bool((world.factors_of(one) != world.factors_of(other)).sum(1).eq(1).all())
    True
    """
    table = data.table(indices)
    column, size = table.names.index(factor) if factor in table.names else -1, 0
    if column >= 0:
        size = table.factors[column].size
    if size < 2:
        got = "another kind" if column >= 0 else f"only {', '.join(table.names) or 'none'}"
        raise DataError(f"a factor '{factor}' of two values or more", got=got, where=data.name)
    if hasattr(data, "index_of"):
        old = torch.from_numpy(table.values).long()
        drawn = (old[:, column] + torch.randint(1, size, (len(old),), generator=generator)) % size
        return _asked(data.index_of, indices, old, column, drawn if value is None else torch.full_like(drawn, value))
    return _found(indices, table.values, column, generator, value)


def _asked(
    index_of: Callable[[Tensor], Tensor], indices: Tensor, old: Int[Tensor, "n k"], column: int, new: Int[Tensor, " n"]
) -> tuple[Tensor, Tensor]:
    moved = old.clone()
    moved[:, column] = new
    other = index_of(moved)
    there = (other >= 0) & (other != indices)
    return indices[there], other[there]


def _found(
    indices: Tensor, values: np.ndarray, column: int, generator: torch.Generator, value: int | None
) -> tuple[Tensor, Tensor]:
    """Each item with the next one, in a random order, of those that share all other factors."""
    whole = np.flatnonzero(~np.isnan(values).any(1))
    whole = whole[torch.randperm(len(whole), generator=generator).numpy()]
    if not len(whole):
        return indices[:0], indices[:0]
    group = np.unique(np.delete(values[whole], column, 1), axis=0, return_inverse=True)[1].reshape(-1)
    wanted = np.ones(len(whole), bool) if value is None else values[whole, column] == value
    order = np.lexsort((~wanted, group))  # group after group, those that may be the other one first
    begins = np.searchsorted(group[order], np.arange(group.max() + 1))
    several = np.bincount(group, wanted).astype(int)
    place = np.arange(len(order)) - begins[group[order]]
    following = begins[group[order]] + (place + 1) % np.maximum(several[group[order]], 1)
    one, other = whole[order], whole[order[following]]
    there = (several[group[order]] > 0) & (values[one, column] != values[other, column])
    return indices[torch.from_numpy(one[there])], indices[torch.from_numpy(other[there])]
