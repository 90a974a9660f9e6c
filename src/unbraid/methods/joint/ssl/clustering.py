"""Clustering: views of an image belong to the same of some prototypes, among which images are spread evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Optim, Source, Stage, Stream, Terms
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.distil import across_views, cross_entropy_to, entropy, sharpened, unused
from unbraid.methods.joint.embedding import spaced
from unbraid.methods.joint.ssl.base import (
    QUICK,
    SEEN,
    TINY,
    C,
    Objective,
    SSLOptions,
    adamw,
    crops_of,
    joined,
    spread_of,
    usage,
)
from unbraid.nets import heads
from unbraid.nets.backbones import Backbone
from unbraid.nets.norm import together
from unbraid.ops.transport import sinkhorn
from unbraid.views.mask import shuffled


class Clustered(Objective[C]):
    """What SwAV and MSN share: prototypes behind the projector, and how many of them are in use."""

    projector: nn.Module
    prototypes: heads.Prototypes
    temperature: float

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.projector])

    def moves(self) -> list[nn.Module]:
        return [*super().moves(), self.prototypes]

    def parts(self) -> tuple[PartSpec, ...]:
        """Those of the encoder, and the probability of each prototype."""
        return (*super().parts(), PartSpec("prototypes", "vec", (len(self.prototypes.weight),), of="cls"))

    def encode(self, batch: Batch) -> Parts:
        return Parts({**super().encode(batch), "prototypes": self.belongs(batch["x"])})

    def belongs(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch k"]:
        """The probability of each prototype."""
        scores: Tensor = self.prototypes(self.behind(x))
        return (scores / self.temperature).softmax(1)

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and how many prototypes are in use."""
        said = self._over(data, spaced(len(data), SEEN), lambda x, _: self.belongs(x))
        return joined(super().examine(data), usage(torch.cat(said)))


