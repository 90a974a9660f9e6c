"""Contrast: every image is told from the others by its other view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Optim, Stage, Terms
from unbraid.losses.contrastive import against, nt_xent, pairs
from unbraid.methods.joint.ssl.base import QUICK, TINY, Objective, SSLOptions, adamw, spread_of
from unbraid.nets import heads
from unbraid.nets.backbones import Backbone, Transformer
from unbraid.nets.mlp import mlp
from unbraid.nets.norm import together


class SimCLR(Objective["SimCLR.Config"]):
    """Each view finds its other view among all views of the batch (Chen et al., 2020, eq. 1).

    1. Embed two views of every image. 2. For each of the 2N rows minimise -log exp(s_ip / t) / sum_k exp(s_ik / t),
    with s the cosine, p the other view and k all rows but the own, those of other processes included.
    """

    card = Card(
        number=44,
        name="simclr",
        title="A Simple Framework for Contrastive Learning of Visual Representations",
        paper="arXiv:2002.05709",
        year=2020,
        modality=("image",),
        family="contrastive",
        summary="An encoder that finds the other view of an image among those of all images of the batch.",
        claim="A linear probe and nearest neighbours read more from it than from the untrained network.",
        example="digits",
    )
    presets = {
        "cifar10": {"backbone": "resnet18", "width": 64, "views": "cifar", "batch": 512, "temperature": 0.5},
        "quick": {**QUICK, "projector": (256, 64)},
        "tiny": {**TINY, "projector": (12, 8)},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of SimCLR.

        Attributes:
            projector: Width of each layer of the projector.
            temperature: t; 0.1 to 0.5.
            negatives: Other images that a view is told from, drawn by their order; all of the batch where None.
        """

        projector: tuple[int, ...] = told((2048, 256), by="second")
        temperature: float = told(0.2, by="second")
        negatives: int | None = told(None, by="ours")
        optim: Optim = told(adamw(5e-4, 0.05), by="ours")

        counts = (*SSLOptions.counts, "projector")
        positive = ("temperature",)

    def __init__(self, config: SimCLR.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.projector = heads.projector(self.encoder.width, config.projector)

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.projector])

    def loss(self, batch: Batch, at: At) -> Terms:
        with together(at.world):
            a, b = (self.behind(x) for x in batch["x"].unbind(1))
        at.note(spread=spread_of(a))
        if self.config.negatives is None:
            return {"contrast": nt_xent(a, b, self.config.temperature, at.world)}
        every = at.world.gather(functional.normalize(b, dim=1))
        return {"contrast": self._against_few(functional.normalize(a, dim=1), every, at)}

    def _against_few(self, a: Float[Tensor, "batch d"], every: Float[Tensor, "all d"], at: At) -> Tensor:
        """The loss with the next few items of the batch as the only negatives."""
        own = torch.arange(len(a), device=a.device) + at.world.rank * len(a)
        few = torch.arange((self.config.negatives or 0) + 1, device=a.device)
        logits = (a[:, None] * every[(own[:, None] + few) % len(every)]).sum(2) / self.config.temperature
        return functional.cross_entropy(logits, torch.zeros_like(own), reduction="none")


