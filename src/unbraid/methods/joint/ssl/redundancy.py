"""Redundancy reduction: units that vary, each on its own. Barlow Twins has a module of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Optim, Terms
from unbraid.losses.joint import spread
from unbraid.methods.joint.ssl.base import QUICK, TINY, Objective, SSLOptions, adamw, spread_of
from unbraid.nets import heads
from unbraid.nets.backbones import Backbone
from unbraid.nets.norm import together


class VICReg(Objective["VICReg.Config"]):
    """Variance, invariance, covariance (Bardes et al., 2022, eq. 6).

    1. Embed two views of every image. 2. Minimise their mean squared distance; for each view, by how much the
    deviation of a unit falls short of 1, and the squared covariances of different units, over the batches of all
    processes.
    """

    card = Card(
        number=44,
        name="vicreg",
        title="VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        paper="arXiv:2105.04906",
        year=2022,
        modality=("image",),
        family="redundancy reduction",
        summary="An encoder whose units agree between two views, each keep a deviation of 1, and do not covary.",
        claim="Embeddings collapse without the variance term and do not with it; a probe reads more than untrained.",
        example="digits",
    )
    presets = {
        "cifar10": {"backbone": "resnet18", "views": "cifar", "projector": (2048, 2048, 2048), "batch": 256},
        "quick": {**QUICK, "projector": (256, 256)},
        "tiny": {**TINY, "projector": (12, 8)},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of VICReg.

        Attributes:
            projector: Width of each layer of the projector.
            invariance: Weight of the distance.
            variance: Weight of the shortfall of deviations.
            covariance: Weight of the covariances.
        """

        backbone: Backbone = told("resnet50", by="code")
        width: int = told(64, by="code")
        batch: int = told(2048, by="code")
        epochs: float = told(1000, by="code")
        projector: tuple[int, ...] = told((8192, 8192, 8192), by="code")
        invariance: float = told(25.0, by="code")
        variance: float = told(25.0, by="code")
        covariance: float = told(1.0, by="code")
        optim: Optim = told(adamw(5e-4, 0.05), by="ours")

        counts = (*SSLOptions.counts, "projector")

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("invariance", "variance", "covariance"):
                if getattr(self, name) < 0:
                    raise ConfigError("a weight of at least 0", got=str(getattr(self, name)), where=name)

    def __init__(self, config: VICReg.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.projector = heads.projector(self.encoder.width, config.projector)

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.projector])

    def loss(self, batch: Batch, at: At) -> Terms:
        with together(at.world):
            a, b = (self.behind(x) for x in batch["x"].unbind(1))
        (short, shared), (short_b, shared_b) = spread(a, at.world), spread(b, at.world)
        at.note(spread=spread_of(a))
        return {
            "invariance": (self.config.invariance, (a - b).square().mean(1)),
            "variance": (self.config.variance, short + short_b),
            "covariance": (self.config.covariance, shared + shared_b),
        }
