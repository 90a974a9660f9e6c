"""Interactions from `.csv`, `.parquet` and MovieLens's `::` files, with the tables of users and items beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unbraid.core.errors import DataError
from unbraid.data.factors import FactorTable
from unbraid.data.interactions import Interactions, Side, Split, hold_out, in_core
from unbraid.data.readers.check import LIMIT, brief, check_size, open_bytes
from unbraid.data.readers.tables import Column, factor_table, read_table

_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "userid", "uid"),
    "item": ("item", "itemid", "iid", "movie", "movieid"),
    "rating": ("rating",),
    "time": ("time", "timestamp"),
}
_TITLES = ("title", "name")
_FOLDERS = tuple(f"{stem}{suffix}" for stem in ("ratings", "interactions") for suffix in (".dat", ".csv", ".parquet"))
_SIDES = {"user": ("users",), "item": ("items", "movies")}
_MOVIELENS = {"item": ("item", "title", "genres"), "user": ("user", "gender", "age", "occupation", "zip")}
"""What the `::` files beside MovieLens's ratings hold; others of theirs, such as account numbers, are passed over."""


@dataclass(frozen=True)
class _Raw:
    """The columns of a file, a row for each interaction."""

    users: list[str]
    items: list[str]
    rating: np.ndarray | None
    time: np.ndarray | None


def open_interactions(
    path: Path,
    *,
    rating: float | None = None,
    core: int = 1,
    test: float = 0.2,
    split: Split = "random",
    seed: int = 0,
    limit: int = LIMIT,
) -> Interactions:
    """Interactions from a file, or from a folder with `ratings` or `interactions` (`.dat`, `.csv` or `.parquet`).

    Tables have columns such as `user`, `item`, `rating` and `timestamp` (or `userId`, `movie_id`, ...; others are
    passed over), `.dat` files the lines `user::item`, `user::item::rating` or `user::item::rating::time`. Beside them,
    `users` and `items` (or `movies`) of the same format may tell more of either side: a column of the same ids,
    `title` or `name`, and factors; of several `genres`, separated by `|`, the first counts.

    Pairs that come several times count once, as of their last time. What is left after `rating` and `core` is split
    user by user.

    Args:
        path: The file or folder.
        rating: Keep interactions rated so or higher.
        core: Take out users and items with fewer interactions than this, again and again.
        test: Share of each user's interactions that is held out.
        split: Hold out at "random", or each user's last by "time".
        seed: Which of the many random ways.
        limit: Bytes that a file may have.

    Raises:
        DataError: In one line: the file and row, what was expected, what came, what to do.
    """
    file = _find(path)
    raw = _read(file, limit)
    (user, user_ids), (item, item_ids) = _numbered(raw.users), _numbered(raw.items)
    keep = _latest(user, item, raw.time)
    if rating is not None:
        keep &= _needed(raw.rating, "rating", file) >= rating
    time = _needed(raw.time, "time", file) if split == "time" else None
    keep[keep] = in_core(user[keep], item[keep], core)
    if not keep.any():
        fix = "lower rating or core"
        raise DataError("at least one interaction", got="none that is left", fix=fix, where=str(file))
    (user, user_ids), (item, item_ids) = _left(user, user_ids, keep), _left(item, item_ids, keep)
    held = hold_out(user, test, time=None if time is None else time[keep], seed=seed)
    pairs = torch.from_numpy(np.stack([user, item], 1))
    users, items = (_side(file, name, ids, limit) for name, ids in (("user", user_ids), ("item", item_ids)))
    roles = {"topic": "genre"} if "genre" in items.table.names else {}
    return Interactions(str(path), pairs[~held], pairs[held], users, items, roles)


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in _FOLDERS if (path / name).is_file()]
    if not found:
        raise DataError(f"a folder with one of {', '.join(_FOLDERS)}", got="none of them", where=str(path))
    return found[0]


def _needed(column: np.ndarray | None, name: str, file: Path) -> np.ndarray:
    if column is None:
        expected = f"a column '{name}', which is asked for"
        raise DataError(
            expected, got="none", fix=f"leave {'rating' if name == 'rating' else 'split'} out", where=str(file)
        )
    return column


def _read(file: Path, limit: int) -> _Raw:
    kind = file.suffix.lower()
    if kind == ".dat":
        cells = _read_lines(file, limit)
        if not 2 <= len(cells) <= 4:
            got = f"{len(cells)} cells a line"
            raise DataError("user::item::rating::time, or the first 2 or 3", got=got, where=str(file))
        columns: dict[str, Column] = dict(zip(_NAMES, cells, strict=False))
    elif kind in (".csv", ".parquet"):
        columns = _renamed(read_table(file, lambda _: True, limit).other)
    else:
        raise DataError("a .csv, .parquet or .dat file", got=f"'{file.name}'", where=str(file))
    users, items = (_ids(columns, name, file) for name in ("user", "item"))
    rating, time = (_numbers(columns, name, file) for name in ("rating", "time"))
    return _Raw(users, items, rating, time)


