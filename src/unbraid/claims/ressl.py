"""ReSSL: relations to earlier images agree, sharper for the twin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The loss on made embeddings."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    del cls
    from unbraid.losses.distil import relational

    q, k, queue = drawn(6, 8).requires_grad_(), drawn(6, 8, seed=1).requires_grad_(), drawn(20, 8, seed=2)
    slopes = torch.autograd.grad(relational(q, k, queue).sum(), (q, k), allow_unused=True)
    yield Gate("The student has a gradient.", "largest entry", float(slopes[0].abs().max()), 1e-4, "better")
    yield Gate("The twin has none.", "has one", float(slopes[1] is not None), 0.0)
    near = relational(k.detach(), k, queue).mean()
    claim = "The loss is smaller where both views are one than where they are strangers."
    yield Gate(claim, "loss", float(near), float(relational(q, k, queue).mean().detach()), "worse")


CLAIM = Claim(
    method="ressl",
    task=task("a projector of 128-64, a queue of 256, the twin keeps 0.95", epochs=10),
    data=DATA,
    settings={
        **SMALL,
        "epochs": 10.0,
        "projector": (128, 64),
        "queue": 256,
        "momentum": 0.95,
        "optim": adamw(RATE, 0.05),
    },
    arms=(
        Arm("ressl", "ressl"),
        Arm("untrained", "ressl", UNTRAINED),
    ),
    contrasts=(*probes("ressl"),),
    gates=gates,
    metrics=METRICS,
    note=("The paper's headline, 69.9 % of ImageNet by a linear probe after 200 epochs of a ResNet-50, is not tried."),
)
