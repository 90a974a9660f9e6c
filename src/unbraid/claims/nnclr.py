"""NNCLR: neighbours among earlier images take the place of a view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task, tiny
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """Where the neighbours come from."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    method = tiny(cls)
    z = drawn(6, 8).requires_grad_()
    near = method.nearest(z)
    apart = torch.cdist(near, method.queue.rows).amin(1)
    yield Gate("A neighbour is a row of the queue.", "distance to it", float(apart.max()), 0.0, margin=1e-6)
    cosine = torch.nn.functional.cosine_similarity(z[:, None], method.queue.rows[None], dim=2)
    best = torch.nn.functional.cosine_similarity(z, near, dim=1)
    short = float((cosine.amax(1) - best).abs().max().detach())
    yield Gate("None other is nearer.", "cosine to the nearest less that of the chosen", short, 0.0, margin=1e-5)
    yield Gate("Gradients do not go through it.", "needs a gradient", float(near.requires_grad), 0.0)


CLAIM = Claim(
    method="nnclr",
    task=task("a projector of 128-64, a predictor of 128, temperature 0.1, a queue of 256", epochs=10),
    data=DATA,
    settings={**SMALL, "epochs": 10.0, "projector": (128, 64), "hidden": 128, "queue": 256, "optim": adamw(RATE, 0.05)},
    arms=(
        Arm("nnclr", "nnclr"),
        Arm("untrained", "nnclr", UNTRAINED),
    ),
    contrasts=(*probes("nnclr"),),
    gates=gates,
    metrics=METRICS,
    note=(
        "The paper's headline, 75.4 % of ImageNet by a linear probe after 1000 epochs of a ResNet-50, is not tried; "
        "neighbours help where views change little, which written digits do not decide."
    ),
)
