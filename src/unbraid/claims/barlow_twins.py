"""Barlow Twins: what each of the two terms is for, on written digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import found
from unbraid.core.method import Alone, At, Optim

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.core.method import Method

SMALL = {"backbone": "conv", "width": 64, "views": "written", "batch": 128, "epochs": 12.0}
"""What the methods of this wing share on `digits`: a few seconds for each arm and seed."""

UNTRAINED = {"steps": 1, "optim": Optim("sgd", lr=0.0)}
"""Options of an arm that stays as it was made."""


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The algebra of the loss on made embeddings."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    from unbraid.core.config import override
    from unbraid.core.fields import Field, Fields
    from unbraid.training.build import build

    config = override(cls.Config(), cls.presets["tiny"])
    method: Any = build(cls, config, Fields(x=Field((1, 16, 16), unit=True)))
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(200, 8, generator=generator).requires_grad_()
    b = (a.detach() + 0.5 * torch.randn(200, 8, generator=generator)).requires_grad_()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        c = method.standardise(a, Alone()).mT @ method.standardise(b, Alone()) / len(a)
        return torch.stack([weight * raw for weight, raw in method.terms(c, At()).values()]).sum()

    perfect = torch.stack([weight * raw for weight, raw in method.terms(torch.eye(8), At()).values()]).sum()
    yield Gate("The loss is 0 where the cross-correlation is the identity.", "loss", float(perfect), 0.0)
    here = loss(a, b)
    moved = loss(a * torch.linspace(0.5, 20, 8) - 3, b)
    claim = "Scale and place of a unit do not matter."
    yield Gate(claim, "relative change of the loss", float(((moved - here).abs() / here).detach()), 0.0, margin=1e-3)
    mixed = loss(a, b.roll(1, 1))
    yield Gate(
        "Units of the two views in another order cost more.",
        "loss",
        float(mixed.detach()),
        float(here.detach()),
        "better",
    )
    for name, slope in zip(("first", "second"), torch.autograd.grad(here, (a, b)), strict=True):
        steepest = float(slope.abs().max())
        yield Gate(f"The {name} view has a gradient.", "largest entry", steepest, 1e-6, "better")


CLAIM = Claim(
    method="barlow-twins",
    task=(
        "The 1,797 `digits` at 16 pixels under turns, scales, shifts and noise; two convolutions and 64 numbers, "
        "a projector of 256-256; 12 epochs of batches of 128 at rate 0.001 by Adam. Probes are five-fold."
    ),
    data="digits",
    settings={**SMALL, "projector": (256, 256), "warmup": 0.0, "optim": Optim("adam", lr=2e-3)},
    arms=(
        Arm("barlow twins", "barlow-twins"),
        Arm("no second term", "barlow-twins", {"redundancy": 0.0}),
        Arm("distance only", "barlow-twins", {"standardise": False}),
        Arm("untrained", "barlow-twins", UNTRAINED),
    ),
    contrasts=(
        Contrast("Its units are not redundant.", "redundancy", "barlow twins", 0.25),
        Contrast(
            "They are far less so than without the second term.",
            "redundancy",
            "barlow twins",
            "no second term",
            margin=0.3,
        ),
        Contrast(
            "Its embedding fills more directions than one that only brings the views together.",
            "rank",
            "barlow twins",
            "distance only",
            margin=10,
        ),
        Contrast(
            "A linear probe reads more digits from it than without training.", "probe", "barlow twins", "untrained"
        ),
        Contrast(
            "A linear probe reads more digits than without the second term.",
            "probe",
            "barlow twins",
            "no second term",
            expect="report",
        ),
        Contrast("Neighbours tell more digits than untrained.", "votes", "barlow twins", "untrained", expect="report"),
    ),
    gates=gates,
    metrics={
        "redundancy": Metric(
            "Mean square correlation of two units, over two views of the items.",
            found("mean square off the diagonal of C", "").of,
            more=False,
        ),
        "rank": found("effective rank", "Directions that the embedding fills, by the entropy of its singular values."),
        "probe": found("linear probe of digit", "Share of digits that a linear probe tells, on items it did not see."),
        "votes": found("nearest neighbours of digit", "Share of digits that the 20 nearest neighbours tell."),
    },
    note=(
        "The paper's headline, 73.2 % of ImageNet by a linear probe, needs 1000 epochs of a ResNet-50 and is not "
        "tried. Probes hardly separate objectives on digits, where the untrained network already tells 96 %; what "
        "separates is what the terms do. CIFAR-10 for 200 epochs of a ResNet-18 on an accelerator, some hours, would "
        "decide between it and the other methods of this wing."
    ),
)
