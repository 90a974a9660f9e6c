"""MAE: hidden pixels are told from what is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.self_supervised import LEARNED, METRICS, SMALL, UNTRAINED, drawn, task, tiny
from unbraid.core.method import At
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What is seen and what is not."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    method = tiny(cls)
    x = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def at() -> At:
        return At(generator=torch.Generator().manual_seed(1))

    told, mask = method.fill(x, at())
    pixels = mask.view(-1, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    other = torch.where(pixels, drawn(6, 1, 16, 16).sigmoid(), x)
    leak = float((method.fill(other, at())[0] - told).abs().max().detach())
    yield Gate("What is hidden is not seen.", "largest change of what is told", leak, 0.0, margin=1e-5)
    other = torch.where(pixels, x, drawn(6, 1, 16, 16).sigmoid())
    seen = float((method.fill(other, at())[0] - told).abs().max().detach())
    yield Gate("What is not hidden is.", "largest change of what is told", seen, 1e-4, "better")


CLAIM = Claim(
    method="mae",
    task=task("40 % of the patches hidden, a decoder of two blocks of 48 numbers", epochs=60),
    data=LEARNED,
    settings={
        **SMALL,
        "epochs": 60.0,
        "mask": 0.4,
        "decoder_width": 48,
        "decoder_depth": 2,
        "decoder_heads": 4,
        "normalised": False,
        "optim": adamw(12e-3, 0.05),
    },
    arms=(
        Arm("mae", "mae"),
        Arm("untrained", "mae", UNTRAINED),
    ),
    contrasts=(
        Contrast(
            "Hidden pixels of new images are told better than by the mean image, by a quarter at least.",
            "held out",
            "mae",
            0.75,
        ),
        Contrast("A probe, over an untrained network.", "probe", "mae", "untrained", expect="report"),
        Contrast("Neighbours, over an untrained network.", "votes", "mae", "untrained", expect="report"),
    ),
    gates=gates,
    metrics=METRICS,
    note=(
        "The paper's headline is fine-tuning on ImageNet after 800 epochs and more, and is not tried; a probe of "
        "masked models is known to read less than one of models that compare views."
    ),
)
