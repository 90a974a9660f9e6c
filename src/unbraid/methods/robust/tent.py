"""Tent: become surer of what one sees."""

from __future__ import annotations

from torch import Tensor

from unbraid.core.card import Card
from unbraid.core.method import At, Terms
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.adaptation import CLASSIFIER, Adaptation, Options

TINY = {"batch": 16, "optim.lr": 0.01}
QUICK = {"batch": 8, "optim.lr": 0.03}
"""For small pictures and networks, where norms are few and far from where they should be."""


class Tent(Adaptation[Options]):
    """Descends the mean entropy of its predictions (Wang et al., 2021, section 3)."""

    card = Card(
        name="tent",
        title="Tent: Fully Test-Time Adaptation by Entropy Minimization",
        paper="arXiv:2006.10726",
        year=2021,
        summary="Adapts the norms of a classifier to a stream by making its predictions surer.",
        modality=("image", "vector", "series"),
        scope="batch",
        ports=(CLASSIFIER,),
        wants=("label", "domain"),
        example="coloured-digits",
    )
    presets = {"tiny": TINY, "quick": QUICK}

    def objective(self, x: Tensor, logits: Tensor, at: At) -> Terms:
        return {"entropy": entropy(logits)}
