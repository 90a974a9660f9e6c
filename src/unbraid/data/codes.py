"""Codes and factors on plain files: what `unbraid embed` writes, and what `unbraid audit` reads from anybody."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast, get_args

import numpy as np
import torch

from unbraid.core.errors import DataError, nearest, need
from unbraid.data.dataset import Dataset
from unbraid.data.factors import Factor, FactorKind, FactorTable
from unbraid.data.readers.arrays import Npz, check_numbers, names_of, read_npy, save_npz
from unbraid.data.readers.check import LIMIT, brief, check_finite
from unbraid.data.readers.tables import FACTOR, Column, factor_table, id_column, read_table, unique

PLAIN = (".npz", ".npy", ".csv", ".parquet")
_IDS = ("id", "ids")
_KEPT = {"factors", "latents_classes", "factor_names", "factor_kinds", "factor_labels", *_IDS}
_SURELY = {"y", "label", "labels", "target", "targets"}
_NUMBERED = re.compile(r"^(?P<part>.+?)(?:\[(?P<inside>\d+)\]|_(?P<after>\d+))$")


@dataclass(frozen=True)
class Codes:
    """A representation read from a file.

    Attributes:
        parts: Part -> codes (N, width) float32 or float64.
        ids: A name per row, or None.
        factors: What the same file tells about the rows; no columns when it tells nothing.
    """

    parts: dict[str, np.ndarray]
    ids: list[str] | None
    factors: FactorTable

    def __len__(self) -> int:
        return len(self.factors)


def read_codes(path: Path, limit: int = LIMIT) -> Codes:
    """The parts, ids and factors in a file.

    - `.npz`: every matrix of floats is a part under its own name, and so is a vector of numbers whose name starts with
      `part`; `ids` names the rows; other vectors of as many entries are factors, and so are the columns of `factors`.
    - `.npy`: a matrix is one part, `code`.
    - `.csv`, `.parquet`: columns named `content[0]`, `content[1]`, ... (or `content_0`, ..., if all are) are the part
      `content`; otherwise all columns of numbers are one part, `code`. `id` names the rows. `factor:NAME` is a factor
      and `factor:NAME:KIND` one of that kind.

    Args:
        path: The file.
        limit: Bytes it may unpack to.

    Raises:
        DataError: Naming the file and, where there is one, the row.
    """
    suffix = _known_suffix(path)
    if suffix == ".npz":
        return _codes_of_npz(path, limit)
    if suffix == ".npy":
        codes = _part(read_npy(path, limit), str(path))
        return Codes({"code": codes}, None, FactorTable.empty(len(codes)))
    table = read_table(path, _is_id_or_factor, limit)
    if not table.columns:
        raise DataError("at least one column of numbers", got=", ".join(table.other) or "none", where=str(path))
    factors = {name: column for name, column in table.other.items() if name.startswith(FACTOR)}
    parts = {part: table.numbers[:, columns] for part, columns in _grouped(table.columns, path).items()}
    return Codes(parts, id_column(table, _IDS, str(path)), factor_table(factors, table.rows))


def write_codes(
    path: Path, parts: Mapping[str, np.ndarray], ids: Sequence[str] | None = None, factors: FactorTable | None = None
) -> None:
    """Write codes so that `read_codes` finds them again; the file is complete or absent.

    `.npz` keeps everything. Tables keep values: columns `id`, `PART[0]`, `PART[1]`, ..., `factor:NAME` with the
    factors' labels, whose kinds a reader must guess (see `FactorTable.from_columns`).

    Args:
        path: A file ending in .npz, .csv or .parquet.
        parts: Part -> codes, items in front; more than one axis behind is made one.
        ids: A name per row, or None for their numbers.
        factors: Known factors, or None.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".csv", ".parquet"):
        raise DataError("a file ending in .npz, .csv or .parquet", got=brief(path.name), where=str(path))
    flat = {name: np.asarray(part).reshape(len(part), -1) for name, part in parts.items()}
    rows = {name: len(part) for name, part in flat.items()}
    rows |= {"ids": len(ids)} if ids is not None else {}
    rows |= {"factors": len(factors)} if factors is not None else {}
    if not flat or len(set(rows.values())) != 1:
        raise DataError("parts, ids and factors of one length", got=str(rows), where=str(path))
    count = next(iter(rows.values()))
    named = unique([str(i) for i in ids], str(path)) if ids is not None else [str(i) for i in range(count)]
    known = factors if factors is not None else FactorTable.empty(count)
    writers: dict[str, Writer] = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}
    _whole(path, lambda stream: writers[suffix](stream, flat, named, known))


