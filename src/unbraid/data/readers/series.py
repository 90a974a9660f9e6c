"""Recordings of one or several channels, cut into windows: tables, arrays, and folders of either."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from unbraid.core.errors import DataError, nearest
from unbraid.data.codes import factors_of_npz, ids_of_npz, read_factors
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.readers.arrays import Npz, check_numbers, one_array, read_npy
from unbraid.data.readers.check import LIMIT, brief, check_finite, check_size, open_bytes, plain_size
from unbraid.data.readers.folders import class_table, find_files, name_table
from unbraid.data.readers.tables import FACTOR, Column, factor_table, read_table, unique

WINDOW = 128
"""Steps of a window, where nobody says how many."""

INERTIAL = "Inertial Signals"
"""The folder of matrices, a file for each channel, in which UCI HAR and sets like it come."""

_IDS = ("id", "series", "recording", "file")
_TIMES = ("time", "timestamp", "t")
_LABELS = ("activity", "label", "class", "target")
_GROUPS = ("user", "subject", "person", "participant", "patient", "series")
_DOMAINS = ("domain", "device", "site", "place", "session")
_SAID = {*_LABELS, *_GROUPS, *_DOMAINS, "split"}
_TABLES = (".csv", ".parquet")
_FILES = 100_000


@dataclass(frozen=True)
class Recording:
    """One stretch of time.

    Attributes:
        name: What it is called.
        values: A row for each step, NaN where a value is missing.
        said: Factor -> its value at each step.
        file: The place of its file among those of a folder.
        where: For errors.
    """

    name: str
    values: Float[np.ndarray, "time channels"]
    said: Mapping[str, Sequence[object]]
    file: int
    where: str


@dataclass(frozen=True)
class _Cut:
    """How recordings become windows."""

    window: int
    step: int
    gaps: str


def open_series(
    path: Path,
    *,
    window: int | None = None,
    step: int | None = None,
    gaps: str = "refuse",
    channels: str = "all",
    layout: str = "auto",
    pattern: str | None = None,
    factors: Path | None = None,
    memory: int = 2**30,
    limit: int = LIMIT,
) -> MemoryDataset:
    """A data set of windows (channels, time), float32.

    - A folder of `.csv` or `.parquet` files: each is a recording, a row for each step in the order of time. Columns of
      numbers are channels; `activity`, `label`, `user`, `subject`, `device`, ... and `factor:NAME` are factors. A
      window never reaches over a change of a factor. Folders, names (by a pattern) and `factors.csv` tell more.
    - One such file: several recordings, where it has a column `id` (or `series`, `recording`). Where it has the columns
      `channel` and `value`, each row is one value.
    - A folder with `Inertial Signals`, as UCI HAR has it: a matrix of text for each channel, `y_*.txt`,
      `subject_*.txt` and `activity_labels.txt` beside it.
    - `.npz`, `.npy`: (N, T), (N, C, T) or (N, T, C); of the two axes the shorter one is the channels'. Vectors of as
      many entries are factors.

    The label is an activity, the group that splits must not cut a user, where there are such factors; without users it
    is the recording.

    Args:
        path: The file or folder.
        window: Steps of a window; None takes 128 of a recording, and all of an array's.
        step: Steps from one window to the next; None takes half a window.
        gaps: Missing values are refused, held (the value before stays), or their windows dropped.
        channels: Those to keep, joined by "+".
        layout: Whether the channels of an array come "first" or "last".
        pattern: What the names of files tell, see `unbraid.data.readers.folders.name_table`.
        factors: A file with more factors, a row for each recording.
        memory: Bytes that the windows may take.
        limit: Bytes that one file may unpack to.

    Raises:
        DataError: In one line: the file and row, what was expected, what came, what to do.
    """
    name = f"series:{path}"
    for option, value in (("window", window), ("step", step)):
        if value is not None and value < 1:
            raise DataError("1 or more", got=str(value), where=f"{name}: {option}")
    files: list[str] = []
    if path.is_dir() and (inside := _inertial(path)):
        found, names, table = _of_matrices(path, inside, limit)
    elif path.is_dir():
        files = _files(path)
        found, names = _of_tables(path, files, gaps, _wanted(channels), limit)
        table = None
    elif path.suffix.lower() in (".npz", ".npy"):
        found, names, table = _of_array(path, layout, limit)
    elif path.suffix.lower() in _TABLES:
        found, names = _of_tables(path.parent, [path.name], gaps, _wanted(channels), limit)
        table = None
    else:
        expected = f"{', '.join((*_TABLES, '.npz', '.npy'))} or a folder"
        raise DataError(expected, got=brief(path.name), fix="convert it to one of these", where=str(path))
    if pattern is not None and not files:
        raise DataError("a folder of files, where a pattern is given", got=str(path), where="--pattern")
    found = _kept(found, names, _wanted(channels), name)
    length = window or (WINDOW if table is None else len(found[0].values))
    tables = [] if table is None else [table]
    if files:
        tables.append(_beside(path, files, pattern).rows(torch.tensor([r.file for r in found])))
    if factors is not None:
        tables.append(read_factors(factors, _names_of(found, name), len(found)))
    return _windows(name, found, _Cut(length, step or max(1, length // 2), gaps), tables, memory)


# ------------------------------------------------------------------------------------------------------------ windows


def _windows(
    name: str,
    recordings: Sequence[Recording],
    cut: _Cut,
    tables: Sequence[FactorTable],
    memory: int,
) -> MemoryDataset:
    """All windows of all recordings, with what is known of them step by step and recording by recording."""
    pieces: list[np.ndarray] = []
    of: list[tuple[int, int]] = []
    room = memory // (4 * cut.window * recordings[0].values.shape[1])
    short = dropped = 0
    for at, recording in enumerate(recordings):
        values, starts, few = _starts(recording, cut)
        short += few
        whole = [s for s in starts if not np.isnan(values[s : s + cut.window]).any()]
        dropped += len(starts) - len(whole)
        of += [(at, s) for s in whole]
        pieces += [values[s : s + cut.window].T for s in whole]
        if len(of) > room:
            fix = "take a longer step, fewer channels or fewer files"
            raise DataError(f"windows of at most {plain_size(memory)}", got="more", fix=fix, where=name)
    if not of:
        longest = max(len(r.values) for r in recordings)
        got = f"{dropped} windows, all with missing values" if dropped else f"{longest} at most"
        fix = "say gaps=hold" if dropped else f"ask for fewer, such as window={longest}"
        raise DataError(f"{cut.window} steps in a row without a change of factors", got=got, fix=fix, where=name)
    known = _known(recordings, of, tables)
    ids = [
        f"{recordings[at].name}@{s}" if len(recordings[at].values) > cut.window else recordings[at].name for at, s in of
    ]
    data = MemoryDataset(name, torch.from_numpy(np.stack(pieces)), known, ids if len(set(ids)) == len(ids) else None)
    notes = {
        "stretches are shorter than a window and were left out": short,
        "windows have missing values and were left out": dropped,
    }
    data.notes = tuple(f"{count} {what}." for what, count in notes.items() if count)
    data.roles = roles_of(known)
    return data


def _starts(recording: Recording, cut: _Cut) -> tuple[np.ndarray, list[int], int]:
    """The values, gaps seen to; where windows begin; and how many stretches are too short for one."""
    values, starts, short = recording.values, [], 0
    gap = np.isnan(values)
    if gap.any() and cut.gaps == "refuse":
        row, column = (int(i) for i in np.argwhere(gap)[0])
        fix = "fill it in, or say gaps=hold or gaps=drop"
        raise DataError(
            "a value at every step", got=f"none at step {row}, channel {column}", fix=fix, where=recording.where
        )
    if gap.any() and cut.gaps == "hold":
        values = _held(values)
    for begin, end in _stretches(recording.said, len(values)):
        short += end - begin < cut.window
        starts += list(range(begin, end - cut.window + 1, cut.step))
    return values, starts, short


def _held(values: Float[np.ndarray, "time channels"]) -> Float[np.ndarray, "time channels"]:
    """Missing values as the last known before, or the first after; channels without any stay missing."""
    steps = np.arange(len(values))[:, None]
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, steps, -1), axis=0)
    source = np.where(last >= 0, last, known.argmax(0))
    return np.asarray(np.take_along_axis(values, source, axis=0))


def _stretches(said: Mapping[str, Sequence[object]], steps: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each stretch in which no factor changes."""
    changes = np.zeros(max(0, steps - 1), dtype=bool)
    for column in said.values():
        text = np.array([str(v) for v in column])
        changes |= text[1:] != text[:-1]
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), steps]
    yield from itertools.pairwise(edges)


