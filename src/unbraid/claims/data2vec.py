"""data2vec: what a twin makes of hidden patches is told, and does not collapse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What the target is."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    del cls
    from unbraid.losses.masked import layers_mean

    layers = [drawn(3, 5, 8), 7 * drawn(3, 5, 8, seed=1)]
    target = layers_mean(layers)
    same = layers_mean([layers[0], 100 * layers[1] + 3])
    apart = float((same - target).abs().max())
    yield Gate("Scale and place of a block's output do not matter.", "largest change", apart, 0.0, margin=1e-3)
    size = float(layers_mean(layers[:1]).square().mean())
    yield Gate("A target cannot shrink.", "mean square", size, 1.0, margin=1e-3)


CLAIM = Claim(
    method="data2vec",
    task=task(
        "blocks of patches hidden, 60 % of all; the mean of both blocks is told; the twin keeps 0.95 to 0.99", epochs=12
    ),
    data=DATA,
    settings={
        **SMALL,
        "epochs": 12.0,
        "top": 2,
        "least": 2,
        "momentum": 0.95,
        "last_momentum": 0.99,
        "optim": adamw(RATE, 0.05),
    },
    arms=(
        Arm("data2vec", "data2vec"),
        Arm("untrained", "data2vec", UNTRAINED),
    ),
    contrasts=(
        Contrast("Hidden features are told better than by their mean.", "told", "data2vec", 0.9),
        *probes("data2vec", "report", "report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=("The paper's headline is fine-tuning on ImageNet after 800 epochs, and is not tried."),
)