class MoCo(Objective["MoCo.Config"]):
    """Queries find keys that a slowly following twin makes (MoCo v3, Chen et al., 2021, algorithm 1).

    1. The twin follows. 2. q = predictor(projector(f(x1))), k = twin's projection of x2. 3. Minimise 2 t times the
    cross-entropy of finding k among all keys by q, and the same with the views exchanged. The patch embedding of a
    transformer stays as it was drawn, which keeps it stable. As `mocov2` there is no predictor, the negatives are a
    queue of the last keys, and only the first view asks.

    Source:
        facebookresearch/moco-v3, moco/builder.py.
    """

    card = Card(
        number=44,
        name="mocov3",
        title="An Empirical Study of Training Self-Supervised Vision Transformers",
        paper="arXiv:2104.02057",
        year=2021,
        modality=("image",),
        family="contrastive",
        summary="An encoder whose queries find the keys that a slowly following twin makes of the other view.",
        claim="A probe and neighbours read more than untrained; the patch embedding stands still, the twin nearly.",
        example="digits",
    )
    aliases = {
        "mocov2": {
            "backbone": "resnet50",
            "width": 64,
            "projector": (2048, 128),
            "hidden": 0,
            "normed": False,
            "negatives": "queue",
            "momentum": 0.999,
            "last_momentum": 0.999,
            "batch": 256,
            "epochs": 200.0,
            "warmup": 0.0,
            "optim.kind": "sgd",
            "optim.lr": 0.03,
            "optim.momentum": 0.9,
            "optim.weight_decay": 1e-4,
        }
    }
    about = {"mocov2": "An encoder whose queries find the keys of a following twin among a queue of earlier ones."}
    presets = {
        "quick": {**QUICK, "projector": (256, 256, 64), "hidden": 256, "queue": 1024, "optim": adamw(2e-3, 0.05)},
        "tiny": {**TINY, "projector": (12, 8), "queue": 20},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of MoCo.

        Attributes:
            projector: Width of each layer of the projector.
            hidden: Width of the predictor's hidden layer; 0 for no predictor.
            normed: Whether projector and predictor have batch normalisation, also behind their last layer.
            temperature: t.
            momentum: Share of the twin that is kept at each step, at the start.
            last_momentum: And at the end, on half a cosine.
            negatives: What a key is told from: those of the other images of the batch, or a queue of earlier ones.
            queue: Keys in the queue.
            stable: Whether the patch embedding stays as it was drawn.
        """

        batch: int = told(4096, by="code")
        warmup: float = told(40, by="code")
        projector: tuple[int, ...] = told((4096, 4096, 256), by="code")
        hidden: int = told(4096, by="code")
        normed: bool = told(True, by="code")
        temperature: float = told(0.2, by="code")
        momentum: float = told(0.99, by="code")
        last_momentum: float = told(1.0, by="code")
        negatives: Literal["batch", "queue"] = told("batch", by="code")
        queue: int = told(65536, by="code")
        stable: bool = told(True, by="code")
        optim: Optim = told(adamw(1.5e-4, 0.1), by="code")

        counts = (*SSLOptions.counts, "projector", "queue")
        shares = (*SSLOptions.shares, "momentum", "last_momentum")
        positive = ("temperature",)

    def __init__(self, config: MoCo.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        width = config.projector[-1]
        if config.normed:
            self.projector = heads.projector(self.encoder.width, config.projector, last_norm=True)
        else:
            self.projector = mlp((self.encoder.width, *config.projector))
        self.predictor: nn.Module = nn.Identity()
        if config.hidden:
            self.predictor = heads.projector(width, (config.hidden, width), last_norm=config.normed)
        self.teacher = self.taught()
        if config.negatives == "queue":
            self.queue = heads.Queue(config.queue, width)

    def transformer(self) -> Transformer:
        return replace(super().transformer(), frozen_patches=self.config.stable)

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.projector])

    def moves(self) -> list[nn.Module]:
        return [*super().moves(), *([self.predictor] if self.config.hidden else [])]

    def stages(self) -> Sequence[Stage]:
        c = self.config
        update = self.update(after=self.remember if c.negatives == "queue" else None)
        return (Stage("pretrain", [update], c.budget, {"": self.stream()}, before=self.ahead),)

    def ahead(self, _batch: Batch, at: At) -> None:
        """The twin follows before it makes keys."""
        self.follow(self.config.momentum, self.config.last_momentum, at)

    def loss(self, batch: Batch, at: At) -> Terms:
        (x1, x2), t = batch["x"].unbind(1), self.config.temperature
        queued = self.config.negatives == "queue"
        encoder, projector = self.twin
        with together(at.world):
            queries = [self.predictor(self.behind(x)) for x in ((x1,) if queued else (x1, x2))]
            with torch.no_grad():
                keys = [projector(encoder(x)) for x in ((x2,) if queued else (x2, x1))]
        at.note(spread=spread_of(queries[0]))
        if queued:
            at.memo["keys"] = at.world.gather(functional.normalize(keys[0], dim=1))
            return {"contrast": against(queries[0], keys[0], self.queue.rows, t)}
        each = [2 * t * pairs(q, k, t, at.world) for q, k in zip(queries, keys, strict=True)]
        return {"contrast": each[0] + each[1]}

    def remember(self, at: At) -> None:
        """The keys of this step go into the queue."""
        self.queue.push(at.memo["keys"])


class NNCLR(Objective["NNCLR.Config"]):
    """The nearest of earlier embeddings takes the place of a view (Dwibedi et al., 2021, eq. 5).

    1. z = projector(f(x)), p = predictor(z) of two views. 2. Replace z1 by its nearest neighbour in a queue of earlier
    embeddings. 3. Minimise the cross-entropy of finding p2 by it among all of the batch, and the same exchanged.
    """

    card = Card(
        number=44,
        name="nnclr",
        title="With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations",
        paper="arXiv:2104.14548",
        year=2021,
        modality=("image",),
        family="contrastive",
        summary="Contrast in which the nearest of earlier embeddings takes the place of one view.",
        claim="A linear probe and nearest neighbours read more from it than from the untrained network.",
        example="digits",
    )
    presets = {
        "quick": {**QUICK, "projector": (256, 64), "hidden": 256, "queue": 1024},
        "tiny": {**TINY, "projector": (12, 8), "hidden": 12, "queue": 20},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of NNCLR.

        Attributes:
            projector: Width of each layer of the projector.
            hidden: Width of the predictor's hidden layer.
            temperature: t.
            queue: Earlier embeddings among which neighbours are looked for.
            neighbours: Whether they are; without, it is contrast with a predictor.
        """

        backbone: Backbone = told("resnet50", by="paper")
        width: int = told(64, by="paper")
        batch: int = told(4096, by="paper")
        epochs: float = told(1000, by="paper")
        projector: tuple[int, ...] = told((2048, 2048, 256), by="paper")
        hidden: int = told(4096, by="paper")
        temperature: float = told(0.1, by="paper")
        queue: int = told(98304, by="paper")
        neighbours: bool = told(True, by="paper")
        optim: Optim = told(adamw(5e-4, 0.05), by="ours")

        counts = (*SSLOptions.counts, "projector", "hidden", "queue")
        positive = ("temperature",)

    def __init__(self, config: NNCLR.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.projector = heads.projector(self.encoder.width, config.projector, last_norm=True)
        self.predictor = heads.predictor(config.projector[-1], config.hidden)
        self.queue = heads.Queue(config.queue, config.projector[-1])

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.projector, self.predictor])

    def stages(self) -> Sequence[Stage]:
        update = self.update(after=lambda at: self.queue.push(at.memo["z"]))
        return (Stage("pretrain", [update], self.config.budget, {"": self.stream()}),)

    def loss(self, batch: Batch, at: At) -> Terms:
        with together(at.world):
            z = [self.behind(x) for x in batch["x"].unbind(1)]
            p = [self.predictor(one) for one in z]
        at.note(spread=spread_of(z[0]))
        at.memo["z"] = at.world.gather(functional.normalize(z[0].detach(), dim=1))
        near = [self.nearest(one) if self.config.neighbours else one for one in z]
        each = [pairs(n, other, self.config.temperature, at.world) for n, other in zip(near, reversed(p), strict=True)]
        return {"contrast": (each[0] + each[1]) / 2}

    @torch.no_grad()
    def nearest(self, z: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """The row of the queue nearest to each."""
        rows: Tensor = self.queue.rows
        return rows[(functional.normalize(z, dim=1) @ rows.mT).argmax(1)]
