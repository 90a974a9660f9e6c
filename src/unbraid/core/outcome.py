"""What actions and examinations hand back, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ContractError


@dataclass(frozen=True)
class Findings:
    """What an examination found.

    Attributes:
        numbers: Name -> a number; names with " of " or "/" in them may be grouped by whoever shows them.
        arrays: Name -> an array behind the numbers (a curve, a spectrum, a matrix); drawn where it has one or two axes.
        units: Name -> the unit or the range of a number or array.
        notes: What a reader must know, a sentence each.
        tables: Name -> rows that belong together.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the arrays left out."""
        return {
            "numbers": {name: float(value) for name, value in self.numbers.items()},
            "units": dict(self.units),
            "notes": list(self.notes),
            "tables": {name: {k: list(v) for k, v in table.columns.items()} for name, table in self.tables.items()},
        }


@dataclass(frozen=True)
class Table:
    """Columns of equal length, for people and for CSV files.

    >>> Table({"item": ["a", "b"], "score": [0.5, 0.25]}).rows()
    [('a', 0.5), ('b', 0.25)]
    """

    columns: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        if len({len(column) for column in self.columns.values()}) > 1:
            got = str({name: len(column) for name, column in self.columns.items()})
            raise ContractError("columns of equal length", got=got)

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows."""
        return list(zip(*self.columns.values(), strict=True))


@dataclass(frozen=True)
class Sound:
    """A recording.

    Attributes:
        wave: Samples in [-1, 1].
        rate: Samples a second.
    """

    wave: Float[Tensor, " time"]
    rate: int


@dataclass(frozen=True)
class Pictures:
    """Images in [0, 1], shown side by side.

    Attributes:
        images: One or three channels.
        labels: One for each image, or none.
    """

    images: Float[Tensor, "n c h w"]
    labels: Sequence[str] = ()
