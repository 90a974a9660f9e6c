"""MoCo v3: a following twin makes the keys, and the patch embedding stays as it was drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Gate
from unbraid.claims.self_supervised import DATA, METRICS, RATE, SMALL, UNTRAINED, probes, task, tiny
from unbraid.methods.joint.ssl.base import adamw

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What moves and what does not."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    from unbraid.training.stepper import Stepper

    method = tiny(cls)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    names = ("embed", "blocks.0.qkv")
    before = {n: method.encoder.vit.get_submodule(n).weight.detach().clone() for n in names}
    twin = method.teacher.twin[0].vit.blocks[0].qkv.weight.clone()
    for step in range(2):
        stepper.step({"x": torch.rand(16, 1, 16, 16, generator=torch.Generator().manual_seed(step))}, step)
    change = {
        n: float((method.encoder.vit.get_submodule(n).weight - old).abs().max().detach()) for n, old in before.items()
    }
    yield Gate("The patch embedding stays as it was drawn.", "largest change", change["embed"], 0.0)
    yield Gate("The other weights move.", "largest change", change["blocks.0.qkv"], 1e-4, "better")
    followed = float((method.teacher.twin[0].vit.blocks[0].qkv.weight - twin).abs().max())
    claim = "The twin follows, and far more slowly."
    yield Gate(claim, "largest change over that of the online network", followed / change["blocks.0.qkv"], 0.1, "worse")


CLAIM = Claim(
    method="mocov3",
    task=task("a projector of 128-64, a predictor of 128, temperature 0.2, the twin keeps 0.95", epochs=10),
    data=DATA,
    settings={
        **SMALL,
        "epochs": 10.0,
        "projector": (128, 64),
        "hidden": 128,
        "momentum": 0.95,
        "optim": adamw(RATE, 0.05),
    },
    arms=(
        Arm("mocov3", "mocov3"),
        Arm("untrained", "mocov3", UNTRAINED),
    ),
    contrasts=(*probes("mocov3"),),
    gates=gates,
    metrics=METRICS,
    note=(
        "The paper's headline, 76.7 % of ImageNet by a linear probe of a ViT-B after 300 epochs, is not tried. That a "
        "patch embedding which moves makes large batches unstable does not show at this size."
    ),
)