def _read_lines(file: Path, limit: int, encoding: str = "utf-8-sig") -> list[list[str]]:
    """The columns of a `::` file."""
    with open_bytes(file) as stream:
        check_size(file, limit)
        content = stream.read()
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError("text in UTF-8", got="other bytes", fix="save it as UTF-8", where=str(file)) from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not lines:
        raise DataError("at least one line", got="none", where=str(file))
    width = lines[0].count("::") + 1
    for row, line in enumerate(lines):
        if line.count("::") + 1 != width:
            expected, got = f"{width} cells, separated by ::, as in the first line", str(line.count("::") + 1)
            raise DataError(expected, got=got, where=f"{file} row {row}")
    # One list of all cells: a list for each line would take many times as long.
    cells = "::".join(lines).split("::")
    return [cells[j::width] for j in range(width)]


def _renamed(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns by our names: the first of each meaning."""
    known: dict[str, Column] = {}
    for name, column in columns.items():
        plain = name.lower().replace("_", "").replace(" ", "")
        meaning = next((ours for ours, theirs in _NAMES.items() if plain in theirs), name)
        known.setdefault(meaning, column)
    return known


def _ids(columns: Mapping[str, Column], name: str, file: Path) -> list[str]:
    if name not in columns:
        fix = f"call it {name} or {name}_id"
        raise DataError(f"a column '{name}'", got=brief(", ".join(columns), 120), fix=fix, where=str(file))
    values = columns[name]
    values = values.tolist() if isinstance(values, np.ndarray) else values
    plain = {value: _plain(value) for value in set(values)}
    ids = [plain[value] for value in values]
    if "" in ids:
        raise DataError(f"an id of each {name}", got="an empty cell", where=f"{file} row {ids.index('')}")
    return ids


def _plain(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def _numbers(columns: Mapping[str, Column], name: str, file: Path) -> np.ndarray | None:
    if name not in columns:
        return None
    values = columns[name]
    try:
        numbers = np.array(values, dtype=np.float64) if isinstance(values, np.ndarray) else _floats(values)
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None or not np.isfinite(numbers).all():
        row, value = next((i, v) for i, v in enumerate(values) if not _is_finite(v))
        raise DataError(f"a finite number as {name}", got=brief(value), where=f"{file} row {row}")
    return numbers


def _floats(values: Sequence[object]) -> np.ndarray:
    return np.array([float(v) for v in values], dtype=np.float64)  # type: ignore[arg-type]


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _numbered(names: list[str]) -> tuple[np.ndarray, list[str]]:
    """The number of each name, and the names by number: as whole numbers go, where all of them are."""
    distinct = set(names)
    whole = all(name.isascii() and name.isdigit() and len(name) < 4000 for name in distinct)
    ordered = sorted(distinct, key=lambda name: (int(name) if whole else 0, name))
    number = {name: i for i, name in enumerate(ordered)}
    return np.array([number[name] for name in names], dtype=np.int64), ordered


def _latest(user: np.ndarray, item: np.ndarray, time: np.ndarray | None) -> np.ndarray:
    """Each pair once: where it has its greatest time, or where it comes last."""
    order = np.lexsort((item, user)) if time is None else np.lexsort((time, item, user))
    last = np.ones(len(user), dtype=bool)
    last[:-1] = (np.diff(user[order]) != 0) | (np.diff(item[order]) != 0)
    chosen = np.zeros(len(user), dtype=bool)
    chosen[order[last]] = True
    return chosen


def _left(numbers: np.ndarray, names: list[str], left: np.ndarray) -> tuple[np.ndarray, list[str]]:
    used, renumbered = np.unique(numbers[left], return_inverse=True)
    return renumbered, [names[i] for i in used.tolist()]


# -------------------------------------------------------------------------------------------------------- side tables


def _side(file: Path, kind: str, ids: list[str], limit: int) -> Side:
    """What the table beside the interactions says of the users or the items; nothing where there is none."""
    found = (file.with_name(f"{stem}{file.suffix}") for stem in _SIDES[kind])
    table = next((path for path in found if path.is_file() and path != file), None)
    columns = None if table is None else _side_columns(table, kind, limit)
    if table is None or columns is None:
        return Side(ids, FactorTable.empty(len(ids)))
    row_of = {name: row for row, name in enumerate(_ids(columns, kind, table))}
    rows = [row_of.get(name) for name in ids]
    factors: dict[str, Column] = {}
    titles: list[str] = []
    for name, column in columns.items():
        chosen = [None if row is None else column[row] for row in rows]
        if name.lower() in _TITLES:
            titles = titles or ["" if value is None else str(value) for value in chosen]
        elif name.lower() in ("genre", "genres"):
            factors["genre"] = [None if value is None else _first(str(value)) for value in chosen]
        elif name not in ("user", "item", "zip"):
            factors[name] = chosen
    return Side(ids, factor_table(factors, len(ids)), titles)


def _side_columns(table: Path, kind: str, limit: int) -> dict[str, Column] | None:
    if table.suffix.lower() != ".dat":
        return _renamed(read_table(table, lambda _: True, limit).other)
    try:
        cells = _read_lines(table, limit)
    except DataError as error:
        if error.expected != "text in UTF-8":
            raise
        cells = _read_lines(table, limit, "latin-1")  # MovieLens 1M
    names = _MOVIELENS[kind]
    return dict(zip(names, cells, strict=True)) if len(cells) == len(names) else None


def _first(genres: str) -> str | None:
    first = genres.split("|")[0].strip()
    return None if first in ("", "(no genres listed)") else first
