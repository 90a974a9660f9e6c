"""From numbers to verdicts: of one row, and of a method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from unbraid.claims.claim import Expect, Gate, Result
from unbraid.metrics.stats import Verdict, mean_interval, paired


def judge(
    ours: Sequence[float], baseline: Sequence[float], expect: Expect, margin: float = 0.0, more: bool = True
) -> Verdict:
    """The verdict over seeds, by the paired-t interval of the difference.

    Args:
        ours: One value a seed.
        baseline: Likewise, seed by seed.
        expect: "better" or "worse" by more than the margin, or the "same" within it.
        margin: In the metric's units, not negative.
        more: Whether more is better.

    >>> judge([0.9, 0.8, 0.85], [0.1, 0.1, 0.1], "better"), judge([0.9, 0.8, 0.85], [0.1, 0.1, 0.1], "worse")
    ('holds', 'does not hold')
    >>> judge([1.0, 1.1, 0.9], [1.0, 1.0, 1.0], "same", margin=0.5)
    'holds'
    """
    mine, base = np.asarray(ours, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if expect == "report":
        return "not decided"
    if expect == "same":
        return _within(mine, base, margin)
    above = (expect == "better") == more
    return paired(mine, base, margin).verdict if above else paired(base, mine, margin).verdict


def _within(ours: np.ndarray, baseline: np.ndarray, margin: float) -> Verdict:
    interval = mean_interval(ours - baseline)
    if -margin <= interval.low and interval.high <= margin:
        return "holds"
    return "does not hold" if interval.low > margin or interval.high < -margin else "not decided"


def judge_gate(gate: Gate) -> Verdict:
    """Exact: it holds or it does not.

    >>> judge_gate(Gate("no gradient", "gradient", 1e-9, 0.0)), judge_gate(Gate("none", "gradient", 0.0, 0.0))
    ('does not hold', 'holds')
    """
    apart = gate.ours - gate.demanded
    if gate.expect == "report":
        return "not decided"
    if gate.expect == "same":
        return "holds" if abs(apart) <= gate.margin else "does not hold"
    return "holds" if (apart if gate.expect == "better" else -apart) > gate.margin else "does not hold"


def of_method(rows: Iterable[Result]) -> Verdict:
    """The verdict of a method, from the rows that assert something: all must hold, and one failure is enough."""
    verdicts = {row.verdict for row in rows if row.expect != "report"}
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts == {"holds"} else "not decided"
