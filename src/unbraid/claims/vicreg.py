"""VICReg: what keeps units varying."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task
from unbraid.core.method import Alone
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The terms of collapsed and of white embeddings."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    del cls
    from unbraid.losses.joint import spread

    short, shared = spread(torch.ones(9, 4), Alone())
    yield Gate(
        "Where all embeddings are one, each unit falls short by all.", "variance term", float(short), 0.99, margin=1e-5
    )
    white = torch.linalg.qr(drawn(64, 5) - drawn(64, 5).mean(0))[0] * math.sqrt(63)
    white = white - white.mean(0)
    short, shared = spread(white, Alone())
    yield Gate("White embeddings fall short of nothing.", "variance term", float(short), 0.0, margin=1e-2)
    yield Gate("And do not covary.", "covariance term", float(shared), 0.0, margin=1e-2)
    short, shared = spread(white @ torch.ones(5, 5), Alone())
    yield Gate("Units that say the same cost.", "covariance term", float(shared), 1.0, "better")


CLAIM = Claim(
    method="vicreg",
    task=task("a projector of 128-128"),
    data=DATA,
    settings={**SMALL, "projector": (128, 128), "optim": adamw(RATE, 0.05)},
    arms=(
        Arm("vicreg", "vicreg"),
        Arm("invariance only", "vicreg", {"variance": 0.0, "covariance": 0.0}),
        Arm("untrained", "vicreg", UNTRAINED),
    ),
    contrasts=(
        *probes("vicreg"),
        Contrast(
            "Embeddings point in more different ways than where views are only brought together.",
            "cosine",
            "vicreg",
            "invariance only",
            margin=0.2,
        ),
        Contrast(
            "The representation fills more directions than where views are only brought together.",
            "rank",
            "vicreg",
            "invariance only",
            margin=3,
        ),
    ),
    gates=gates,
    metrics=METRICS,
    note=("The paper's headline, 73.2 % of ImageNet by a linear probe after 1000 epochs of a ResNet-50, is not tried."),
)
