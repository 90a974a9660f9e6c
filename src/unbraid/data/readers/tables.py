"""`.csv` and `.parquet`: columns of numbers, and columns of text for ids and factors."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from unbraid.core.errors import DataError, need
from unbraid.data.factors import FactorKind, FactorTable
from unbraid.data.readers.check import LIMIT, brief, check_finite, check_size, open_bytes, plain_size

FACTOR = "factor:"
_CELLS, _LONGEST = 2**18, 2**25

Column = Sequence[object] | np.ndarray


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Attributes:
        rows: Number of rows.
        other: The columns that were asked for as they are: ids and factors, of text or numbers.
        columns: The names of the columns of numbers.
        numbers: The columns of numbers (rows, columns) float32, all finite.
    """

    rows: int
    other: Mapping[str, Column]
    columns: tuple[str, ...]
    numbers: np.ndarray


def read_table(path: Path, keep: Callable[[str], bool], limit: int = LIMIT) -> Table:
    """A `.csv` (comma, semicolon or tab; UTF-8; a first line that names the columns) or `.parquet` file.

    Args:
        path: The file.
        keep: The name of a column -> whether to keep it as it is; all others must hold numbers.
        limit: Bytes the file may have.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, keep, limit)
    return _read_csv(path, keep, limit)


def factor_table(columns: Mapping[str, Column], rows: int) -> FactorTable:
    """Factors from named columns; a name may say its kind: `factor:site:categorical`, or `site:categorical`."""
    named: dict[str, Column] = {}
    kinds: dict[str, FactorKind] = {}
    for column, values in columns.items():
        name = column.removeprefix(FACTOR)
        head, colon, kind = name.rpartition(":")
        if colon and kind in get_args(FactorKind):
            name, kinds[head] = head, cast(FactorKind, kind)
        if not name or name in named:
            got = f"two factors '{name}'" if name else f"the column '{column}'"
            raise DataError("factors that each have a name", got=got, fix="rename the column")
        named[name] = values
    return FactorTable.from_columns(named, kinds) if named else FactorTable.empty(rows)


def id_column(table: Table, names: Sequence[str], where: str) -> list[str] | None:
    """The ids of the rows: the first column of these names, which must not repeat; None when there is none."""
    for name in names:
        if name in table.other:
            return unique([_plain(v) for v in table.other[name]], where)
    return None


def unique(ids: list[str], where: str) -> list[str]:
    """The ids again, if no two are alike."""
    if len(set(ids)) == len(ids):
        return ids
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in first:
            raise DataError("ids that differ", got=f"{brief(name)} in rows {first[name]} and {row}", where=where)
        first[name] = row
    raise AssertionError(where)


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def _read_csv(path: Path, keep: Callable[[str], bool], limit: int) -> Table:
    with open_bytes(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
        check_size(path, limit)
        rows = _rows(stream, path)
        _, header = next(rows, (0, []))
        names = _names(header, path)
        kept = [j for j, name in enumerate(names) if keep(name)]
        rest = [j for j in range(len(names)) if j not in set(kept)]
        other: dict[str, list[object]] = {names[j]: [] for j in kept}
        blocks: list[np.ndarray] = []
        count = 0
        for block in _blocks(rows, len(names), path):
            for j in kept:
                other[names[j]].extend(cells[j] for _, cells in block)
            blocks.append(_to_numbers(block, rest, names, count, path))
            count += len(block)
    if not count:
        raise DataError("at least one row under the header", got="none", where=str(path))
    return Table(count, other, tuple(names[j] for j in rest), np.concatenate(blocks))


def _rows(stream: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank."""
    try:
        start = stream.read(2**16).partition("\n")[0]
        stream.seek(0)
        delimiter = max(",;\t", key=start.count)
        reader = csv.reader(_lines(stream, path), delimiter=delimiter, strict=True)
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except UnicodeDecodeError:
        raise DataError("text in UTF-8", got="other bytes", fix="save it as UTF-8", where=str(path)) from None
    except csv.Error as error:
        raise DataError("rows of comma-separated values", got=str(error), where=str(path)) from None


