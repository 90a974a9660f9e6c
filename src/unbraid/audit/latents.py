"""Which latents of a part with a Gaussian posterior are in use, and what that means for whoever takes the means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.audit.codes import Code
from unbraid.audit.gauges import Posterior, behind
from unbraid.metrics.polarised import Regime, drawn, regime
from unbraid.metrics.unsupervised import gaussian_total_correlation

_FEW = 1000  # items below which the groups are not sure
_MATTERS = 0.05  # nats


@dataclass(frozen=True)
class Latents:
    """The latents of one part by use (see `unbraid.metrics.polarised`), and total correlations in nats.

    A total correlation is None where there are fewer than two such latents, or no more items than latents.

    Attributes:
        items: Items that this is told from.
        active: Latents that every item uses.
        mixed: Latents that some items use.
        passive: Latents that no item uses.
        variance: Mean posterior variance of each latent.
        total_mean: Of the means of all latents.
        total_sampled: Of samples of all latents.
        kept_mean: Of the means of active and mixed latents.
        kept_sampled: Of samples of active and mixed latents.
        advice: What to do, in a sentence.
    """

    items: int
    active: tuple[int, ...]
    mixed: tuple[int, ...]
    passive: tuple[int, ...]
    variance: tuple[float, ...]
    total_mean: float | None
    total_sampled: float | None
    kept_mean: float | None
    kept_sampled: float | None
    advice: str


def latents(code: Code, posterior: Posterior | None, seed: int) -> Latents | None:
    """What a part's posterior says of its latents; None where the posterior is another part's, or not known."""
    own = behind(code, posterior)
    if own is None or not own[0].shape[1]:
        return None
    mean, variance = own[0].astype(np.float64), np.exp(own[1].astype(np.float64))
    found = regime(variance)
    sampled = drawn(mean, variance, seed)
    every = range(mean.shape[1])
    total_mean, total_sampled = _total(mean, every), _total(sampled, every)
    kept_mean, kept_sampled = _total(mean, found.kept), _total(sampled, found.kept)
    caution = "" if len(mean) >= _FEW else f" (told from only {len(mean)} items)"
    return Latents(
        len(mean),
        found.active,
        found.mixed,
        found.passive,
        tuple(found.mean.tolist()),
        total_mean,
        total_sampled,
        kept_mean,
        kept_sampled,
        f"{code.name}: {_advice(found, total_mean, total_sampled, kept_mean)}{caution}",
    )


def _total(codes: np.ndarray, chosen: Sequence[int]) -> float | None:
    if not 2 <= len(chosen) < len(codes):
        return None
    found = gaussian_total_correlation(codes[:, list(chosen)])
    return found if math.isfinite(found) else None


def _advice(found: Regime, of_means: float | None, of_samples: float | None, kept: float | None) -> str:
    every = len(found.mean)
    if not found.kept:
        return "no item uses any latent, so leave this code alone, or give the divergence less weight"
    if not found.passive:
        some = f", {len(found.mixed)} of them by some items only" if found.mixed else ""
        return f"all {every} latents are in use{some}, so keep them all"
    said = f"leave out the {len(found.passive)} of {every} latents that no item uses, and keep {_listed(found.kept)}"
    if of_means is None or of_samples is None or of_means - of_samples < _MATTERS:
        return said
    rest = f", {kept:.2f} of those kept" if kept is not None else ""
    return f"{said}: the total correlation is {of_means:.2f} nats of all means{rest}, {of_samples:.2f} of all samples"


def _listed(chosen: Sequence[int]) -> str:
    return ", ".join(map(str, chosen[:12])) + (f" and {len(chosen) - 12} more" if len(chosen) > 12 else "")
