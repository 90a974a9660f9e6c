"""Where shifted data come from: the data that a classifier has seen before it meets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unbraid.data.dataset import Dataset
from unbraid.data.wrapped import Wrapped, in_roles


def origin_of(data: Any, needs: Sequence[str] = ()) -> Dataset | None:
    """The data set that a shifted one names as its `origin`, its factors in the same roles; None where it names none.

    Args:
        data: A data set, wrapped or not.
        needs: More batch fields to take from factors.

    >>> from unbraid.data.made.coloured import coloured_digits
    >>> origin_of(coloured_digits()).name.partition(",")[0], origin_of([1, 2])
    ('coloured-digits:split=train', None)
    """
    return _named(data, "origin", needs)


def held_out_of(data: Any, needs: Sequence[str] = ()) -> Dataset | None:
    """The data set that another names as `held_out`, items of the same kind for testing; otherwise as `origin_of`."""
    return _named(data, "held_out", needs)


def _named(data: Any, name: str, needs: Sequence[str]) -> Dataset | None:
    inner = data
    while isinstance(inner, Wrapped):
        inner = inner.inner
    found = getattr(inner, name, None)
    if not isinstance(found, Dataset):
        return None
    fields = [f for f in data.fields if f not in found.fields]
    return in_roles(found, [*fields, *needs], {role: factor for role, factor in data.roles.items() if role in fields})
