"""SimCLR: negatives keep embeddings apart."""

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
    """The loss of collapsed and of separated embeddings."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    del cls
    from unbraid.losses.contrastive import nt_xent

    one = torch.ones(8, 4)
    collapsed = float(nt_xent(one, one, 0.2, Alone()).mean())
    yield Gate("Where all embeddings are one, the loss is log(2 N - 1).", "loss", collapsed, math.log(15), margin=1e-5)
    z = torch.eye(8)
    apart, expected = float(nt_xent(z, z, 0.2, Alone()).mean()), math.log(1 + 14 * math.exp(-5))
    yield Gate("Where items are orthogonal and views equal, it is smaller.", "loss", apart, expected, margin=1e-5)
    a, b = drawn(8, 4), drawn(8, 4, seed=1)
    moved = nt_xent(a * torch.linspace(0.5, 9, 8)[:, None], b, 0.2, Alone()) - nt_xent(a, b, 0.2, Alone())
    yield Gate("Lengths do not matter.", "largest change", float(moved.abs().max()), 0.0, margin=1e-4)


CLAIM = Claim(
    method="simclr",
    task=task("a projector of 128-64, temperature 0.2"),
    data=DATA,
    settings={**SMALL, "projector": (128, 64), "optim": adamw(RATE, 0.05)},
    arms=(
        Arm("simclr", "simclr"),
        Arm("one negative", "simclr", {"negatives": 1}),
        Arm("untrained", "simclr", UNTRAINED),
    ),
    contrasts=(
        *probes("simclr"),
        Contrast(
            "Embeddings point in more different ways than with a single negative.",
            "cosine",
            "simclr",
            "one negative",
            expect="report",
        ),
        Contrast("Neighbours, over a single negative.", "votes", "simclr", "one negative", expect="report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=(
        "The paper's headline, 69.3 % of ImageNet by a linear probe, is not tried. Negatives that are others at each "
        "step keep embeddings apart even one at a time, so that this ablation weakens and does not fail. CIFAR-10 for "
        "200 epochs of a ResNet-18 on an accelerator, some hours, would place it among the others of this wing."
    ),
)