def _known(
    recordings: Sequence[Recording], of: Sequence[tuple[int, int]], tables: Sequence[FactorTable]
) -> FactorTable:
    """The factors of windows, each the recording it is of and its first step."""
    names = list(dict.fromkeys(name for r in recordings for name in r.said))
    columns: dict[str, Column] = {
        _kinded(name): [recordings[at].said[name][s] if name in recordings[at].said else None for at, s in of]
        for name in names
    }
    rows = torch.tensor([at for at, _ in of])
    if len(recordings) > 1 and len({at for at, _ in of}) < len(rows):
        columns["series:categorical"] = [recordings[at].name for at, _ in of]
    known = factor_table(columns, len(of))
    for table in tables:
        known = known.joined(table.rows(rows))
    return known


def _kinded(name: str) -> str:
    """Who and what are classes, even where they are numbered."""
    return f"{name}:categorical" if name.lower() in _SAID else name


def _names_of(recordings: Sequence[Recording], where: str) -> list[str]:
    return unique([r.name for r in recordings], where)


def roles_of(table: FactorTable) -> Mapping[str, str]:
    """The factors that are what happens, who splits must not cut, and where it was recorded, by their names.

    >>> roles_of(FactorTable.from_columns({"subject": ["1"], "activity": ["walks"]}))
    {'label': 'activity', 'group': 'subject'}
    """
    known = {name.lower(): name for name in table.names if table.factor(name).size}
    guesses = {"label": _LABELS, "group": _GROUPS, "domain": _DOMAINS}
    return {role: known[next(n for n in names if n in known)] for role, names in guesses.items() if {*names} & {*known}}


