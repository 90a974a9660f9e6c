"""What the cells of a study found: values, means with intervals, and ranks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import RunError
from unbraid.metrics.stats import Interval, bootstrap, critical_difference, mean_interval, paired
from unbraid.study.recipe import Cell, Recipe
from unbraid.training.files import read_json

MINUTES = "minutes"
"""Name of what training took."""


@dataclass(frozen=True)
class Value:
    """A number that one cell found.

    Attributes:
        data: Name of the data.
        method: Name of the contender.
        seed: Of the cell.
        score: Name of the number; "SCORE of PART" where a method has several parts with scores.
        value: The number.
    """

    data: str
    method: str
    seed: int
    score: str
    value: float


@dataclass(frozen=True)
class Place:
    """Where a method stands by one score on one data set.

    Attributes:
        mean: Over the seeds.
        interval: Of that mean, 95 %; infinite for fewer than two seeds.
        seeds: Values that were found.
        best: Whether no method has a better mean.
        level: Whether the paired difference to the best is not decided by these seeds.
    """

    mean: float
    interval: Interval
    seeds: int
    best: bool
    level: bool

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval."""
        return self.interval.low, self.interval.high


@dataclass(frozen=True)
class Rank:
    """How a method ranks among all, 1 being best.

    Attributes:
        mean: Over data, seeds and scores.
        interval: 95 % percentile interval, whole pairs of data and seed being drawn again.
        by_score: Score -> mean rank.
    """

    mean: float
    interval: Interval
    by_score: Mapping[str, float]

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval."""
        return self.interval.low, self.interval.high


@dataclass(frozen=True)
class Board:
    """All that a study found.

    Attributes:
        recipe: What was compared.
        values: Every number of every cell that is done.
        failed: Name of a cell -> why.
        scores: Those on the page, in order.
        more: Score -> whether more is better.
        ends: Score -> its worst and best value on its own scale, where it has one.
        cells: Every cell, whether done or not.
    """

    recipe: Recipe
    values: tuple[Value, ...]
    failed: Mapping[str, str]
    scores: tuple[str, ...]
    more: Mapping[str, bool]
    ends: Mapping[str, tuple[float, float]]
    cells: tuple[Cell, ...]

    @cached_property
    def _by_place(self) -> dict[tuple[str, str, str], dict[int, float]]:
        found: dict[tuple[str, str, str], dict[int, float]] = {}
        for v in self.values:
            found.setdefault((v.data, v.method, v.score), {})[v.seed] = v.value
        return found

    def at(self, data: str, method: str, score: str) -> Mapping[int, float]:
        """Seed -> value."""
        return self._by_place.get((data, method, score), {})

    def places(self, data: str, score: str) -> dict[str, Place]:
        """Method -> where it stands, of the methods that have the score."""
        found = {m: v for m in self.recipe.methods if (v := self.at(data, m, score))}
        sign = 1.0 if self.more.get(score, True) else -1.0
        means = {m: math.fsum(v.values()) / len(v) for m, v in found.items()}
        best = max(means, key=lambda m: sign * means[m], default="")
        return {
            m: Place(
                mean=means[m],
                interval=mean_interval(np.array(list(v.values()))),
                seeds=len(v),
                best=means[m] == means[best],
                level=m != best and _level(found[best], v, sign),
            )
            for m, v in found.items()
        }

    def ranks(self) -> dict[str, Rank]:
        """Method -> rank, best first; only what every method was measured by counts."""
        methods = list(self.recipe.methods)
        blocks = [(d, s) for d in self.recipe.data for s in self.recipe.seeds]
        table = np.array([[self._ranked(d, s, score, methods) for score in self.scores] for d, s in blocks])
        if table.size == 0:
            return {}
        kept = table[~np.isnan(table).all((1, 2))]  # (blocks, scores, methods)
        by_block = np.nanmean(kept, axis=1) if len(kept) else np.empty((0, len(methods)))
        found = {
            m: Rank(
                mean=float(by_block[:, i].mean()),
                interval=bootstrap(by_block[:, i]),
                by_score={
                    score: float(np.nanmean(kept[:, j, i]))
                    for j, score in enumerate(self.scores)
                    if not np.isnan(kept[:, j, i]).all()
                },
            )
            for i, m in enumerate(methods)
            if len(by_block)
        }
        return dict(sorted(found.items(), key=lambda item: item[1].mean))

    def _ranked(self, data: str, seed: int, score: str, methods: Sequence[str]) -> Float[np.ndarray, " m"]:
        """Ranks of all methods in one cell, ties shared; NaN where one of them has no value."""
        from scipy.stats import rankdata

        values = np.array([self.at(data, m, score).get(seed, math.nan) for m in methods])
        if np.isnan(values).any():
            return np.full(len(methods), math.nan)
        return np.asarray(rankdata(-values if self.more.get(score, True) else values))

    @property
    def critical(self) -> float:
        """How far two mean ranks must lie apart to be told apart, the data sets being what is drawn."""
        ranked = [
            d for d in self.recipe.data if any(len(self.places(d, s)) == len(self.recipe.methods) for s in self.scores)
        ]
        return critical_difference(len(self.recipe.methods), len(ranked))

    def results_csv(self) -> str:
        """One row for every number: data, method, seed, score, value."""
        rows = [(v.data, v.method, v.seed, v.score, f"{v.value:.6g}") for v in self.values]
        return _csv(("data", "method", "seed", "score", "value"), rows)

    def leaderboard_csv(self) -> str:
        """One row for every data set, method and score: mean, ends of the 95 % interval, seeds, best, level, rank."""
        ranks = self.ranks()
        rows = [
            [
                d,
                m,
                score,
                *_short(p.mean, p.interval.low, p.interval.high),
                p.seeds,
                _sign(p),
                *_short(*_mean(ranks, m)),
            ]
            for d in self.recipe.data
            for score in self.scores
            for m, p in self.places(d, score).items()
        ]
        return _csv(("data", "method", "score", "mean", "low", "high", "seeds", "place", "mean rank"), rows)

    def across_csv(self) -> str:
        """One row for every method and data set that it learned from, a column for each set that it was judged on.

        From the numbers called "NUMBER on SET", means over the seeds; empty where there are none.
        """
        found: dict[tuple[str, str], dict[str, list[float]]] = {}
        for v in self.values:
            if " on " in v.score:
                found.setdefault((v.method, v.data), {}).setdefault(v.score, []).append(v.value)
        columns = list(dict.fromkeys(score for row in found.values() for score in row))
        rows = [[*place, *(_average(row.get(score)) for score in columns)] for place, row in found.items()]
        return _csv(("method", "learned from", *columns), rows) if rows else ""

    def correlations_csv(self) -> str:
        """Spearman's correlation of every two scores of the page, over all pairs of data and method that have both."""
        cells = [(d, m) for d in self.recipe.data for m in self.recipe.methods]
        means = {s: np.array([_mean_of(self.at(d, m, s).values()) for d, m in cells]) for s in self.scores}
        pairs = [(a, b) for i, a in enumerate(self.scores) for b in self.scores[i + 1 :]]
        rows = [[a, b, *_together(means[a], means[b])] for a, b in pairs]
        return _csv(("score", "other", "correlation", "pairs"), rows)


