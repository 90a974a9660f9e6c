"""Triples of items for methods that learn how one factor moves: at rest, at some step, and one step later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError, nearest
from unbraid.data.dataset import Dataset
from unbraid.data.made.grid import FactorGrid


@runtime_checkable
class Moved(Protocol):
    """Data that know what their items become under a transformation."""

    def moved(self, indices: Int[Tensor, "*index"], factor: str, step: int) -> Int[Tensor, "*index"]:
        """The items after so many steps."""


def moved_triples(
    data: Dataset, indices: Int[Tensor, " batch"], generator: torch.Generator, factors: Sequence[str], steps: int
) -> Int[Tensor, "batch 3"]:
    """Each item with one factor at 0, at t and at t + 1; factor and t are drawn once for all items.

    In a grid of factors the others stay as they are.

    Args:
        data: Where the items come from.
        indices: The items.
        generator: The only source of chance; a CPU generator.
        factors: Of which one is drawn.
        steps: t + 1 stays below it, and below the values that the factor has.

    Raises:
        DataError: The data do not know how a factor moves.

    >>> from unbraid.data.made.discs import Discs
    >>> triples = moved_triples(Discs(), torch.arange(5), torch.Generator().manual_seed(0), ["x", "radius"], 4)
    >>> Discs().factors_of(triples[2]).tolist()
    [[0, 0, 0, 2], [0, 0, 0, 2], [1, 0, 0, 2]]
    """
    chosen = factors[int(torch.randint(len(factors), (), generator=generator))]
    sizes = {f.name: f.size for f in data.factors if f.kind in ("ordinal", "circular")}
    if chosen not in sizes:
        got = f"'{chosen}'"
        raise DataError("the name of a factor whose values have an order", got=got, fix=nearest(chosen, sizes))
    below = min(steps, sizes[chosen]) - 1
    if below < 1:
        raise DataError("2 values or more", got=str(sizes[chosen]), where=f"factor '{chosen}'")
    t = int(torch.randint(below, (), generator=generator))
    return torch.stack([_moved(data, indices, chosen, step) for step in (0, t, t + 1)], -1)


def _moved(data: Dataset, indices: Tensor, factor: str, step: int) -> Tensor:
    if isinstance(data, Moved):
        return data.moved(indices, factor, step)
    if not isinstance(data, FactorGrid):
        expected = "data that know what their items become, such as digit-flows or a grid of factors"
        raise DataError(expected, got="others", where=data.name)
    codes = data.factors_of(indices)
    codes[..., [f.name for f in data.factors].index(factor)] = step
    return data.index_of(codes)