# ------------------------------------------------------------------------------------------------------------- tables


def _files(folder: Path) -> list[str]:
    found = [f for f in find_files(folder, _TABLES) if f != "factors.csv"]
    if not found:
        expected = f"a folder with .csv or .parquet files, or with '{INERTIAL}'"
        raise DataError(expected, got="none of them", where=str(folder))
    if len(found) > _FILES:
        raise DataError(f"at most {_FILES} files", got=str(len(found)), where=str(folder))
    return found


def _beside(path: Path, files: Sequence[str], pattern: str | None) -> FactorTable:
    """What folders, names and `factors.csv` tell of files."""
    table = class_table(files)
    if pattern is not None:
        table = table.joined(name_table(files, pattern, path))
    told = path / "factors.csv"
    return table.joined(read_factors(told, files, len(files))) if told.exists() else table


def _of_tables(
    folder: Path, files: Sequence[str], gaps: str, wanted: Sequence[str], limit: int
) -> tuple[list[Recording], list[str]]:
    recordings: list[Recording] = []
    channels: list[str] = []
    for at, file in enumerate(files):
        path = folder / file
        names, values, other = _read(path, gaps, wanted, limit)
        channels = channels or names
        if sorted(names) != sorted(channels):
            got, fix = ", ".join(names), "name those that all have, as in channels=x+y"
            raise DataError(f"the channels {', '.join(channels)}, as in {files[0]}", got=got, fix=fix, where=str(path))
        values = values[:, [names.index(name) for name in channels]]
        stem = Path(file).with_suffix("").as_posix()
        recordings += list(_recordings(stem if len(files) > 1 else "", values, other, at, str(path)))
    return recordings, channels


