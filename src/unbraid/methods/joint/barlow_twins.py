"""Barlow Twins: embeddings whose cross-correlation between two views is the identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import Alone, At, Group, Optim, Schedule, Source, Stage, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.losses.joint import cross_correlation, off_diagonal
from unbraid.methods.joint.embedding import JointEmbedding, Options, grown, spaced
from unbraid.nets.heads import projector
from unbraid.nets.norm import BatchStandardise, together

_PAIRS = 2000  # items whose two views an examination compares
_DRAWN = 256  # units up to which the whole matrix is kept

LARS = Optim(
    "lars",
    lr=0.2,
    momentum=0.9,
    weight_decay=1e-6,
    trust=0.001,
    schedule=Schedule("cosine", zero=True, final=0.001),
    groups=(Group("", dims=1, lr=0.0048, weight_decay=0.0, trust=0.0),),
)
"""The published optimiser: biases and norms with neither decay nor trust ratio, at a rate of their own."""


class BarlowTwins(JointEmbedding["BarlowTwins.Config"]):
    """Makes the cross-correlation of two views' embeddings the identity (Zbontar et al., 2021, eq. 1).

    1. Embed two views of every image. 2. Standardise each unit over the batch of all processes. 3. C = mean over the
    batch of the products of units, one of each view. 4. Minimise sum (C_ii - 1)^2 + lambda sum C_ij^2, i != j.

    Both views go through the same weights, and both have gradients; nothing else keeps the embeddings from collapsing.

    Source:
        facebookresearch/barlowtwins, main.py.
    """

    card = Card(
        number=37,
        name="barlow-twins",
        title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        paper="arXiv:2103.03230",
        year=2021,
        modality=("image",),
        family="redundancy reduction",
        summary="An encoder whose units agree between two views of an image and are uncorrelated with each other.",
        claim=(
            "Its units are less redundant than without the second term, and its embedding neither collapses nor knows "
            "less of the digit than that of the untrained network."
        ),
        example="digits",
    )
    zero_init = True
    presets = {
        "cifar10": {
            "backbone": "resnet18",
            "views": "cifar",
            "projector": (2048, 2048, 2048),
            "batch": 256,
            "scale": 0.1,
            "optim.lr": 0.3,
            "optim.trust": 0.02,
            "optim.weight_decay": 1e-4,
        },
        "quick": {
            "backbone": "resnet10",
            "width": 16,
            "views": "cifar",
            "projector": (512, 512, 512),
            "redundancy": 0.02,
            "batch": 128,
            "steps": 600,
            "optim": Optim("adam", lr=4e-3, schedule=Schedule("cosine", final=0.01)),
        },
        "tiny": {
            "backbone": "resnet8",
            "width": 4,
            "views": "written",
            "projector": (12, 8),
            "batch": 16,
            "steps": 8,
            "optim.lr": 1.0,
        },
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of Barlow Twins.

        Attributes:
            projector: Width of each layer of the projector, whose output the loss sees.
            redundancy: Weight of the off-diagonal term, lambda; to be chosen anew where the projector's width changes.
            scale: Factor on the whole loss. LARS takes it out again except for biases and norms: with it, one process
                imitates several, whose gradients the released code divides by their number.
            standardise: Whether units are standardised; without, the loss is the squared distance of the two views.
            gradient: Through the rows of all processes ("true"), or of the own ones only, as released ("official").
            warmup: Epochs of linear warm-up.
            optim: How everything moves; rates are for 256 items and grow with the batch.
        """

        projector: tuple[int, ...] = told((8192, 8192, 8192), by="code")
        redundancy: float = told(0.0051, by="code")
        scale: float = told(1.0, by="code")
        standardise: bool = told(True, by="paper")
        gradient: Literal["true", "official"] = told("true", by="ours")
        warmup: float = told(10, by="code")
        optim: Optim = told(LARS, by="code")

        counts = (*Options.counts, "projector")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.redundancy < 0:
                raise ConfigError("a weight of at least 0", got=str(self.redundancy), where="redundancy")
            if not 0 <= self.warmup <= self.epochs:
                raise ConfigError(f"0 to {self.epochs:g} epochs", got=f"{self.warmup:g}", where="warmup")

    def __init__(self, config: BarlowTwins.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.projector = projector(self.encoder.width, config.projector)
        self.standardise = BatchStandardise()

    def stages(self) -> Sequence[Stage]:
        c = self.config
        optim = replace(c.optim, schedule=replace(c.optim.schedule, share=c.warmup / c.epochs))
        twins = Update("twins", self.loss, lambda: [self.encoder, self.projector], grown(optim, c.batch / 256))
        return [Stage("pretrain", [twins], c.budget, {"": self.stream()})]

    def loss(self, batch: Batch, at: At) -> Terms:
        with together(at.world):
            a, b = (self.projector(self.encoder(x)) for x in batch["x"].unbind(1))
            if not self.config.standardise:
                return {"distance": (a - b).square().sum(1)}
            a, b = (self.standardise(z, at.world) for z in (a, b))
        return self.terms(cross_correlation(a, b, at.world, local_gradient=self.config.gradient == "official"), at)

    def terms(self, c: Float[Tensor, "d d"], at: At) -> Terms:
        """The loss of a cross-correlation, and its diagonal and the rest as gauges."""
        on, off = c.diagonal(), off_diagonal(c)
        at.note(invariance=on.mean(), redundancy=off.square().mean())
        scale = self.config.scale
        return {
            "invariance": (scale, (on - 1).square().sum()),
            "redundancy": (scale * self.config.redundancy, off.square().sum()),
        }

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and the cross-correlation of two views of up to 2,000 items."""
        found, c = super().examine(data), self.cross_correlation(data)
        rest = c - torch.diag(c.diagonal())
        numbers = {
            "mean of the diagonal of C": float(c.diagonal().mean()),
            "mean square off the diagonal of C": float(off_diagonal(c).square().mean()),
        }
        arrays = {
            "invariance of each unit": c.diagonal(),
            "redundancy of each unit": rest.square().sum(1) / (len(c) - 1),
            **({"cross-correlation of two views": c} if len(c) <= _DRAWN else {}),
        }
        units = {**dict.fromkeys(arrays, "-1 to 1"), "redundancy of each unit": "0 to 1"}
        return replace(
            found,
            numbers={**found.numbers, **numbers},
            arrays=arrays,
            units={**found.units, **units, **dict.fromkeys(numbers, "1 and 0 are best")},
        )

    def cross_correlation(self, data: Source) -> Float[Tensor, "d d"]:
        """C over up to 2,000 items at once, in eval mode."""
        see = self.two_views()

        def embed(x: Tensor, at: At) -> Tensor:
            return torch.stack([self.projector(self.encoder(view)) for view in see(x, at).unbind(1)], 1)

        a, b = torch.cat(self._over(data, spaced(len(data), _PAIRS), embed)).unbind(1)
        alone = Alone()
        return cross_correlation(self.standardise(a, alone), self.standardise(b, alone), alone).cpu()
