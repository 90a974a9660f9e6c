"""The audit's result: the leakage table with all that belongs to it, as data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbraid.audit.families import Family, families
from unbraid.audit.heatmap import heatmap
from unbraid.audit.latents import Latents
from unbraid.audit.rows import Row, best
from unbraid.audit.text import sentences, table
from unbraid.core.config import from_json
from unbraid.core.errors import ConfigError, DataError, need
from unbraid.metrics.registry import Score
from unbraid.training.files import write_text

SCHEMA = 1
_NUMBERS = [f.name for f in dataclasses.fields(Row) if f.type == "float"]


@dataclass(frozen=True)
class Audit:
    """Which part knows which factor, how much of it, and how surely.

    Attributes:
        rows: One per part or column, factor and probe.
        scores: Part -> scores of its columns.
        gauges: Part -> gauge -> number, or list of numbers.
        notes: What a reader of the whole page should know.
        meta: Items, factors with their kinds and entropies, group, folds, probes, seed, versions.
        latents: Part -> which of its latents are in use, where its posterior is known.
    """

    rows: tuple[Row, ...]
    scores: Mapping[str, list[Score]]
    gauges: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    meta: Mapping[str, Any]
    latents: Mapping[str, Latents] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.table()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, in order."""
        return tuple(dict.fromkeys(row.part for row in self.rows))

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors (and roles without one), in order."""
        return tuple(dict.fromkeys([*self.meta.get("factors", {}), *(row.factor for row in self.rows)]))

    def find(self, part: str, factor: str) -> Row:
        """The row of the probe that reads most of a factor from a part, or from a column such as "latents[3]".

        Raises:
            DataError: There is no such row.
        """
        rows = [row for row in self.rows if row.name == part and row.factor == factor]
        if not rows:
            raise DataError("a part and a factor of this audit", got=f"'{part}' and '{factor}'")
        return best(rows)

    @property
    def leaks(self) -> tuple[Row, ...]:
        """The best row of each pair that leaks."""
        pairs = dict.fromkeys((row.name, row.factor) for row in self.rows if row.verdict == "leaks")
        return tuple(self.find(*pair) for pair in pairs)

    def families(self) -> tuple[Family, ...]:
        """For each part read column by column: what each column knows, and where each factor lies."""
        return families(self.rows)

    def table(self) -> str:
        """The part x factor table as plain text."""
        return table(self.rows, self.factors)

    def sentences(self) -> list[str]:
        """What was found in plain words, one sentence or two per part, what matters most first."""
        return sentences(self.rows) + [found.advice for found in self.latents.values()]

    def heatmap_data(self) -> dict[str, Any]:
        """Parts and columns x factors: share, interval, bits, verdict; None where nothing was measured."""
        return heatmap(self.rows, self.factors)

    def to_pandas(self) -> Any:
        """The rows as a pandas table."""
        return need("pandas", "tables").DataFrame([dataclasses.asdict(row) for row in self.rows])

    def to_json(self) -> str:
        """Everything, as JSON; what was not measured is null."""
        data = {
            "schema": SCHEMA,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "scores": {part: [dataclasses.asdict(s) for s in found] for part, found in self.scores.items()},
            "gauges": {part: dict(found) for part, found in self.gauges.items()},
            "notes": list(self.notes),
            "meta": dict(self.meta),
            "latents": {part: dataclasses.asdict(found) for part, found in self.latents.items()},
        }
        return json.dumps(_plain(data), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The inverse of `to_json`.

        Raises:
            DataError: The text is not an audit of this version.
        """
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise DataError(f"an audit of schema {SCHEMA}", got=f"schema {data['schema']}", fix="audit again")
            meta = {**data["meta"], "factors": dict(data["meta"].get("factors", {}))}
            return cls(
                tuple(_row(row) for row in data["rows"]),
                {part: [_score(s) for s in found] for part, found in data["scores"].items()},
                {part: dict(found) for part, found in data["gauges"].items()},
                tuple(str(note) for note in data["notes"]),
                meta,
                {part: from_json(Latents, found) for part, found in data.get("latents", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError) as error:
            raise DataError("an audit as JSON", got=f"{type(error).__name__}: {error}", fix="audit again") from None

    def save(self, path: Path | str) -> None:
        """Write `to_json()`, complete or not at all."""
        write_text(Path(path), self.to_json())


def _row(data: Mapping[str, Any]) -> Row:
    return from_json(Row, {k: v for k, v in data.items() if v is not None or k not in _NUMBERS})


def _score(data: Mapping[str, Any]) -> Score:
    per = None if data["per"] is None else tuple(math.nan if v is None else float(v) for v in data["per"])
    high = math.inf if data["high"] is None else data["high"]
    return dataclasses.replace(from_json(Score, {**data, "per": None, "high": high}), per=per)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