class SwAV(Clustered["SwAV.Config"]):
    """Each view tells which prototypes another one is assigned to (Caron et al., 2020, eq. 1-3).

    1. Cosines of two large and some small views with prototypes. 2. Assign the images of each large view, with earlier
    ones once there are enough, so that all prototypes are used alike (Sinkhorn and Knopp). 3. Minimise the
    cross-entropy of each assignment with the softmax of every other view. 4. Bring prototypes back to length 1.

    Source:
        facebookresearch/swav, main_swav.py.
    """

    card = Card(
        number=44,
        name="swav",
        title="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        paper="arXiv:2006.09882",
        year=2020,
        modality=("image",),
        family="clustering",
        summary="An encoder whose views of an image are assigned to the same prototypes, all of them used alike.",
        claim="Images are spread over prototypes; without transport they are not.",
        example="digits",
    )
    presets = {
        "quick": {**QUICK, "projector": (256, 64), "prototypes": 64, "local": 2, "queue": 0, "freeze": 0.5},
        "tiny": {**TINY, "projector": (12, 8), "prototypes": 6, "local": 2, "queue": 32, "wait": 0.5, "freeze": 0.4},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of SwAV.

        Attributes:
            projector: Width of each layer of the projector.
            prototypes: How many.
            local: Small views, which are not assigned themselves.
            global_scale: Shares of the area that large views show.
            local_scale: And small ones.
            temperature: Of the softmax.
            eps: Weight of the entropy in the assignment.
            iterations: Of Sinkhorn and Knopp.
            transport: Whether prototypes are used alike; without, the assignment is a softmax.
            queue: Earlier images that are assigned with those of the batch; 0 for none.
            wait: Epochs before they are.
            freeze: Epochs in which prototypes do not move.
        """

        backbone: Backbone = told("resnet50", by="code")
        width: int = told(64, by="code")
        batch: int = told(256, by="code")
        epochs: float = told(200, by="code")
        warmup: float = told(0, by="code")
        projector: tuple[int, ...] = told((2048, 128), by="code")
        prototypes: int = told(3000, by="code")
        local: int = told(6, by="code")
        global_scale: tuple[float, float] = told((0.14, 1.0), by="code")
        local_scale: tuple[float, float] = told((0.05, 0.14), by="code")
        temperature: float = told(0.1, by="code")
        eps: float = told(0.05, by="code")
        iterations: int = told(3, by="code")
        transport: bool = told(True, by="code")
        queue: int = told(3840, by="code")
        wait: float = told(15, by="code")
        freeze: float = told(1, by="code")
        optim: Optim = told(adamw(5e-4, 0.05), by="ours")

        counts = (*SSLOptions.counts, "projector", "prototypes", "iterations")
        positive = ("temperature", "eps")

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("local", "queue", "wait", "freeze"):
                if getattr(self, name) < 0:
                    raise ConfigError("a number of at least 0", got=str(getattr(self, name)), where=name)

    def __init__(self, config: SwAV.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.temperature = config.temperature
        self.projector = heads.projector(self.encoder.width, config.projector, bias=True, last_bias=True)
        self.prototypes = heads.Prototypes(config.projector[-1], config.prototypes, unit=False)
        if config.queue:
            self.queues = nn.ModuleList(heads.Queue(config.queue, config.projector[-1]) for _ in range(2))

    def stream(self) -> Stream:
        return self.cropped(self.config.local, self.config.global_scale, self.config.local_scale)

    def stages(self) -> Sequence[Stage]:
        return (Stage("pretrain", [self.update(after=self.after)], self.config.budget, {"": self.stream()}),)

    def loss(self, batch: Batch, at: At) -> Terms:
        frozen = at.epoch < self.config.freeze
        with together(at.world):
            large = [self.behind(x) for x in batch["x"].unbind(1)]
            small = [self.behind(x) for x in crops_of(batch)]
        at.note(spread=spread_of(large[0]))
        if self.config.queue:
            at.memo["rows"] = [at.world.gather(functional.normalize(z.detach(), dim=1)) for z in large]
        scores = [self.prototypes(z, frozen=frozen) for z in [*large, *small]]
        assigned = [self.assign(s, view, at) for view, s in enumerate(scores[: len(large)])]
        return {"swapped": across_views(assigned, scores, self.config.temperature)}

    def earlier(self, view: int) -> heads.Queue:
        """The queue of a view."""
        return cast(heads.Queue, self.queues[view])

    @torch.no_grad()
    def assign(self, scores: Float[Tensor, "batch k"], view: int, at: At) -> Float[Tensor, "batch k"]:
        """The share of each image that goes to each prototype."""
        c, own = self.config, len(scores)
        if not c.transport:
            return (scores / c.eps).softmax(1)
        if c.queue and at.epoch >= c.wait and at.step * own * at.world.size >= c.queue:
            rows = self.earlier(view).rows.tensor_split(at.world.size)[at.world.rank]  # each earlier image once
            scores = torch.cat([scores, self.prototypes(rows)])
        return sinkhorn(scores, c.eps, c.iterations, at.world)[:own]

    def after(self, at: At) -> None:
        """Prototypes come back to length 1; the embeddings of this step go into the queues."""
        self.prototypes.unit_()
        if self.config.queue:
            for view, rows in enumerate(at.memo["rows"]):
                self.earlier(view).push(rows)


class MSN(Clustered["MSN.Config"]):
    """Views with patches left out belong to the prototypes of the whole view (Assran et al., 2022, eq. 1).

    1. The twin sees a large view; the encoder another one without some of its patches, and small ones. 2. Softmax of
    cosines with prototypes; that of the twin is sharpened. 3. Minimise the cross-entropy of the two, less the entropy
    of the mean of the encoder's. 4. The twin follows.

    Source:
        facebookresearch/msn, src/losses.py.
    """

    card = Card(
        number=44,
        name="msn",
        title="Masked Siamese Networks for Label-Efficient Learning",
        paper="arXiv:2204.07141",
        year=2022,
        modality=("image",),
        family="clustering",
        summary="An encoder that assigns an image with patches left out to the prototypes of the whole one.",
        claim="Prototypes share the images; without the entropy of their mean one has them all.",
        example="digits",
    )
    presets = {
        "quick": {**QUICK, "projector": (256, 64), "prototypes": 64, "local": 2, "momentum": 0.99},
        "tiny": {**TINY, "projector": (12, 8), "prototypes": 6, "local": 2, "drop": 0.5},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of MSN.

        Attributes:
            projector: Width of each layer of the projector.
            prototypes: How many.
            local: Small views.
            global_scale: Shares of the area that large views show.
            local_scale: And small ones.
            drop: Share of the patches of the large view that the encoder does not see.
            temperature: Of the softmax.
            sharpening: The twin's probabilities are taken to the power of its inverse.
            memax: Weight of the entropy of the mean.
            doubt: Weight of the mean of the entropies.
            transport: Whether the twin's probabilities are brought to use prototypes alike.
            momentum: Share of the twin that is kept at each step, at the start; 1 at the end, on half a cosine.
        """

        warmup: float = told(15, by="code")
        epochs: float = told(800, by="code")
        projector: tuple[int, ...] = told((2048, 2048, 256), by="code")
        prototypes: int = told(1024, by="code")
        local: int = told(10, by="code")
        global_scale: tuple[float, float] = told((0.3, 1.0), by="code")
        local_scale: tuple[float, float] = told((0.05, 0.3), by="code")
        drop: float = told(0.15, by="code")
        temperature: float = told(0.1, by="code")
        sharpening: float = told(0.25, by="code")
        memax: float = told(1.0, by="code")
        doubt: float = told(0.0, by="code")
        transport: bool = told(False, by="code")
        momentum: float = told(0.996, by="code")
        optim: Optim = told(adamw(2.5e-4, 0.04, 0.4), by="code")

        counts = (*SSLOptions.counts, "projector", "prototypes")
        shares = (*SSLOptions.shares, "momentum", "drop")
        positive = ("temperature", "sharpening")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.backbone != "vit":
                raise ConfigError("a transformer, backbone=vit", got=self.backbone, where="backbone")
            if self.local < 0:
                raise ConfigError("a number of at least 0", got=str(self.local), where="local")

    def __init__(self, config: MSN.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.temperature = config.temperature
        self.projector = heads.projector(self.encoder.width, config.projector)
        self.prototypes = heads.Prototypes(config.projector[-1], config.prototypes)
        self.teacher = self.taught()

    def stream(self) -> Stream:
        return self.cropped(self.config.local, self.config.global_scale, self.config.local_scale)

    def stages(self) -> Sequence[Stage]:
        follow = self.update(after=lambda at: self.follow(self.config.momentum, 1.0, at))
        return (Stage("pretrain", [follow], self.config.budget, {"": self.stream()}),)

    def loss(self, batch: Batch, at: At) -> Terms:
        c, (whole, other) = self.config, batch["x"].unbind(1)
        encoder, projector = self.twin
        rows, columns = self.encoder.vit.grid
        keep = shuffled(at.rand((len(other), rows * columns)), c.drop).keep
        with together(at.world):
            anchors = [self.projector(self.encoder.read(self.encoder.tokens(other, keep)))]
            anchors += [self.behind(x) for x in crops_of(batch)]
            with torch.no_grad():
                target = projector(encoder(whole))
        at.note(spread=spread_of(anchors[0]))
        scores = self.prototypes(torch.cat(anchors))
        p = (scores / c.temperature).softmax(1)
        goal = self.goal(target, at).repeat(len(anchors), 1)
        return {
            "views": cross_entropy_to(goal, scores, c.temperature),
            "memax": (c.memax, unused(p, at.world)),
            "doubt": (c.doubt, entropy(p)),
        }

    @torch.no_grad()
    def goal(self, z: Float[Tensor, "batch d"], at: At) -> Float[Tensor, "batch k"]:
        """What the twin says, sharpened."""
        c = self.config
        p = sharpened((self.prototypes(z) / c.temperature).softmax(1), c.sharpening)
        return sinkhorn(p.clamp(min=1e-30).log(), 1.0, 3, at.world) if c.transport else p
