"""The leakage table as matrices, for whoever draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from unbraid.audit.rows import Row, best

_FIELDS = ("share", "share_low", "share_high", "bits", "entropy", "bound", "p_adjusted")


def heatmap(rows: Sequence[Row], factors: Sequence[str]) -> dict[str, Any]:
    """Parts and columns x factors, the best probe in each cell.

    Returns:
        "names" (parts, each followed by its columns), "parts", "columns" (None for a whole part), "factors"; and
        matrices by row and factor: "share", "share_low", "share_high", "bits", "entropy", "bound", "p_adjusted"
        (None where nothing was measured), "verdict" (None where nothing was asked), "declared", "probe" and "note".
    """
    lines = sorted(
        dict.fromkeys((row.part, row.column) for row in rows),
        key=lambda line: (_order(rows, line[0]), -1 if line[1] is None else line[1]),
    )
    cells = [[_cell(rows, part, column, factor) for factor in factors] for part, column in lines]
    data: dict[str, Any] = {
        "names": [part if column is None else f"{part}[{column}]" for part, column in lines],
        "parts": [part for part, _ in lines],
        "columns": [column for _, column in lines],
        "factors": list(factors),
    }
    for field in _FIELDS:
        data[field] = [[_number(cell, field) for cell in line] for line in cells]
    for field in ("verdict", "declared", "probe", "note"):
        data[field] = [[getattr(cell, field) if cell else None for cell in line] for line in cells]
    return data


def _order(rows: Sequence[Row], part: str) -> int:
    return next(i for i, row in enumerate(rows) if row.part == part)


def _cell(rows: Sequence[Row], part: str, column: int | None, factor: str) -> Row | None:
    found = [row for row in rows if row.part == part and row.column == column and row.factor == factor]
    return best(found) if found else None


def _number(cell: Row | None, field: str) -> float | None:
    value = math.nan if cell is None else getattr(cell, field)
    return None if math.isnan(value) else value