def _read(
    path: Path, gaps: str, wanted: Sequence[str], limit: int
) -> tuple[list[str], Float[np.ndarray, "rows channels"], dict[str, Column]]:
    """Channels, their values, and the columns of ids, times and factors."""

    def other(name: str) -> bool:
        known = name.lower() in {*_IDS, *_TIMES, *_SAID, "channel"} or name.startswith(FACTOR)
        return (name not in wanted) if wanted and name != "value" else known

    table = read_table(path, (lambda _: True) if gaps != "refuse" else other, limit)
    columns = dict(table.other)
    if "channel" in {n.lower() for n in columns} and "value" in (*table.columns, *columns):
        return _pivoted(columns, table.columns, table.numbers, path)
    if gaps == "refuse":
        names, values = list(table.columns), table.numbers
    else:
        names = [name for name in columns if not other(name)]
        numbers = [_numbers(columns.pop(name), name, path) for name in names]
        values = np.stack(numbers, 1) if numbers else np.zeros((table.rows, 0), dtype=np.float32)
    if not names or not {*wanted} <= {*names}:
        expected = f"the channels {', '.join(wanted)}" if wanted else "a column of numbers"
        raise DataError(expected, got=f"the columns {', '.join([*names, *columns])}", where=str(path))
    known = {*_IDS, *_TIMES, *_SAID}
    return names, values, {n: c for n, c in columns.items() if n.lower() in known or n.startswith(FACTOR)}


