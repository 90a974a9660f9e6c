"""Families column by column: what each column knows, and whether a factor lies in one column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unbraid.audit.rows import Row, best


@dataclass(frozen=True)
class Column:
    """What one column knows.

    Attributes:
        name: As in "latents[3]".
        factor: The factor it knows most of; None when there is no evidence for any.
        share: Of that factor's entropy.
        second: The factor it knows next most of, or None.
        second_share: Of that factor's entropy, 0 when there is none.
    """

    name: str
    factor: str | None
    share: float
    second: str | None
    second_share: float


@dataclass(frozen=True)
class Seat:
    """Where one factor lies.

    Attributes:
        factor: The factor.
        column: The column that knows most of it; None when there is no evidence in any.
        share: Of the factor's entropy, in that column.
        whole_share: Of the factor's entropy, in the whole part (best probe, columns included).
        held: Share of what the whole part knows that this one column holds, 0 to 1; NaN without evidence.
        next_share: Of the factor's entropy, in the next best column.
    """

    factor: str
    column: str | None
    share: float
    whole_share: float
    held: float
    next_share: float


@dataclass(frozen=True)
class Family:
    """One part, column by column."""

    part: str
    columns: tuple[Column, ...]
    seats: tuple[Seat, ...]


def families(rows: Sequence[Row]) -> tuple[Family, ...]:
    """The families among the rows."""
    parts = dict.fromkeys(row.part for row in rows if row.column is not None)
    return tuple(_family(part, [row for row in rows if row.part == part]) for part in parts)


def _family(part: str, rows: Sequence[Row]) -> Family:
    single = [row for row in rows if row.column is not None]
    names = dict.fromkeys(row.name for row in single)
    factors = dict.fromkeys(row.factor for row in single)
    columns = tuple(_column(name, [row for row in single if row.name == name]) for name in names)
    return Family(part, columns, tuple(_seat(f, [row for row in rows if row.factor == f]) for f in factors))


def _found(rows: Sequence[Row]) -> list[Row]:
    """Rows with evidence, those that know most first."""
    return sorted((row for row in rows if row.p_adjusted < 0.05), key=lambda row: -row.share)


def _column(name: str, rows: Sequence[Row]) -> Column:
    found = _found(rows)
    first, second = (found[i] if len(found) > i else None for i in (0, 1))
    return Column(
        name,
        first.factor if first else None,
        first.share if first else 0.0,
        second.factor if second else None,
        second.share if second else 0.0,
    )


def _seat(factor: str, rows: Sequence[Row]) -> Seat:
    found = _found([row for row in rows if row.column is not None])
    whole = max(0.0, best(rows).share)
    if not found:
        return Seat(factor, None, 0.0, whole, math.nan, 0.0)
    return Seat(
        factor,
        found[0].name,
        found[0].share,
        whole,
        min(1.0, found[0].share / whole) if whole > 0 else math.nan,
        found[1].share if len(found) > 1 else 0.0,
    )
