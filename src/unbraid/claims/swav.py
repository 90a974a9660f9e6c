"""SwAV: transport spreads images over prototypes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task, tiny
from unbraid.core.method import At
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The algebra of the assignment."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    method = tiny(cls, iterations=50)
    scores = drawn(64, 6) * 0.1
    scores[:, 0] += 0.4
    scores.requires_grad_()
    shared = method.assign(scores, 0, At())
    uneven = float((shared.mean(0) * 6 - 1).abs().max())
    yield Gate("All prototypes are used alike.", "largest deviation from it", uneven, 0.0, margin=0.02)
    largest = float(tiny(cls, transport=False).assign(scores, 0, At()).mean(0).max())
    yield Gate("Without transport one has most.", "largest share", largest, 0.9, "better")
    yield Gate("Assignments have no gradient.", "has one", float(shared.requires_grad), 0.0)


CLAIM = Claim(
    method="swav",
    task=task("a projector of 128-64, 32 prototypes, an entropy weight of 0.02, no small views, no queue"),
    data=DATA,
    settings={
        **SMALL,
        "projector": (128, 64),
        "prototypes": 32,
        "eps": 0.02,
        "local": 0,
        "queue": 0,
        "freeze": 0.0,
        "optim": adamw(RATE, 0.05),
    },
    arms=(
        Arm("swav", "swav"),
        Arm("no transport", "swav", {"transport": False}),
        Arm("untrained", "swav", UNTRAINED),
    ),
    contrasts=(
        Contrast("More prototypes are in use than without transport.", "in use", "swav", "no transport", margin=0.3),
        *probes("swav", "report", "report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=("The paper's headline, 75.3 % of ImageNet by a linear probe after 800 epochs of a ResNet-50, is not tried."),
)
