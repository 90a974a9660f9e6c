"""Runs claims: every arm once per seed, whatever number of contrasts and claims share it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric, Result
from unbraid.claims.scoring import METRICS, Trained
from unbraid.claims.verdict import judge, judge_gate
from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.method import Method
from unbraid.data.catalog import open_data
from unbraid.data.dataset import Dataset
from unbraid.data.wrapped import in_roles
from unbraid.metrics.stats import mean_interval
from unbraid.training.build import build, shaped, stand_in
from unbraid.training.feed import budget
from unbraid.training.fit import fit
from unbraid.training.progress import Progress, Silent

_DIGITS = 6


@dataclass(frozen=True)
class Job:
    """One training: what an arm and a seed come down to, so that equal ones are made once."""

    cls: type[Method[Any]]
    config: Any
    data: str
    seed: int


@dataclass
class Outcome:
    """What a job gave.

    Attributes:
        values: Metric -> number.
        seconds: Of training and measuring.
    """

    values: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


Outcomes = Mapping[Job, Outcome]


def run(
    claims: Sequence[tuple[str, Claim]], seeds: Sequence[int] | None = None, progress: Progress | None = None
) -> list[Result]:
    """Run claims, each under the name it was asked for (the method's, or an alias whose options then apply).

    Args:
        claims: Name and claim.
        seeds: Instead of each claim's own.
        progress: Who is told how far it is.
    """
    gates = {name: _gates(name, claim) for name, claim in claims}
    claims = [(name, _possible(claim)) for name, claim in claims]
    wanted: dict[Job, dict[str, Metric]] = {}
    for name, claim in claims:
        for seed in seeds or claim.seeds:
            for contrast in claim.contrasts:
                for arm in contrast.arms:
                    wanted.setdefault(job_of(name, claim, arm, seed), {}).update(_metrics(claim, contrast))
    outcomes = _measure_all(wanted, progress or Silent())
    rows: list[Result] = []
    for name, claim in claims:
        rows += gates[name]
        rows += [_row(name, claim, contrast, tuple(seeds or claim.seeds), outcomes) for contrast in claim.contrasts]
    return rows


def _possible(claim: Claim) -> Claim:
    """The claim without the contrasts whose arms have data of their own that are not there."""
    gone = set()
    for arm in claim.arms:
        try:
            if arm.data:
                open_data(arm.data)
        except DataError:
            gone.add(arm.name)
    return replace(claim, contrasts=tuple(c for c in claim.contrasts if not gone & set(c.arms)))


def job_of(name: str, claim: Claim, arm: str, seed: int) -> Job:
    """The training behind an arm; an alias takes the place of the claim's own method."""
    found: Arm = claim.arm(arm)
    entry = find(name if found.method == claim.method else found.method)
    cls = entry.load()
    config = cls.Config()
    for changes in (entry.overrides, claim.settings, found.changes):
        config = override(config, changes)
    return Job(cls, config, found.data or claim.data, seed)


def _metrics(claim: Claim, contrast: Contrast) -> dict[str, Metric]:
    return {name: metric_of(claim, name) for name in (contrast.metric, contrast.match) if name}


def metric_of(claim: Claim, name: str) -> Metric:
    """A metric by name, the claim's own first.

    Raises:
        ConfigError: No such metric.
    """
    known = {**METRICS, **claim.metrics}
    if name not in known:
        raise ConfigError("the name of a metric", got=f"'{name}'", fix=nearest(name, known))
    return known[name]


# ---------------------------------------------------------------------------------------------------------- training


class _Share:
    """Passes the progress of one job on as its share of them all."""

    def __init__(self, whole: Progress, done: int) -> None:
        self.whole, self.done, self.total = whole, done, 0

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self.total = total

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        self.whole.advance(self.done + done, terms)

    def end(self) -> None:
        self.done += self.total


def _measure_all(wanted: Mapping[Job, Mapping[str, Metric]], progress: Progress) -> dict[Job, Outcome]:
    if not wanted:
        return {}
    opened: dict[str, Dataset] = {name: open_data(name) for name in {job.data for job in wanted}}
    cards = {job: job.cls.card for job in wanted}
    seen = {job: in_roles(opened[job.data], c.needs, {}, c.wants, c.partly) for job, c in cards.items()}
    steps = {job: _steps(job, seen[job]) for job in wanted}
    outcomes, done = {}, 0
    progress.begin("verify", sum(steps.values()))
    try:
        for job, metrics in wanted.items():
            outcomes[job] = _measure(job, seen[job], metrics, _Share(progress, done))
            done += steps[job]
    finally:
        progress.end()
    return outcomes


def _steps(job: Job, data: Dataset) -> int:
    method = build(job.cls, job.config, data.fields, job.seed, shaped(job.cls, data.fields))
    sources = method.sources(data)
    return sum(budget(stage, sources) for stage in method.stages())


def _measure(job: Job, data: Dataset, metrics: Mapping[str, Metric], progress: Progress) -> Outcome:
    began = time.monotonic()
    method = build(job.cls, job.config, data.fields, job.seed, stand_in(job.cls, data, job.seed))
    fit(method, data, seed=job.seed, progress=progress)
    trained = Trained(method, data)
    values = {name: float(metric.of(trained)) for name, metric in metrics.items()}
    return Outcome(values, time.monotonic() - began)


# -------------------------------------------------------------------------------------------------------------- rows


def _row(name: str, claim: Claim, contrast: Contrast, seeds: tuple[int, ...], outcomes: Outcomes) -> Result:
    @cache
    def outcome(arm: str, seed: int) -> Outcome:
        return outcomes[job_of(name, claim, arm, seed)]

    metric = metric_of(claim, contrast.metric)
    ours = [outcome(contrast.ours, seed).values[contrast.metric] for seed in seeds]
    base = [_baseline(contrast, {arm: outcome(arm, seed).values for arm in contrast.arms}) for seed in seeds]
    interval = mean_interval(np.subtract(ours, base))
    return Result(
        method=name,
        claim=contrast.claim,
        metric=contrast.metric,
        ours=_short(sum(ours) / len(ours)),
        baseline=_short(sum(base) / len(base)),
        expect=contrast.expect,
        margin=contrast.margin,
        interval=(_short(interval.low), _short(interval.high)) if interval.known else None,
        seeds=seeds,
        minutes=round(sum(outcome(arm, seed).seconds for arm in contrast.arms for seed in seeds) / 60, 2),
        verdict=judge(ours, base, contrast.expect, contrast.margin, metric.more),
    )


def _baseline(contrast: Contrast, values: Mapping[str, Mapping[str, float]]) -> float:
    """The baseline's value in one seed."""
    if isinstance(contrast.baseline, int | float):
        return float(contrast.baseline)
    if isinstance(contrast.baseline, str):
        return values[contrast.baseline][contrast.metric]
    chosen = matched({arm: v[contrast.match] for arm, v in values.items()}, contrast.ours)
    return values[chosen][contrast.metric]


def matched(values: Mapping[str, float], ours: str) -> str:
    """The arm that does best among those that do no better than ours; the worst where all do better.

    >>> matched({"ours": 0.9, "a": 0.95, "b": 0.85, "c": 0.7}, "ours")
    'b'
    """
    others = {arm: value for arm, value in values.items() if arm != ours}
    below = {arm: value for arm, value in others.items() if value <= values[ours]}
    return max(below, key=lambda arm: below[arm]) if below else min(others, key=lambda arm: others[arm])


def _gates(name: str, claim: Claim) -> list[Result]:
    if claim.gates is None:
        return []
    began = time.monotonic()
    gates = claim.gates(find(name).load())
    minutes = round((time.monotonic() - began) / 60, 2)
    return [_gate_row(name, gate, minutes) for gate in gates]


def _gate_row(name: str, gate: Gate, minutes: float) -> Result:
    return Result(
        method=name,
        claim=gate.claim,
        metric=gate.metric,
        ours=gate.ours,
        baseline=gate.demanded,
        expect=gate.expect,
        margin=gate.margin,
        interval=None,
        seeds=(),
        minutes=minutes,
        verdict=judge_gate(gate),
    )


def _short(value: float) -> float:
    """Six significant digits: more would only look like precision."""
    return float(f"{value:.{_DIGITS}g}")