def read_factors(
    path: Path, ids: Sequence[str] | None = None, rows: int | None = None, limit: int = LIMIT
) -> FactorTable:
    """A file of factors, brought into the order of the rows that it is about.

    When the file has ids (a column `id`, or `file` as the first) and the rows have them too, they are matched by id;
    the file may then tell of other rows as well. Otherwise rows are matched by their order.

    Args:
        path: `.csv` or `.parquet`, where every column but the id is a factor (only `factor:NAME` columns, if there
            are any); or `.npz`, where every vector is one, and every column of `factors`; or `.npy`.
        ids: The ids of the rows, or None.
        rows: How many rows there are, or None when that does not matter.
        limit: Bytes it may unpack to.

    Raises:
        DataError: The rows do not match.
    """
    table, own = _factors_apart(path, limit)
    if not table.factors:
        raise DataError("at least one factor", got="none", fix="give each a named column", where=str(path))
    if own is not None and ids is not None:
        return _matched(table, own, ids, path)
    if rows is not None and len(table) != rows:
        fix = "give one row per item in their order, or an id column in both files"
        raise DataError(f"a factor row for each of {rows} items", got=f"{len(table)} rows", fix=fix, where=str(path))
    return table


def _matched(table: FactorTable, own: list[str], ids: Sequence[str], path: Path) -> FactorTable:
    row_of = {name: row for row, name in enumerate(own)}
    absent = [name for name in ids if name not in row_of]
    if absent:
        fix = f"add a row for it ({len(absent)} of {len(ids)} have none); its values may be empty"
        got = f"none for {brief(absent[0])}; the file has {brief(own[0])}, ..." if own else "none"
        raise DataError("a row for every id", got=got, fix=fix, where=str(path))
    order = np.array([row_of[name] for name in ids], dtype=np.int64)
    return FactorTable(table.factors, table.values[order])


def _factors_apart(path: Path, limit: int) -> tuple[FactorTable, list[str] | None]:
    suffix = _known_suffix(path)
    if suffix == ".npz":
        with Npz(path, limit) as npz:
            rows = _most_rows(npz)
            return factors_of_npz(npz, rows, path), ids_of_npz(npz, rows, path)
    if suffix == ".npy":
        return _plain_factors(read_npy(path, limit), None, str(path)), None
    table = read_table(path, lambda _: True, limit)
    named = [name for i, name in enumerate(table.other) if name in _IDS or (i == 0 and name == "file")][:1]
    apart = {name: column for name, column in table.other.items() if name not in named}
    marked = {name: column for name, column in apart.items() if name.startswith(FACTOR)}
    return factor_table(marked or apart, table.rows), id_column(table, named, str(path))


def ids_of_npz(npz: Npz, rows: int, path: Path) -> list[str] | None:
    """The ids of an archive's rows, when it has as many as there are rows."""
    name = next((n for n in _IDS if n in npz.headers), None)
    if name is None:
        return None
    where = f"{path}: array '{name}'"
    if npz.headers[name].shape != (rows,):
        raise DataError(f"an id for each of {rows} rows", got=f"shape {npz.headers[name].shape}", where=where)
    return unique([str(i) for i in _texts(npz.read(name)).tolist()], where)


def factors_of_npz(npz: Npz, rows: int, path: Path, taken: Sequence[str] = ()) -> FactorTable:
    """The factors in an archive: the columns of `factors`, and every other vector with an entry per row.

    Args:
        npz: The archive.
        rows: The number of rows.
        path: Its file, for errors.
        taken: Arrays that are something else.
    """
    table = FactorTable.empty(rows)
    name = next((n for n in ("factors", "latents_classes") if n in npz.headers and n not in taken), None)
    if name is not None:
        table = _factor_matrix(npz, name, path)
    _check_rows(len(table), rows, f"{path}: array '{name}'")
    columns = {}
    for key, header in npz.headers.items():
        if key in _KEPT or key in taken:
            continue
        if key in _SURELY and len(header.shape) == 1:
            _check_rows(header.shape[0], rows, f"{path}: array '{key}'")
        if header.shape == (rows,):
            columns[key] = _texts(npz.read(key))
    return table.joined(factor_table(columns, rows))


def _check_rows(have: int, rows: int, where: str) -> None:
    if have != rows:
        fix = "give one row per item, missing values as NaN"
        raise DataError(f"a factor row for each of {rows} items", got=f"{have} rows", fix=fix, where=where)


