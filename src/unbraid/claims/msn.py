"""MSN: the entropy of the mean keeps prototypes in use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, probes, task
from unbraid.core.method import Alone
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The algebra of the term."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    del cls
    from unbraid.losses.distil import unused

    even, one = torch.eye(8), torch.eye(8)[:1].expand(8, -1)
    yield Gate("It is 0 where prototypes are used alike.", "term", float(unused(even, Alone())), 0.0, margin=1e-5)
    yield Gate("It is log K where one is used.", "term", float(unused(one, Alone())), math.log(8), margin=1e-5)
    logits = one.clone().requires_grad_()
    slope = torch.autograd.grad(unused(logits.softmax(1), Alone()), logits)[0]
    yield Gate("Descent takes from what has most.", "slope of its logit", float(slope[:, 0].min()), 0.0, "better")


CLAIM = Claim(
    method="msn",
    task=task(
        "a projector of 128-64, 32 prototypes, three in ten patches dropped, the twin keeps 0.95, no small views"
    ),
    data=DATA,
    settings={
        **SMALL,
        "projector": (128, 64),
        "prototypes": 32,
        "local": 0,
        "drop": 0.3,
        "momentum": 0.95,
        "optim": adamw(RATE, 0.05),
    },
    arms=(
        Arm("msn", "msn"),
        Arm("no entropy", "msn", {"memax": 0.0}),
        Arm("untrained", "msn", UNTRAINED),
    ),
    contrasts=(
        Contrast("Prototypes share the images as they do not without it.", "use", "msn", "no entropy", margin=0.3),
        *probes("msn", "report", "report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=(
        "The paper's headline is with one to five labels per class of ImageNet after 800 epochs of a ViT-S; it is not "
        "tried. In some hundred steps few prototypes become anybody's likeliest, and a probe reads little more than "
        "untrained; what is asserted is what the term does."
    ),
)
