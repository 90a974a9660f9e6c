"""`audit()`: which part knows which factor, and does a part know what it should not?"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unbraid._version import __version__
from unbraid.audit.codes import Code, codes
from unbraid.audit.declared import Declarations, Roles, resolve
from unbraid.audit.gauges import Posterior, gauges, scores
from unbraid.audit.labels import Target, group_ids, targets
from unbraid.audit.latents import latents
from unbraid.audit.measure import PROBES, Plan, check_probes, columns, whole
from unbraid.audit.page import Audit
from unbraid.audit.rows import Row, judged
from unbraid.core.errors import DataError
from unbraid.core.parts import PartSpec
from unbraid.data.factors import FactorTable
from unbraid.data.order import grouped_folds

FOLDS = 5
CLEAN_BELOW = 0.05
"""Share of a factor's entropy that a part may hold at most to be called clean."""

Progress = Callable[[str, float], None]


def audit(
    parts: Mapping[str, np.ndarray | Tensor],
    factors: FactorTable,
    *,
    specs: Sequence[PartSpec] | None = None,
    group: str | None = None,
    carries: Declarations | None = None,
    free_of: Declarations | None = None,
    roles: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    probes: Sequence[str] = PROBES,
    posterior: Posterior | None = None,
    posterior_part: str | None = None,
    clean_below: float = CLEAN_BELOW,
    seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Ask every part for every factor.

    Args:
        parts: Part -> codes, one row per item, of any shape; "seq" parts are averaged over time and "map" parts over
            the image plane when `specs` say so, others are flattened.
        factors: What is known of the items, row by row.
        specs: Declarations of some or all parts: kinds, roles. Families are also asked column by column.
        group: A factor whose items must stay together (speaker, subject, device); it is asked itself only when a
            part is declared to carry it or to be free of it.
        carries: Part (or column) -> factors it should know, besides those of `specs`.
        free_of: Part (or column) -> factors it should not know, besides those of `specs`.
        roles: Role -> factor, where the names differ.
        metrics: Names of scores (see `metrics.registry`); None for the usual ones, ("all",) for all, () for none.
        probes: "linear", "mlp" or both, for whole parts.
        posterior: Means and log-variances (N, L) of a variational encoder, for the gauges, RMIG and the use of latents.
        posterior_part: The part that these are of; None for any that has their shape.
        clean_below: Share of a factor's entropy that a part may hold at most to be called clean.
        seed: Of folds, probes and scores: the same seed gives the same numbers.
        progress: Called with what is being done and the share done.

    Raises:
        DataError: Rows that do not match, codes that are not finite, or nothing to ask.
        ConfigError: A name that is not there.
    """
    check_probes(probes)
    rows = len(factors)
    if not rows or not parts:
        raise DataError("at least one part and one item", got=f"{len(parts)} parts, {rows} items")
    read = codes(parts, specs, rows, seed)
    resolved = resolve(specs, carries or {}, free_of or {}, roles or {}, factors.names, _names(read))
    groups = None if group is None else group_ids(factors.column(group))
    asked = targets(factors, _asked(factors, group, resolved), groups)
    if not asked and not resolved.unmapped:
        raise DataError("at least one factor to ask for", got=f"only the group '{group}'" if group else "none")
    able = [t for t in asked if not t.reason]
    folds = _folds(groups, rows, seed, needed=bool(able))
    plan = Plan(able, folds, groups, resolved, tuple(probes), seed)
    tell = progress or (lambda _what, _share: None)
    found = [row for code in read for row in _part(code, plan, asked, tell)]
    found += [_unmapped(part, role, what) for part, role, what in resolved.unmapped]
    tell("scores", 1.0)
    behind = {code.name: posterior if posterior_part in (None, code.name) else None for code in read}
    used = {code.name: latents(code, behind[code.name], seed) for code in read}
    return Audit(
        rows=judged(found, clean_below),
        scores={code.name: scores(code, able, metrics, seed, behind[code.name]) for code in read},
        gauges={code.name: gauges(code, behind[code.name]) for code in read},
        notes=_notes(asked, group),
        meta=_meta(asked, rows, group, groups, folds, plan, clean_below),
        latents={name: use for name, use in used.items() if use is not None},
    )


def _names(read: Sequence[Code]) -> list[str]:
    columns = [f"{c.name}[{i}]" for c in read if c.columns for i in range(c.values.shape[1])]
    return [c.name for c in read] + columns


def _asked(factors: FactorTable, group: str | None, roles: Roles) -> list[str]:
    declared = {factor for _, factor in roles.pairs}
    return [name for name in factors.names if name != group or name in declared]


def _folds(groups: np.ndarray | None, rows: int, seed: int, needed: bool) -> np.ndarray:
    """Five folds; fewer with few groups, so that each fold has at least three to exchange labels among."""
    if not needed:
        return np.zeros(rows, dtype=np.int64)
    count = FOLDS if groups is None else int(np.clip(len(np.unique(groups)) // 3, 2, FOLDS))
    return grouped_folds(groups, rows, count, seed).numpy()


def _part(code: Code, plan: Plan, asked: Sequence[Target], tell: Progress) -> list[Row]:
    """The rows of one part: measured ones, then those of factors that cannot be asked."""
    found: list[Row] = []
    if plan.targets:
        tell(code.name, 0.0)
        for done, rows in enumerate(whole(code, plan), start=1):
            found += rows
            tell(code.name, done / (len(plan.probes) + code.columns))
        if code.columns:
            for rows in columns(code, plan):
                found += rows
    for target in asked:
        if target.reason:
            declared = plan.roles.of(code.name, target.name)
            found.append(Row(code.name, None, target.name, "", declared=declared, note=target.reason))
    return found


def _unmapped(part: str, role: str, what: Any) -> Row:
    return Row(part, None, role, "", declared=what, note="role not mapped: no factor of that name, see roles")


def _notes(asked: Sequence[Target], group: str | None) -> tuple[str, ...]:
    notes = [f"{t.name}: not decided: {t.reason}" for t in asked if t.reason]
    notes += [f"{t.name}: {t.note}" for t in asked if t.note]
    if group:
        notes.append(f"items of the same {group} are never both learned from and predicted")
    return tuple(notes)


def _meta(
    asked: Sequence[Target], rows: int, group: str | None, groups: np.ndarray | None, folds: np.ndarray, plan: Plan,
    clean_below: float,
) -> dict[str, Any]:  # fmt: skip
    return {
        "items": rows,
        "factors": {
            t.name: {"kind": t.kind, "classes": t.classes, "entropy": t.entropy, "samples": t.samples} for t in asked
        },
        "group": group,
        "groups": None if groups is None else len(np.unique(groups)),
        "folds": int(folds.max()) + 1,
        "probes": list(plan.probes),
        "clean_below": clean_below,
        "seed": plan.seed,
        "versions": {
            "unbraid": __version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
