"""From codes, targets and folds to rows: every probe of every part and column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from unbraid.audit.codes import Code
from unbraid.audit.declared import Roles
from unbraid.audit.knowledge import Knowledge, knowledge
from unbraid.audit.labels import Target, entropy
from unbraid.audit.rows import Row
from unbraid.core.errors import ConfigError, nearest
from unbraid.metrics import probes as reading
from unbraid.metrics.probes import LogProbabilities

PROBES = ("linear", "mlp")
_LEAST_ENTROPY = 1e-3
_COLUMN_ITEMS = 20_000


@dataclass(frozen=True)
class Plan:
    """What is the same for all parts.

    Attributes:
        targets: Factors that can be asked for.
        folds: The fold of each item.
        groups: The group of each item, or None.
        roles: What was declared.
        probes: Names of the probes of whole parts.
        seed: Of everything random.
    """

    targets: Sequence[Target]
    folds: Int[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"] | None
    roles: Roles
    probes: Sequence[str]
    seed: int


def check_probes(names: Sequence[str]) -> None:
    """Refuse the name of a probe that does not exist."""
    for name in names:
        if name not in PROBES:
            raise ConfigError("the name of a probe", got=f"'{name}'", fix=nearest(name, PROBES))


def whole(code: Code, plan: Plan) -> Iterator[list[Row]]:
    """The rows of a part as a whole, probe by probe."""
    labels = [t.y for t in plan.targets]
    width = int((np.ptp(code.read, axis=0) > 0).sum()) if len(code.read) else 0
    if not width:
        yield [_nothing(code.name, None, t, plan, "the same for every item") for t in plan.targets]
        return
    for probe in plan.probes:
        read = reading.linear if probe == "linear" else reading.mlp
        found = read(code.read, labels, plan.folds, plan.groups, seed=plan.seed)
        yield _rows(found, code.name, None, probe, width, plan, code.note)


def columns(code: Code, plan: Plan) -> Iterator[list[Row]]:
    """The rows of a family's columns, column by column."""
    plan, all_values = _fewer(plan, code.values)
    note = f"read from {len(all_values)} of {len(code.values)} items" if len(all_values) < len(code.values) else ""
    found = reading.table(all_values, [t.y for t in plan.targets], plan.folds)
    for column, log_p in enumerate(found):
        values = np.unique(code.values[:, column])
        if len(values) == 1:
            yield [_nothing(code.name, column, t, plan, "the same for every item") for t in plan.targets]
            continue
        bins = min(len(values), reading.most_bins(len(all_values)))
        yield _rows(log_p, code.name, column, "table", bins - 1, plan, note)


def _fewer(plan: Plan, values: Float[np.ndarray, "n d"]) -> tuple[Plan, Float[np.ndarray, "m d"]]:
    """At most 20,000 items, for many columns take long."""
    if len(values) <= _COLUMN_ITEMS:
        return plan, values
    at = np.sort(np.random.default_rng(plan.seed).choice(len(values), _COLUMN_ITEMS, replace=False))
    asked = [replace(t, y=t.y[at]) for t in plan.targets]
    groups = None if plan.groups is None else plan.groups[at]
    return replace(plan, targets=asked, folds=plan.folds[at], groups=groups), values[at]


def _rows(
    found: LogProbabilities, part: str, column: int | None, probe: str, width: int, plan: Plan, note: str
) -> list[Row]:
    return [_row(p, part, column, probe, t, width, plan, note) for p, t in zip(found, plan.targets, strict=True)]


def _row(
    log_p: Float[np.ndarray, "n c"], part: str, column: int | None, probe: str, asked: Target, width: int, plan: Plan,
    note: str,
) -> Row:  # fmt: skip
    at = np.flatnonzero(asked.y >= 0)
    groups = None if plan.groups is None else plan.groups[at]
    freedom = width * (asked.classes - 1)
    known = knowledge(log_p[at], asked.y[at], plan.folds[at], groups, math.inf if probe == "mlp" else freedom)
    notes = "; ".join(n for n in (note, asked.note) if n)
    row = Row(part, column, asked.name, probe, samples=known.samples, note=notes)
    row = replace(row, declared=plan.roles.of(row.name, asked.name))
    if known.entropy < _LEAST_ENTROPY:
        return replace(row, note="the items of each fold all have the same value")
    bound = _bound(known, freedom, _independent(asked, plan) * _taught(plan))
    return replace(
        row,
        bits=known.bits,
        low=known.low,
        high=known.high,
        share=known.bits / known.entropy,
        share_low=known.low / known.entropy,
        share_high=min(1.0, known.high / known.entropy),
        entropy=known.entropy,
        bound=min(1.0, bound / known.entropy),
        p=known.p,
    )


def _nothing(part: str, column: int | None, asked: Target, plan: Plan, note: str) -> Row:
    """A constant knows nothing, surely."""
    row = Row(part, column, asked.name, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, asked.entropy, 0.0, asked.samples, 1.0)
    return replace(row, note=note, declared=plan.roles.of(row.name, asked.name))


def _taught(plan: Plan) -> float:
    folds = int(plan.folds.max()) + 1
    return (folds - 1) / folds


def _independent(asked: Target, plan: Plan) -> float:
    """Items that count as independent: all, or the groups where the factor is the same throughout each."""
    if plan.groups is None:
        return float(asked.samples)
    at = asked.y >= 0
    pairs = plan.groups[at] * asked.classes + asked.y[at]
    count = len(np.unique(plan.groups[at]))
    inside = entropy(np.unique(pairs, return_inverse=True)[1]) - entropy(plan.groups[at])
    return count + (asked.samples - count) * min(1.0, max(0.0, inside / max(asked.entropy, 1e-9)))


def _bound(known: Knowledge, freedom: int, items: float) -> float:
    """Bits that the codes could hold although the probe found at most `known.most`.

    A probe with f free weights, taught by n items, gets hold of about d * 2nd / (2nd + f) of d nats of knowledge: the
    rest drowns in the noise of its weights. Solved for d.
    """
    most = known.most * math.log(2)
    return (most + math.sqrt(most**2 + 2 * most * freedom / max(items, 1.0))) / 2 / math.log(2)
