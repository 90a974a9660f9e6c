"""Franca: every level uses its prototypes alike, and rolled masks hide every place alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.scoring import found
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task
from unbraid.core.method import At, Clip
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What is true of masks and assignments without training."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    from unbraid.losses.distil import entropy
    from unbraid.nets.matryoshka import MatryoshkaHead
    from unbraid.ops.transport import sinkhorn
    from unbraid.views.mask import inverse_block_masks

    for roll in (True, False):
        at = At(generator=torch.Generator().manual_seed(1))
        masks = inverse_block_masks(torch.full((4000,), 100), (16, 16), at, roll=roll)
        if roll:
            off = float((masks.sum((1, 2)) - 100).abs().max())
            yield Gate("100 of 256 patches are hidden in every image.", "largest difference", off, 0.0)
        spread = float(masks.float().mean(0).std())
        words = "Rolled masks hide every place as often." if roll else "Others hide the margins more often."
        metric = "deviation over places of how often"
        yield Gate(words, metric, spread, 0.01 if roll else 0.3, "worse" if roll else "better")
    config: Any = cls.Config()
    head = MatryoshkaHead(config.width, config.prototypes // 64, config.levels, hidden=4, bottleneck=4)
    share = max(abs(k / head.counts[-1] - w / config.width) for k, w in zip(head.counts, head.widths, strict=True))
    yield Gate("A level has prototypes as it has numbers.", "difference of the shares", share, 0.0, margin=1e-9)
    scores = 0.3 * drawn(512, 64) + drawn(64, seed=1)
    for q, words, bound, expect in (
        (sinkhorn(scores, 0.07, 3), "Assignments use all prototypes alike.", 0.95, "better"),
        ((scores / 0.07).softmax(1), "A softmax does not.", 0.5, "worse"),
    ):
        use = float(entropy(q.mean(0)) / torch.log(torch.tensor(64.0)))
        yield Gate(words, "entropy of their mean, of the largest", use, bound, expect)  # type: ignore[arg-type]


CLAIM = Claim(
    method="franca",
    task=task("heads of 96-96-32 at 6, 12, 24 and 48 numbers with 8 to 64 prototypes, no small views", epochs=4),
    data=DATA,
    settings={
        **SMALL,
        "epochs": 4.0,
        "steps": None,
        "prototypes": 64,
        "hidden": 96,
        "bottleneck": 32,
        "std": 0.15,
        "levels": (1 / 8, 1 / 4, 1 / 2, 1.0),
        "nested": "prefix",
        "local": 0,
        "momentum": 0.95,
        "freeze": 0.1,
        "optim": adamw(RATE, 0.04, clip=Clip("norm", 3.0)),
    },
    arms=(
        Arm("franca", "franca"),
        Arm("one level", "franca", {"levels": (1.0,)}),
        Arm("softmax", "franca", {"iterations": 0}),
        Arm("untrained", "franca", UNTRAINED),
    ),
    contrasts=(
        Contrast("Every level uses its prototypes alike.", "least use", "franca", 0.95),
        Contrast("More so than by a plain softmax.", "least use", "franca", "softmax", margin=0.3),
        Contrast(
            "The first quarter tells more than that of one level.", "quarter", "franca", "one level", expect="report"
        ),
        *probes("franca", "report", "report"),
    ),
    gates=gates,
    metrics={
        **METRICS,
        "least use": found(
            "least use of prototypes", "Entropy of the mean assignment, of the level where it is least."
        ),
        "quarter": found(
            "neighbours of digit by the first quarter", "Share of digits that neighbours tell by 12 of 48."
        ),
    },
    note=(
        "The paper's headline, 83 % of ImageNet by neighbours of a ViT-g after a million steps, is not tried. In some "
        "hundred steps of so small a transformer the targets of the class token stay nearly even over the prototypes, "
        "so that little is learned from them; whether nested levels tell more in fewer numbers is only reported. What "
        "is asserted is that assignments use all prototypes of each level, where a plain softmax ends with one for all "
        "images; and the masks. A ViT-S on a hundred classes of ImageNet for some hundred epochs would decide the rest."
    ),
)