def _lines(stream: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """Lines, none of them read to an end that never comes."""
    while line := stream.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise DataError(f"lines of fewer than {_LONGEST} characters", got="a longer one", where=str(path))
        yield line


def _names(header: list[str], path: Path) -> list[str]:
    if not header:
        raise DataError("a table", got="an empty file", where=str(path))
    names = [name.strip() for name in header]
    # pandas writes its index as a first column without a name.
    names[0] = names[0] or "id"
    if len(names) > 1 and all(_is_number(name) for name in names):
        got, fix = f"numbers ({brief(names[0])}, ...)", "put a line such as id,z_0,z_1 in front"
        raise DataError("a first line that names the columns", got=got, fix=fix, where=str(path))
    for j, name in enumerate(names):
        if not name:
            raise DataError("a name for every column", got=f"none for column {j + 1}", where=str(path))
        if name in names[:j]:
            raise DataError("column names that differ", got=f"{brief(name)} twice", where=str(path))
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Row = tuple[int, list[str]]


def _blocks(rows: Iterator[Row], width: int, path: Path) -> Iterator[list[Row]]:
    """Rows by the many, so that the text of only some of them is held at a time."""
    length, block = max(1, _CELLS // width), list[Row]()
    for number, (line, cells) in enumerate(rows):
        if len(cells) != width:
            where = f"{path} row {number} (line {line})"
            raise DataError(f"{width} cells, as in the header", got=str(len(cells)), where=where)
        block.append((line, cells))
        if len(block) == length:
            yield block
            block = []
    if block:
        yield block


def _to_numbers(block: list[Row], rest: list[int], names: list[str], first: int, path: Path) -> np.ndarray:
    if not rest:
        return np.zeros((len(block), 0), dtype=np.float32)
    try:
        with np.errstate(over="ignore"):
            # To float64 at once: an array of text would give every cell the room of the longest.
            numbers = np.array([[cells[j] for j in rest] for _, cells in block], dtype=np.float64).astype(np.float32)
    except ValueError:
        raise _no_number(block, rest, names, first, path) from None
    check_finite(numbers, str(path), [names[j] for j in rest], first)
    return numbers


def _no_number(block: list[Row], rest: list[int], names: list[str], first: int, path: Path) -> DataError:
    for row, (line, cells) in enumerate(block):
        for j in rest:
            if not _is_number(cells[j]):
                where = f"{path} row {first + row} (line {line}) column {brief(names[j])}"
                fix = f"fill it in, or name the column '{FACTOR}{names[j]}' if it is a factor"
                got = brief(cells[j]) if cells[j].strip() else "an empty cell"
                return DataError("a number", got=got, fix=fix, where=where)
    return DataError("numbers", got="something else", where=str(path))


def _read_parquet(path: Path, keep: Callable[[str], bool], limit: int) -> Table:
    parquet = need("pyarrow.parquet", extra="tables")
    with open_bytes(path):
        check_size(path, limit)
    try:
        file = parquet.ParquetFile(path)
        held = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        claimed = max(held, 8 * file.metadata.num_rows * file.metadata.num_columns)
        table = file.read() if claimed <= limit else None
        read = [] if table is None else [_arrow_column(column) for column in table.columns]
    except Exception as error:  # pyarrow has errors of its own, which are not there to name when it is not installed
        got = " ".join(str(error).split())[:80]
        raise DataError("a whole .parquet file", got=got, fix="save it again", where=str(path)) from None
    if table is None:
        raise DataError(f"a table of at most {plain_size(limit)}", got=plain_size(claimed), where=str(path))
    names = _names([str(name) for name in table.column_names], path)
    if not table.num_rows:
        raise DataError("at least one row", got="none", where=str(path))
    columns = dict(zip(names, read, strict=True))
    other = {name: column for name, column in columns.items() if keep(name)}
    rest = [name for name in columns if name not in other]
    numbers = np.zeros((table.num_rows, len(rest)), dtype=np.float32)
    for j, name in enumerate(rest):
        numbers[:, j] = _arrow_numbers(columns[name], name, path)
    check_finite(numbers, str(path), rest)
    return Table(table.num_rows, other, tuple(rest), numbers)


def _arrow_column(column: Any) -> Column:
    values = column.to_numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values
    return cast(Column, column.to_pylist())


def _arrow_numbers(values: Column, name: str, path: Path) -> np.ndarray:
    if isinstance(values, np.ndarray):
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    if all(isinstance(v, bool) for v in values):
        return np.array(values, dtype=np.float32)
    row, value = next((i, v) for i, v in enumerate(values) if not isinstance(v, bool))
    where, fix = f"{path} row {row} column {brief(name)}", f"name the column '{FACTOR}{name}' if it is a factor"
    raise DataError("a number", got=brief(value) if value is not None else "nothing", fix=fix, where=where)