def _numbers(column: Column, name: str, path: Path) -> Float[np.ndarray, " rows"]:
    """Numbers of cells of which some are empty."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "iufb":
        out = column.astype(np.float64)
    else:
        out = np.full(len(column), np.nan)
        for row, cell in enumerate(column):
            text = "" if cell is None else str(cell).strip()
            if text.lower() in ("", "nan", "na", "null", "none"):
                continue
            try:
                out[row] = float(text)
            except ValueError:
                fix = f"name the column '{FACTOR}{name}' if it is a factor"
                where = f"{path} row {row} column {brief(name)}"
                raise DataError("a number or nothing", got=brief(text), fix=fix, where=where) from None
    if np.isinf(out).any():
        row = int(np.flatnonzero(np.isinf(out))[0])
        raise DataError("finite numbers", got="infinity", where=f"{path} row {row} column {brief(name)}")
    return out.astype(np.float32)


def _pivoted(
    columns: dict[str, Column], names: Sequence[str], numbers: np.ndarray, path: Path
) -> tuple[list[str], Float[np.ndarray, "rows channels"], dict[str, Column]]:
    """Rows of one value each, as rows of all channels: by recording and time, in the order they first come."""
    told = {name.lower(): name for name in columns}
    value = numbers[:, list(names).index("value")] if "value" in names else _numbers(columns["value"], "value", path)
    keys = [n for n in columns if n.lower() in (*_IDS, *_TIMES)]
    if not any(n.lower() in _TIMES for n in keys):
        raise DataError("a column time beside channel and value", got=", ".join(columns), where=str(path))
    step: dict[tuple[str, ...], int] = {}
    channel: dict[str, int] = {}
    rows = [step.setdefault(tuple(map(str, key)), len(step)) for key in zip(*(columns[n] for n in keys), strict=True)]
    places = [channel.setdefault(str(name), len(channel)) for name in columns[told["channel"]]]
    values = np.full((len(step), len(channel)), np.nan, dtype=np.float32)
    values[rows, places] = value
    if len({*zip(rows, places, strict=True)}) < len(rows):
        raise DataError("one value for each recording, time and channel", got="two for some", where=str(path))
    first = np.unique(np.array(rows), return_index=True)[1]
    kept: dict[str, Column] = {
        n: [c[i] for i in first] for n, c in columns.items() if n not in ("value", told["channel"])
    }
    return list(channel), values, kept


def _recordings(
    stem: str, values: np.ndarray, other: Mapping[str, Column], file: int, where: str
) -> Iterator[Recording]:
    """The recordings of one table, told apart by its ids."""
    lower = {name.lower(): name for name in other}
    key = next((lower[n] for n in _IDS if n in lower), None)
    time = next((lower[n] for n in _TIMES if n in lower), None)
    said = {n.removeprefix(FACTOR): c for n, c in other.items() if n not in (key, time)}
    ids = ["" for _ in values] if key is None else [_plain(v) for v in other[key]]
    order: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        order.setdefault(name, []).append(row)
    for name, rows in order.items():
        called = "/".join(filter(None, (stem, name))) or Path(where).stem
        _check_time(None if time is None else [other[time][i] for i in rows], f"{where}: {called}")
        own = {n: [column[i] for i in rows] for n, column in said.items()}
        yield Recording(called, values[rows], own, file, f"{where}: {called}")


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check_time(time: Sequence[object] | None, where: str) -> None:
    """Refuse recordings whose numbered times run backwards; times that are text are believed."""
    time = time or ()
    try:
        numbers = np.array([float(str(t)) for t in time])
    except ValueError:
        return
    if (back := np.flatnonzero(numbers[1:] < numbers[:-1])).size:
        row = int(back[0]) + 1
        fix = "sort its rows by time, or give recordings that begin anew an id each"
        raise DataError(
            "times that do not run backwards", got=f"{time[row]} after {time[row - 1]}", fix=fix, where=where
        )


# ------------------------------------------------------------------------------------------------------------- arrays


def _of_array(path: Path, layout: str, limit: int) -> tuple[list[Recording], list[str], FactorTable]:
    if path.suffix.lower() == ".npy":
        x = _laid_out(read_npy(path, limit), layout, str(path))
        table, ids = FactorTable.empty(len(x)), None
    else:
        with Npz(path, limit) as npz:
            key = one_array(npz, path, ("x", "series"))
            x = _laid_out(npz.read(key), layout, f"{path}: array '{key}'")
            table, ids = factors_of_npz(npz, len(x), path, [key]), ids_of_npz(npz, len(x), path)
    names = [str(c) for c in range(x.shape[2])]
    called = ids or [str(i) for i in range(len(x))]
    return (
        [Recording(n, v, {}, 0, f"{path} row {i}") for i, (n, v) in enumerate(zip(called, x, strict=True))],
        names,
        table,
    )


def _laid_out(x: np.ndarray, layout: str, where: str) -> Float[np.ndarray, "n time channels"]:
    """The array with its channels last."""
    check_numbers(x, where)
    if x.ndim == 2:
        x = x[..., None]
        layout = "last"
    if x.ndim != 3 or 0 in x.shape:
        raise DataError("(N, T), (N, C, T) or (N, T, C)", got=f"shape {x.shape}", where=where)
    if layout == "auto" and x.shape[1] == x.shape[2]:
        fix = "say layout=first or layout=last"
        raise DataError("as many channels as steps only with their place", got=f"shape {x.shape}", fix=fix, where=where)
    first = layout == "first" or (layout == "auto" and x.shape[1] < x.shape[2])
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(x.swapaxes(1, 2) if first else x, dtype=np.float32)
    check_finite(np.where(np.isnan(out), 0, out), where)
    return out


def _inertial(folder: Path) -> list[Path]:
    """The folders of matrices."""
    return sorted(p for p in folder.rglob(INERTIAL) if p.is_dir())


def _of_matrices(folder: Path, inside: Sequence[Path], limit: int) -> tuple[list[Recording], list[str], FactorTable]:
    recordings: list[Recording] = []
    channels: list[str] = []
    columns: dict[str, list[object]] = {"activity": [], "subject": [], "split": []}
    labels = _activities(folder)
    for place in inside:
        split = place.parent.name
        files = sorted(place.glob("*.txt"))
        names = [f.stem.removesuffix(f"_{split}") for f in files]
        channels = channels or names
        if not files or names != channels:
            got, expected = (
                ", ".join(names) or "no .txt files",
                ", ".join(channels) or "matrices of text, one a channel",
            )
            raise DataError(expected, got=got, where=str(place))
        matrices = [_matrix(file, limit) for file in files]
        if len({m.shape for m in matrices}) > 1:
            got = str({f.name: m.shape for f, m in zip(files, matrices, strict=True)})
            raise DataError("matrices of one shape", got=brief(got, 120), where=str(place))
        x = np.stack(matrices, 2)
        told = {"activity": f"y_{split}.txt", "subject": f"subject_{split}.txt"}
        for factor, file in told.items():
            codes = _codes(place.parent / file, len(x), limit)
            columns[factor] += [labels.get(c, str(c)) if factor == "activity" else str(c) for c in codes]
        columns["split"] += [split] * len(x)
        recordings += [Recording(f"{split}/{i}", v, {}, 0, f"{place} row {i}") for i, v in enumerate(x)]
    if len(inside) == 1:
        del columns["split"]
    named: dict[str, Column] = {f"{name}:categorical": column for name, column in columns.items()}
    return recordings, channels, factor_table(named, len(recordings))


def _matrix(path: Path, limit: int) -> Float[np.ndarray, "n time"]:
    with open_bytes(path):
        check_size(path, limit)
    try:
        matrix = np.loadtxt(path, dtype=np.float32, ndmin=2)
    except ValueError as error:
        got = " ".join(str(error).split())[:80]
        raise DataError("rows of as many numbers, with spaces between", got=got, where=str(path)) from None
    if not matrix.size:
        raise DataError("at least one row", got="none", where=str(path))
    check_finite(np.where(np.isnan(matrix), 0, matrix), str(path))
    return matrix


def _codes(path: Path, rows: int, limit: int) -> list[int]:
    column = _matrix(path, limit)
    if column.shape != (rows, 1) or (column != np.floor(column)).any():
        raise DataError(f"a whole number for each of {rows} windows", got=f"shape {column.shape}", where=str(path))
    return [int(v) for v in column[:, 0]]


def _activities(folder: Path) -> dict[int, str]:
    """What the numbers of activities are called, where a file says it."""
    path = folder / "activity_labels.txt"
    if not path.exists():
        return {}
    with open_bytes(path) as stream:
        lines = stream.read(2**20).decode("utf-8", "replace").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    if any(len(pair) != 2 or not pair[0].isdigit() for pair in pairs):
        raise DataError("a number and a name in each line", got="something else", where=str(path))
    return {int(number): name.strip().lower() for number, name in pairs}


# ----------------------------------------------------------------------------------------------------------- channels


def _wanted(channels: str) -> list[str]:
    return [] if channels == "all" else channels.split("+")


def _kept(recordings: list[Recording], names: Sequence[str], wanted: Sequence[str], where: str) -> list[Recording]:
    """Only the channels that were asked for, in this order."""
    if not wanted:
        return recordings
    for name in wanted:
        if name not in names:
            raise DataError(
                "the name of a channel", got=brief(name), fix=nearest(name, names), where=f"{where}: channels"
            )
    columns = [list(names).index(name) for name in wanted]
    return [Recording(r.name, r.values[:, columns], r.said, r.file, r.where) for r in recordings]
