"""Trajectories from `.npz` (as D4RL and Minari export them), `.csv` and `.parquet`.

- `.npz`, flat: arrays `observations`, `actions` and `rewards` of N rows, and where episodes end: `terminals` and
  `timeouts` (N,), either or both; or `offsets` (E + 1,); or `episode` (N,), a number for each.
- `.npz`, padded: the same arrays with episodes and steps in front, and `valid` (E, N), False for padding.
- `.csv`, `.parquet`: columns `episode`, `state` or `state_0`, `state_1`, ..., `action` or `action_0`, ..., `reward`,
  and `done` where there is one. Columns named `factor:NAME` are factors.

Whole numbers in one column are ids of states or actions; anything else is numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.environment import Episodes
from unbraid.data.readers.arrays import Npz, check_numbers, names_of
from unbraid.data.readers.check import LIMIT, check_finite
from unbraid.data.readers.tables import FACTOR, factor_table, read_table
from unbraid.data.trajectories import Trajectories

NAMES: Mapping[str, tuple[str, ...]] = {
    "state": ("observations", "states", "observation", "state", "obs"),
    "action": ("actions", "action"),
    "reward": ("rewards", "reward"),
}
_ENDS = ("terminals", "terminations", "dones", "done")
_CUTS = ("timeouts", "truncations")
_IDS = 100_000


def open_trajectories(path: Path, past: int = 20, future: int = 20) -> Trajectories:
    """The trajectories of a file; see this module for its layout.

    Args:
        path: The file.
        past: Steps of a window up to the present one.
        future: Steps of a window after it.

    Raises:
        DataError: In one line: what was expected, what came.
    """
    suffix, table = path.suffix.lower(), None
    if suffix == ".npz":
        columns, first = _of_npz(path)
    elif suffix in (".csv", ".parquet"):
        columns, first, factors = _of_table(path)
        table = factor_table(factors, len(columns["reward"])) if factors else None
    else:
        raise DataError("a file .npz, .csv or .parquet", got=f"'{path.name}'", where=str(path))
    state, states = _steps(columns["state"], f"{path}: states")
    action, actions = _steps(columns["action"], f"{path}: actions")
    offsets = torch.from_numpy(np.append(np.flatnonzero(first), len(first)))
    reward = torch.from_numpy(_finite(_row(columns["reward"], len(first), f"{path}: rewards"), f"{path}: rewards"))
    done = torch.from_numpy(columns["done"])
    episodes = Episodes(state, action, reward, done, offsets, {})
    return Trajectories(path.stem, episodes, past, future, states=states, actions=actions, table=table)


Columns = dict[str, np.ndarray]


def _of_npz(path: Path) -> tuple[Columns, np.ndarray]:
    """The columns, and which rows begin an episode."""
    with Npz(path) as npz:
        found = {column: next((n for n in names if n in npz.headers), None) for column, names in NAMES.items()}
        for column, name in found.items():
            if name is None:
                expected = f"an array '{NAMES[column][0]}'"
                raise DataError(expected, got=names_of(npz.headers), fix="name it so", where=str(path))
        marks = ("valid", "offsets", "episode", *_ENDS, *_CUTS)
        arrays = {name: npz.read(name) for name in [*found.values(), *marks] if name and name in npz.headers}
    for name, array in arrays.items():
        check_numbers(array, f"{path}: array '{name}'")
    columns = {column: arrays[name] for column, name in found.items() if name is not None}
    if "valid" in arrays:
        return _unpadded(columns, arrays, path)
    rows = _equally_long(columns, path)
    done = _any([_mark(arrays[name], rows, f"{path}: array '{name}'") for name in _ENDS if name in arrays], rows)
    return {**columns, "done": done}, _firsts(arrays, done, rows, path)


def _unpadded(columns: Columns, arrays: Columns, path: Path) -> tuple[Columns, np.ndarray]:
    valid = arrays["valid"].astype(bool)
    if valid.ndim != 2 or any(column.shape[:2] != valid.shape for column in columns.values()):
        got = ", ".join(f"{name} {array.shape}" for name, array in {**columns, "valid": valid}.items())
        raise DataError("arrays with episodes and steps in front", got=got, where=str(path))
    lengths = valid.sum(1)
    starts = np.diff(valid.astype(np.int8), axis=1, prepend=0) > 0
    if not len(valid) or (starts.sum(1) != 1).any():
        expected, fix = "one stretch of real steps in each episode", "put them together, and leave empty ones out"
        raise DataError(expected, got="others", fix=fix, where=f"{path}: array 'valid'")
    ends = _any(
        [a.astype(bool) for name in _ENDS if (a := arrays.get(name)) is not None and a.shape == valid.shape], valid
    )
    first = np.zeros(int(lengths.sum()), dtype=bool)
    first[np.cumsum(lengths) - lengths] = True
    kept = {name: column[valid] for name, column in columns.items()}
    return {**kept, "done": ends[valid]}, first


def _firsts(arrays: Columns, done: np.ndarray, rows: int, path: Path) -> np.ndarray:
    """Which rows begin an episode."""
    first = np.zeros(rows, dtype=bool)
    first[0] = True
    if "offsets" in arrays:
        first[_offsets(arrays["offsets"], rows, f"{path}: array 'offsets'")] = True
    elif "episode" in arrays:
        episode = _row(arrays["episode"], rows, f"{path}: array 'episode'")
        first[1:] = episode[1:] != episode[:-1]
    elif any(name in arrays for name in (*_ENDS, *_CUTS)):
        cut = [_mark(arrays[name], rows, f"{path}: array '{name}'") for name in _CUTS if name in arrays]
        first[1:] = (done | _any(cut, rows))[:-1]
    else:
        fix = "save 'terminals' and 'timeouts', 'offsets', or 'episode' with them"
        raise DataError("where episodes end", got=f"only {', '.join(arrays)}", fix=fix, where=str(path))
    return first


def _offsets(offsets: np.ndarray, rows: int, where: str) -> np.ndarray:
    """Where episodes start, as they were saved with or without the end of the last."""
    whole = np.asarray(offsets, dtype=np.float64).ravel()
    bounded = len(whole) and whole[0] == 0 and whole[-1] <= rows and (np.diff(whole) > 0).all()
    if not bounded or (whole != np.floor(whole)).any():
        raise DataError(f"rising whole numbers from 0 to {rows}", got="others", where=where)
    starts: np.ndarray = whole[whole < rows].astype(np.int64)
    return starts


def _of_table(path: Path) -> tuple[Columns, np.ndarray, Mapping[str, Sequence[object] | np.ndarray]]:
    table = read_table(path, lambda name: name == "episode" or name.startswith(FACTOR), LIMIT)
    if "episode" not in table.other:
        got = ", ".join((*table.other, *table.columns))
        raise DataError("a column 'episode'", got=got, fix="number the episodes", where=str(path))
    number = {name: table.numbers[:, j] for j, name in enumerate(table.columns)}
    columns = {name: _gathered(number, name, path) for name in NAMES}
    if columns["reward"].ndim != 1:
        raise DataError("one column 'reward'", got="several", where=str(path))
    columns["done"] = number["done"] != 0 if "done" in number else np.zeros(table.rows, dtype=bool)
    episode = np.asarray([str(e) for e in table.other["episode"]])
    first = np.append(True, episode[1:] != episode[:-1])
    return columns, first, {name: column for name, column in table.other.items() if name != "episode"}


def _gathered(number: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """The column of a name, or its numbered columns side by side, in order."""
    if name in number:
        return number[name]
    numbered = sorted((int(m[1]), column) for column in number if (m := re.fullmatch(rf"{name}_(\d{{1,9}})", column)))
    if not numbered:
        expected = f"a column '{name}' or columns '{name}_0', '{name}_1', ..."
        raise DataError(expected, got=", ".join(number) or "none", where=str(path))
    return np.stack([number[column] for _, column in numbered], 1)


def _equally_long(columns: Columns, path: Path) -> int:
    rows = {name: len(column) if column.ndim else -1 for name, column in columns.items()}
    if len(set(rows.values())) > 1 or rows["reward"] < 1:
        got = ", ".join(f"{name} {columns[name].shape}" for name in rows)
        raise DataError("states, actions and rewards of as many steps, at least one", got=got, where=str(path))
    return rows["reward"]


def _steps(column: np.ndarray, where: str) -> tuple[Tensor, int | None]:
    """Ids with their number, or numbers."""
    flat = _finite(column.reshape(len(column), -1), where)
    if flat.shape[1] == 1 and (column.ndim == 1 or column.dtype.kind in "iub"):
        ids = flat[:, 0]
        if (ids == np.floor(ids)).all() and ids.min() >= 0 and ids.max() < _IDS:
            return torch.from_numpy(ids.astype(np.int64)), int(ids.max()) + 1
    if not flat.shape[1]:
        raise DataError("at least one number a step", got="none", where=where)
    return torch.from_numpy(flat), None


def _finite(column: np.ndarray, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(column, dtype=np.float32)
    check_finite(numbers, where)
    return numbers


def _mark(array: np.ndarray, rows: int, where: str) -> np.ndarray:
    marks: np.ndarray = _row(array, rows, where).astype(bool)
    return marks


def _row(array: np.ndarray, rows: int, where: str) -> np.ndarray:
    if array.size != rows:
        raise DataError(f"{rows} entries, one a step", got=f"shape {array.shape}", where=where)
    return array.reshape(-1)


def _any(marks: Sequence[np.ndarray], like: int | np.ndarray) -> np.ndarray:
    none = np.zeros(like if isinstance(like, int) else like.shape, dtype=bool)
    for mark in marks:
        none = none | mark
    return none
