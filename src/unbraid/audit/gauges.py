"""What the audit says of each part besides knowledge: scores of its columns, and gauges of collapse and use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unbraid.audit.codes import Code
from unbraid.audit.labels import Target
from unbraid.metrics import gauges as gauge
from unbraid.metrics.registry import Score, named, score_all

Posterior = tuple[Float[np.ndarray, "n l"] | Float[Tensor, "n l"], Float[np.ndarray, "n l"] | Float[Tensor, "n l"]]
"""Means and log-variances of a variational encoder."""

_WIDEST = 64
_ROWS = 5000
_BUDGET = 10.0


def scores(
    code: Code, targets: Sequence[Target], names: Sequence[str] | None, seed: int, posterior: Posterior | None = None
) -> list[Score]:
    """The named scores of a part; by default the usual ones for parts of 2 to 64 columns.

    Items without a value of some factor are left out.
    """
    named(names)
    suits = 2 <= code.values.shape[1] <= _WIDEST
    if not targets or (names is None and not suits) or (names is not None and not names):
        return []
    y = np.stack([t.y for t in targets], 1)
    known = (y >= 0).all(1)
    if known.sum() < 2:
        return []
    own = behind(code, posterior)
    cut = None if own is None else (own[0][known], own[1][known])
    return score_all(code.values[known], y[known], names, code.discrete, seed, posterior=cut, budget=_BUDGET)


def gauges(code: Code, posterior: Posterior | None) -> dict[str, Any]:
    """Effective rank, columns in use, and what suits the kind of part: dead symbols, passive latents."""
    values = code.values[:_ROWS]
    active = gauge.active_by_range(values)
    found: dict[str, Any] = {
        "width": values.shape[1],
        "effective_rank": gauge.effective_rank(code.read[:_ROWS]),
        "active_columns": int(active.sum()),
        "mean_cosine": gauge.mean_cosine(code.read[:_ROWS]),
    }
    if code.columns:
        found["dead_columns"] = np.flatnonzero(np.ptp(values, axis=0) == 0).tolist()
    if code.discrete:
        found["values_used"] = [len(np.unique(column)) for column in code.values.T]
    if code.spec and code.spec.kind == "ids" and code.spec.classes:
        symbols, classes = code.values.astype(np.int64), code.spec.classes
        if symbols.min() >= 0 and symbols.max() < classes:
            usage = gauge.code_usage(symbols, classes)
            found |= {"dead_codes": int((usage == 0).sum()), "perplexity": gauge.perplexity(usage)}
    if (own := behind(code, posterior)) is not None:
        found["passive_latents"] = np.flatnonzero(~gauge.active_by_posterior(*own)).tolist()
        found["posterior_share"] = gauge.posterior_share(*own).tolist()
    return found


def behind(code: Code, posterior: Posterior | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The posterior, where it is this part's."""
    if posterior is None or tuple(posterior[0].shape) != code.values.shape:
        return None
    mu, logvar = (t.detach().cpu().numpy() if isinstance(t, Tensor) else np.asarray(t) for t in posterior)
    return mu, logvar
