"""What every reader refuses: what cannot be opened, what would not fit, and what is no finite number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError

LIMIT = 4 * 2**30
"""Bytes that one file may unpack to."""

_CHUNK = 2**22


def open_bytes(path: Path) -> BufferedReader:
    """The file, or one line on why not."""
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError("a readable file", got=(error.strerror or str(error)).lower(), where=str(path)) from None


def check_size(path: Path, limit: int) -> None:
    """Refuse a file that is larger than the limit, before anything of it is read."""
    size = path.stat().st_size
    if size > limit:
        raise DataError(f"at most {plain_size(limit)}", got=plain_size(size), fix="split the file", where=str(path))


def plain_size(count: float) -> str:
    """Bytes as people say them.

    >>> plain_size(3 * 2**30), plain_size(17)
    ('3.0 GiB', '17 bytes')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def brief(text: object, length: int = 40) -> str:
    """A value from a file, short enough for one line.

    >>> brief("a" * 50, 5)
    "'aa...'"
    """
    shown = str(text)
    return repr(shown if len(shown) <= length else shown[: length - 3] + "...")


def check_finite(x: np.ndarray, where: str, columns: Sequence[str] | None = None, first_row: int = 0) -> None:
    """Refuse NaN and infinity, naming the first row (from 0) and column.

    Args:
        x: Rows in front.
        where: The file, or the array in it.
        columns: Names of the columns of a matrix.
        first_row: The number of the first of these rows.
    """
    if x.dtype.kind != "f":
        return
    step = max(1, _CHUNK // max(1, int(np.prod(x.shape[1:]))))
    for start in range(0, len(x), step):
        bad = ~np.isfinite(x[start : start + step])
        if bad.any():
            row, *rest = (int(i) for i in np.argwhere(bad)[0])
            value = x[(start + row, *rest)]
            place = f"{where} row {first_row + start + row}" + _column(rest, columns)
            fix = "leave such rows out, or fill them in" if np.isnan(value) else "scale or clip it"
            raise DataError("finite numbers", got=f"{value}", fix=fix, where=place)


def _column(rest: Sequence[int], columns: Sequence[str] | None) -> str:
    if len(rest) != 1:
        return f" entry {tuple(rest)}" if rest else ""
    return f" column {json.dumps(columns[rest[0]], ensure_ascii=False) if columns is not None else rest[0]}"