def _mean_of(values: Collection[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _average(values: Sequence[float] | None) -> str:
    return f"{_mean_of(values):.6g}" if values else ""


def _together(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> tuple[str, int]:
    """The correlation, empty where there are fewer than three pairs or a score is always the same."""
    from scipy.stats import spearmanr

    both = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[both], other[both]
    if len(one) < 3 or min(np.ptp(one), np.ptp(other)) == 0:
        return "", len(one)
    return f"{float(spearmanr(one, other).statistic):.4g}", len(one)


def _short(*values: float) -> list[str]:
    return [f"{x:.6g}" for x in values]


def _mean(ranks: Mapping[str, Rank], method: str) -> list[float]:
    return [ranks[method].mean] if method in ranks else []


def _sign(place: Place) -> str:
    return "best" if place.best else "level with the best" if place.level else ""


def _level(best: Mapping[int, float], ours: Mapping[int, float], sign: float) -> bool:
    both = sorted(best.keys() & ours.keys())
    one, other = (sign * np.array([found[s] for s in both]) for found in (best, ours))
    return paired(one, other).verdict == "not decided"


def _csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


# ---------------------------------------------------------------------------------------------------------- gathering


def gather(folder: Path, recipe: Recipe, failed: Mapping[str, str]) -> Board:
    """Read what lies in the run folders of a study.

    Args:
        folder: Of the study.
        recipe: What it compares.
        failed: Name of a cell -> why.

    Raises:
        RunError: A file of a finished run is damaged.
    """
    cells = recipe.cells()
    values: list[Value] = []
    more: dict[str, bool] = dict.fromkeys(recipe.less_is_better, False)
    ends: dict[str, tuple[float, float]] = {}
    for cell in cells:
        run = folder / "runs" / cell.name
        for found in _numbers(run):
            values.append(Value(cell.data, cell.method, cell.seed, found.name, found.value))
            more.setdefault(found.name, found.more)
            if found.ends:
                ends[found.name] = found.ends
    return Board(recipe, tuple(values), failed, _shown(recipe, values), more, ends, tuple(cells))


@dataclass(frozen=True)
class _Number:
    name: str
    value: float
    more: bool = True
    ends: tuple[float, float] | None = None


def _numbers(run: Path) -> Iterator[_Number]:
    """Everything that a finished run says in one number."""
    with suppress(RunError):
        facts = read_json(run / "run.json")
        if facts.get("status") == "done":
            yield from _scores(run / "audit.json")
            yield from _findings(run / "findings.json")
            yield _Number(MINUTES, float(facts.get("seconds", 0.0)) / 60, more=False)


def _scores(path: Path) -> Iterator[_Number]:
    by_part = read_json(path).get("scores") or {} if path.exists() else {}
    for part, scores in by_part.items():
        for score in scores:
            if score.get("value") is not None:
                name = score["name"] if len(by_part) == 1 else f"{score['name']} of {part}"
                low, high = score.get("low"), score.get("high")
                scale = (low, high) if low is not None and high is not None else None
                yield _Number(name, float(score["value"]), bool(score["higher_is_better"]), scale)


def _findings(path: Path) -> Iterator[_Number]:
    numbers = read_json(path).get("numbers") or {} if path.exists() else {}
    for name, value in numbers.items():
        if isinstance(value, int | float) and math.isfinite(value):
            yield _Number(str(name), float(value))


def _shown(recipe: Recipe, values: Sequence[Value]) -> tuple[str, ...]:
    """The scores that the recipe names, or all that two methods have in common, in the order in which they came."""
    if recipe.scores:
        return recipe.scores
    having: dict[str, set[str]] = {}
    for v in values:
        having.setdefault(v.score, set()).add(v.method)
    enough = min(2, len(recipe.methods))
    return tuple(name for name, methods in having.items() if len(methods) >= enough and name != MINUTES)
