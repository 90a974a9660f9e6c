"""What is known about each item: named factors with kinds, values and gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError, nearest

FactorKind = Literal["categorical", "ordinal", "circular", "continuous"]


@dataclass(frozen=True)
class Factor:
    """One column of a factor table.

    Attributes:
        name: As users call it.
        kind: "categorical" (no order), "ordinal" (ordered values), "circular" (the last value neighbours the first),
            "continuous" (a number on a line). A circular factor cannot be read beyond an item's symmetry: the
            orientation of a square only up to a quarter turn.
        labels: The name of each code 0..n-1; empty for continuous factors.
    """

    name: str
    kind: FactorKind
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of values; 0 for a continuous factor."""
        return len(self.labels)


class FactorTable:
    """Rows of factor values: codes 0..size-1 (or numbers, for continuous factors), NaN where missing.

    Args:
        factors: The columns.
        values: One row per item.

    >>> table = FactorTable([Factor("digit", "categorical", ("zero", "one"))], np.array([[0.0], [1.0], [np.nan]]))
    >>> len(table), table.column("digit").tolist()
    (3, [0.0, 1.0, nan])
    """

    def __init__(self, factors: Sequence[Factor], values: np.ndarray) -> None:
        self.factors = tuple(factors)
        self.values = np.asarray(values, dtype=np.float64)
        if self.values.ndim != 2 or self.values.shape[1] != len(self.factors):
            raise DataError(f"values of shape (rows, {len(self.factors)})", got=f"{self.values.shape}", where="factors")
        names = [f.name for f in self.factors]
        if len(set(names)) < len(names):
            raise DataError("factor names that differ", got=", ".join(names))
        for j, factor in enumerate(self.factors):
            column = self.values[:, j]
            column = column[~np.isnan(column)]
            if factor.kind == "continuous" or not len(column):
                continue
            if (column != np.floor(column)).any() or column.min() < 0 or column.max() >= factor.size:
                raise DataError(f"codes 0..{factor.size - 1}", got="other values", where=f"factor '{factor.name}'")

    @classmethod
    def empty(cls, rows: int) -> FactorTable:
        """A table of items about which nothing is known."""
        return cls((), np.zeros((rows, 0)))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names, in the order of the columns."""
        return tuple(f.name for f in self.factors)

    def column(self, name: str) -> np.ndarray:
        """The values (N,) float64 of one factor, NaN where missing."""
        if name not in self.names:
            raise ConfigError("the name of a factor", got=f"'{name}'", fix=nearest(name, self.names))
        return self.values[:, self.names.index(name)]

    def factor(self, name: str) -> Factor:
        """The description of one factor."""
        self.column(name)
        return self.factors[self.names.index(name)]

    def rows(self, indices: Int[Tensor, " n"]) -> FactorTable:
        """The table of some rows."""
        return FactorTable(self.factors, self.values[indices.numpy()])

    def without(self, *names: str) -> FactorTable:
        """The table less some columns."""
        keep = [j for j, f in enumerate(self.factors) if f.name not in names]
        return FactorTable([self.factors[j] for j in keep], self.values[:, keep])

    def codes(self) -> tuple[Float[Tensor, "n k"], Bool[Tensor, "n k"]]:
        """The values as a float tensor with 0 where missing, and what is known."""
        known = ~np.isnan(self.values)
        return torch.from_numpy(np.where(known, self.values, 0.0)).float(), torch.from_numpy(known)

    def joined(self, other: FactorTable) -> FactorTable:
        """The columns of both; where both have a name, the other's column is kept."""
        if len(self) != len(other):
            raise DataError(f"a factor row for each of {len(self)} items", got=f"{len(other)} rows", where="factors")
        mine = self.without(*other.names)
        return FactorTable((*mine.factors, *other.factors), np.concatenate([mine.values, other.values], 1))

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[object] | np.ndarray], kinds: Mapping[str, FactorKind] | None = None
    ) -> FactorTable:
        """A table from named columns of text or numbers; the kind of each column is told from its values.

        Text gives a categorical factor. Numbers of at most 64 different values give an ordinal one, if they are whole
        or come ten times each on average; other numbers a continuous one. None, NaN and empty text are missing.

        Args:
            columns: Name -> values, all of one length.
            kinds: Name -> kind, for columns whose kind is known.

        >>> table = FactorTable.from_columns({"site": ["a", "b", ""], "age": [1.5, 2.0, None]})
        >>> [f.kind for f in table.factors], table.factors[0].labels
        (['categorical', 'continuous'], ('a', 'b'))
        >>> FactorTable.from_columns({"site": [10, 9, 10]}, {"site": "categorical"}).factors[0].labels
        ('9', '10')
        """
        read = [_read_column(name, values, (kinds or {}).get(name)) for name, values in columns.items()]
        values = np.stack([v for _, v in read], 1) if read else np.zeros((0, 0))
        return cls([f for f, _ in read], values)


def _read_column(
    name: str, values: Sequence[object] | np.ndarray, kind: FactorKind | None
) -> tuple[Factor, np.ndarray]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):  # NaN of more than one kind
            numbers: np.ndarray | None = values.astype(np.float64)
    else:
        values = list(values)
        numbers = _numbers(values)
    if numbers is not None and np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise DataError("finite numbers", got="infinity", where=f"factor '{name}' row {row}")
    if numbers is None:
        if kind == "continuous":
            raise DataError("numbers in a continuous factor", got="text", where=f"factor '{name}'")
        return _coded(name, list(values), kind or "categorical")
    distinct = np.unique(numbers[~np.isnan(numbers)])
    kind = kind or _kind(distinct, len(numbers) - int(np.isnan(numbers).sum()))
    if kind == "continuous":
        return Factor(name, kind), numbers
    codes = np.where(np.isnan(numbers), np.nan, np.searchsorted(distinct, numbers))
    return Factor(name, kind, tuple(_label(v) for v in distinct)), codes


def _kind(distinct: np.ndarray, known: int) -> FactorKind:
    whole = bool((distinct == np.floor(distinct)).all())
    return "ordinal" if len(distinct) <= 64 and (whole or 10 * len(distinct) <= known) else "continuous"


def _coded(name: str, values: list[object], kind: FactorKind) -> tuple[Factor, np.ndarray]:
    texts = [None if _is_missing(v) else str(v).strip() for v in values]
    labels = tuple(sorted({t for t in texts if t is not None}))
    code = {label: float(i) for i, label in enumerate(labels)}
    return Factor(name, kind, labels), np.array([np.nan if t is None else code[t] for t in texts])


def _label(value: float) -> str:
    return f"{value:.0f}" if value == math.floor(value) and abs(value) < 2**53 else repr(float(value))


def _numbers(values: Sequence[object]) -> np.ndarray | None:
    """All values as numbers, NaN where missing; None when some value is text, or nothing is known."""
    missing = [_is_missing(v) for v in values]
    numbers = [math.nan if m else _number(v) for v, m in zip(values, missing, strict=True)]
    return None if all(missing) or None in numbers else np.array(numbers, dtype=np.float64)


def _is_missing(value: object) -> bool:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "na", "none", "null")):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