def _factor_matrix(npz: Npz, name: str, path: Path) -> FactorTable:
    where = f"{path}: array '{name}'"
    names = _texts(npz.read("factor_names")).tolist() if "factor_names" in npz.headers else None
    matrix = npz.read(name)
    if names is not None and (not isinstance(names, list) or matrix.shape[1:] != (len(names),)):
        got = f"shape {matrix.shape} and the names {brief(names)}"
        raise DataError("factors (N, K) and K factor_names", got=got, where=where)
    if {"factor_kinds", "factor_labels"} <= set(npz.headers) and names is not None:
        kinds, labels = (_texts(npz.read(key)).tolist() for key in ("factor_kinds", "factor_labels"))
        return _described(matrix, names, kinds, labels, where)
    return _plain_factors(matrix, names, where)


def _described(matrix: np.ndarray, names: list[str], kinds: list[str], labels: list[str], where: str) -> FactorTable:
    check_numbers(matrix, where)
    try:
        told = [
            Factor(str(name), cast(FactorKind, kind), tuple(map(str, json.loads(label))))
            for name, kind, label in zip(names, kinds, labels, strict=True)
        ]
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError("kinds and labels as `unbraid embed` writes them", got=brief(error), where=where) from None
    for factor in told:
        if factor.kind not in get_args(FactorKind):
            fix = nearest(factor.kind, get_args(FactorKind))
            raise DataError("a kind of factor", got=brief(factor.kind), fix=fix, where=where)
    return FactorTable(told, matrix)


def _plain_factors(matrix: np.ndarray, names: list[str] | None, where: str) -> FactorTable:
    columns = matrix[:, None] if matrix.ndim == 1 else matrix
    if columns.ndim != 2:
        raise DataError("factors (N, K)", got=f"shape {matrix.shape}", where=where)
    if columns.dtype.kind == "c":
        check_numbers(columns, where)
    names = names if names is not None else [f"factor_{j}" for j in range(columns.shape[1])]
    if len(set(names)) < len(names):
        raise DataError("factor names that differ", got=brief(", ".join(map(str, names))), where=where)
    return factor_table({str(name): _texts(columns[:, j]) for j, name in enumerate(names)}, len(columns))


def _texts(array: np.ndarray) -> np.ndarray:
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _most_rows(npz: Npz) -> int:
    """The rows of a file of factors: of its matrix or ids when it has them, else of its longest vector."""
    for name in ("factors", "latents_classes", *_IDS):
        if name in npz.headers and npz.headers[name].shape:
            return npz.headers[name].shape[0]
    return max((h.shape[0] for h in npz.headers.values() if len(h.shape) == 1), default=0)


def _codes_of_npz(path: Path, limit: int) -> Codes:
    with Npz(path, limit) as npz:
        chosen = [
            name
            for name, h in npz.headers.items()
            if name not in _KEPT and ((len(h.shape) == 2 and h.dtype.kind in "fO") or _is_named_part(name, h.shape))
        ]
        if not chosen:
            got = f"the arrays {names_of(npz.headers)}"
            raise DataError("at least one matrix (N, width) of floats", got=got, where=str(path))
        rows = npz.headers[chosen[0]].shape[0]
        for name in chosen:
            if npz.headers[name].shape[0] != rows:
                got = f"{rows} in '{chosen[0]}' and {npz.headers[name].shape[0]} in '{name}'"
                raise DataError("parts of as many rows", got=got, where=str(path))
        parts = {_part_name(name): _part(npz.read(name), f"{path}: array '{name}'") for name in chosen}
        return Codes(parts, ids_of_npz(npz, rows, path), factors_of_npz(npz, rows, path, chosen))


def _is_named_part(name: str, shape: tuple[int, ...]) -> bool:
    return name.startswith("part") and 1 <= len(shape) <= 2


def _part_name(name: str) -> str:
    return name.removeprefix("part:") or name


def _part(codes: np.ndarray, where: str) -> np.ndarray:
    check_numbers(codes, where)
    matrix = codes[:, None] if codes.ndim == 1 else codes
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError("codes (N, width)", got=f"shape {codes.shape}", where=where)
    matrix = matrix if matrix.dtype in (np.float32, np.float64) else matrix.astype(np.float32)
    check_finite(matrix, where)
    return matrix


def _grouped(columns: Sequence[str], path: Path) -> dict[str, list[int]]:
    """Part -> positions of its columns, in the order of their numbers."""
    matches = [_NUMBERED.match(name) for name in columns]
    if not all(matches) and not any(m and m["inside"] for m in matches):
        return {"code": list(range(len(columns)))}
    numbered: dict[str, dict[int, int]] = {}
    for at, (name, match) in enumerate(zip(columns, matches, strict=True)):
        part, number = (match["part"], int(match["inside"] or match["after"])) if match else (name, 0)
        if number in numbered.setdefault(part, {}):
            raise DataError("one column for each number", got=f"two for {brief(part)} {number}", where=str(path))
        numbered[part][number] = at
    return {part: [places[n] for n in sorted(places)] for part, places in numbered.items()}


