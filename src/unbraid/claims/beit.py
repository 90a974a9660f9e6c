"""BEiT: hidden tokens are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, drawn, probes, task, tiny
from unbraid.core.method import At
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What tokens are, and what is seen."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    from unbraid.data.made.tiny import tiny_images

    method, data = tiny(cls), tiny_images(24)
    method.stages()[0].solve({"train": data}, At())
    x = data.take(torch.arange(24))["x"]
    again = method.tokens(x)
    share = torch.bincount(again.flatten(), minlength=5).float() / again.numel()
    yield Gate("All tokens occur.", "least share", float(share.min()), 0.0, "better")
    method.stages()[0].solve({"train": data}, At())
    yield Gate("They are the same when found again.", "share", float((method.tokens(x) == again).float().mean()), 1.0)
    mask = torch.zeros(24, 4, 4, dtype=torch.bool)
    mask[:, 1:3, 1:3] = True
    other = x.clone()
    other[:, :, 4:12, 4:12] = drawn(24, 1, 8, 8).sigmoid()
    moved = method.encoder.tokens(x, masked=mask).patches - method.encoder.tokens(other, masked=mask).patches
    yield Gate("Hidden patches are not seen.", "largest change", float(moved.abs().max().detach()), 0.0, margin=1e-5)


CLAIM = Claim(
    method="beit",
    task=task("32 tokens, blocks of two patches and more over 40 % of them", epochs=25),
    data=DATA,
    settings={**SMALL, "epochs": 25.0, "tokens": 32, "least": 2, "optim": adamw(RATE, 0.05)},
    arms=(
        Arm("beit", "beit"),
        Arm("untrained", "beit", UNTRAINED),
    ),
    contrasts=(
        Contrast(
            "Hidden tokens are told more often than by always naming the commonest.",
            "lead",
            "beit",
            0.0,
        ),
        *probes("beit", "report", "report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=("The paper's headline is fine-tuning on ImageNet after 800 epochs, and is not tried."),
)