def _is_id_or_factor(name: str) -> bool:
    return name in _IDS or name.startswith(FACTOR)


def _known_suffix(path: Path) -> str:
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        fix = nearest(path.name, siblings) if 0 < len(siblings) <= 50 else "check the path"
        raise DataError("a file", got="none there", fix=fix, where=str(path))
    suffix = path.suffix.lower()
    if suffix not in PLAIN or path.is_dir():
        got = "a folder" if path.is_dir() else brief(path.name)
        raise DataError(f"a file ending in {', '.join(PLAIN)}", got=got, where=str(path))
    return suffix


Writer = Callable[[IO[bytes], Mapping[str, np.ndarray], list[str], FactorTable], None]


def _write_npz(stream: IO[bytes], parts: Mapping[str, np.ndarray], ids: list[str], factors: FactorTable) -> None:
    plain = {name for name in parts if name not in _KEPT | {"x"} and "/" not in name and not name.startswith("part")}
    arrays = {name if name in plain else f"part:{name}": _floats(part) for name, part in parts.items()}
    save_npz(stream, {**arrays, **_known_arrays(ids, factors)})


def _known_arrays(ids: list[str], factors: FactorTable) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {"ids": np.array(ids, dtype=np.str_)}
    if factors.factors:
        arrays["factors"] = factors.values
        arrays["factor_names"] = np.array(factors.names, dtype=np.str_)
        arrays["factor_kinds"] = np.array([f.kind for f in factors.factors], dtype=np.str_)
        arrays["factor_labels"] = np.array([json.dumps(f.labels) for f in factors.factors], dtype=np.str_)
    return arrays


def write_data(path: Path, data: Dataset) -> None:
    """Write a whole data set as `.npz` so that `open_data` finds it again; the file is complete or absent."""
    everything = torch.arange(len(data))
    known = _known_arrays(data.ids(everything), data.table(everything))
    arrays = {"x": data.take(everything)["x"].numpy(), **known}
    _whole(path, lambda stream: save_npz(stream, arrays))


def _write_csv(stream: IO[bytes], parts: Mapping[str, np.ndarray], ids: list[str], factors: FactorTable) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *_column_names(parts), *(FACTOR + name for name in factors.names)])
    told = [_told(factors, name) for name in factors.names]
    for start in range(0, len(ids), 1024):
        block = slice(start, start + 1024)
        numbers = np.concatenate([_floats(part[block]).astype(np.str_) for part in parts.values()], 1).tolist()
        known = [["" if v is None else str(v) for v in column[block]] for column in told]
        writer.writerows([i, *n, *f] for i, n, *f in zip(ids[block], numbers, *known, strict=True))
    text.flush()
    text.detach()


def _write_parquet(stream: IO[bytes], parts: Mapping[str, np.ndarray], ids: list[str], factors: FactorTable) -> None:
    arrow, parquet = need("pyarrow", extra="tables"), need("pyarrow.parquet", extra="tables")
    numbers = (column for part in parts.values() for column in _floats(part).T)
    columns: dict[str, Column] = {"id": ids, **dict(zip(_column_names(parts), numbers, strict=True))}
    columns |= {FACTOR + name: _told(factors, name) for name in factors.names}
    parquet.write_table(arrow.table(columns), stream)


def _column_names(parts: Mapping[str, np.ndarray]) -> list[str]:
    return [f"{name}[{j}]" for name, part in parts.items() for j in range(part.shape[1])]


def _floats(part: np.ndarray) -> np.ndarray:
    return part if part.dtype in (np.float32, np.float64) else part.astype(np.float32)


def _told(factors: FactorTable, name: str) -> list[object]:
    """A factor's values as people write them: labels, or numbers; None where missing."""
    factor = factors.factor(name)
    values = factors.column(name).tolist()
    if factor.kind == "continuous":
        return [None if v != v else v for v in values]
    return [None if v != v else factor.labels[int(v)] for v in values]


def _whole(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write beside the file, and put it in its place only when all is on the disk."""
    if not path.parent.is_dir():
        raise DataError("an existing folder", got=f"'{path.parent}'", fix="make it first", where=str(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        raise DataError("a file that can be written", got=error.strerror or str(error), where=str(path)) from None
    finally:
        beside.unlink(missing_ok=True)
