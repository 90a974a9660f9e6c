"""Self-distillation: a student learns what its slowly following twin says of other views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Clip, Optim, Source, Stage, Stream, Terms
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.distil import across_views, entropy, masked_patches, relational
from unbraid.methods.joint.embedding import VIEWS, WEAK, spaced
from unbraid.methods.joint.ssl.base import (
    QUICK,
    SEEN,
    TINY,
    Objective,
    SSLOptions,
    adamw,
    crops_of,
    joined,
    spread_of,
    usage,
)
from unbraid.nets import heads
from unbraid.nets.backbones import Backbone, Encoder, Transformer
from unbraid.nets.norm import together
from unbraid.nets.vit import Tokens
from unbraid.training.schedules import between
from unbraid.views.mask import block_masks, some_ratios
from unbraid.views.view import Chance, two_views


class ReSSL(Objective["ReSSL.Config"]):
    """Two views are alike to the same earlier images (Zheng et al., 2021, eq. 6).

    1. The twin embeds a weak view, the student a strong one. 2. Softmax over their cosines with a queue of earlier
    embeddings of the twin, sharper for the twin. 3. Minimise the cross-entropy of the two. 4. The twin follows.
    """

    card = Card(
        number=44,
        name="ressl",
        title="ReSSL: Relational Self-Supervised Learning with Weak Augmentation",
        paper="arXiv:2107.09282",
        year=2021,
        modality=("image",),
        family="self-distillation",
        summary="An encoder to which two views of an image are alike to the same earlier images.",
        claim="A linear probe and nearest neighbours read more from it than from the untrained network.",
        example="digits",
    )
    presets = {
        "quick": {**QUICK, "projector": (256, 64), "queue": 1024, "momentum": 0.99},
        "tiny": {**TINY, "projector": (12, 8), "queue": 20},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of ReSSL.

        Attributes:
            projector: Width of each layer of the projector.
            temperature: Of the student.
            teacher_temperature: Of the twin; below that of the student, so that it is sharper.
            momentum: Share of the twin that is kept at each step.
            queue: Earlier embeddings that both are compared with.
        """

        backbone: Backbone = told("resnet50", by="paper")
        width: int = told(64, by="paper")
        batch: int = told(256, by="paper")
        epochs: float = told(200, by="paper")
        warmup: float = told(5, by="paper")
        projector: tuple[int, ...] = told((4096, 512), by="paper")
        temperature: float = told(0.1, by="second")
        teacher_temperature: float = told(0.04, by="second")
        momentum: float = told(0.999, by="paper")
        queue: int = told(131072, by="paper")
        optim: Optim = told(adamw(5e-4, 0.05), by="ours")

        counts = (*SSLOptions.counts, "projector", "queue")
        shares = (*SSLOptions.shares, "momentum")
        positive = ("temperature", "teacher_temperature")

    def __init__(self, config: ReSSL.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.projector = heads.projector(self.encoder.width, config.projector, bias=True, last_bias=True)
        self.teacher = self.taught()
        self.queue = heads.Queue(config.queue, config.projector[-1])

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.projector])

    def two_views(self) -> Callable[[Tensor, Chance], Tensor]:
        """The strong view and the weak one."""
        return two_views(VIEWS[self.config.views][0], WEAK[self.config.views])

    def stages(self) -> Sequence[Stage]:
        return (Stage("pretrain", [self.update(after=self.after)], self.config.budget, {"": self.stream()}),)

    def loss(self, batch: Batch, at: At) -> Terms:
        c, (strong, weak) = self.config, batch["x"].unbind(1)
        encoder, projector = self.twin
        with together(at.world):
            q = self.behind(strong)
            with torch.no_grad():
                k = projector(encoder(weak))
        at.note(spread=spread_of(q))
        at.memo["keys"] = at.world.gather(functional.normalize(k, dim=1))
        return {"relations": relational(q, k, self.queue.rows, c.temperature, c.teacher_temperature)}

    def after(self, at: At) -> None:
        """The twin follows; the keys of this step go into the queue."""
        self.follow(self.config.momentum, self.config.momentum, at)
        self.queue.push(at.memo["keys"])


class DINO(Objective["DINO.Config"]):
    """A student agrees with its centred, sharpened twin across views (Caron et al., 2021, algorithm 1).

    1. The twin sees two large views, the student these and small ones; each gives logits over prototypes. 2. Take the
    running mean out of the twin's and divide by a low temperature. 3. Minimise the cross-entropy of each twin's
    softmax with the student's of every other view. 4. The twin follows the student, the mean the twin's raw logits.
    As `ibot`, the student does not see some blocks of patches, and learns by the same head what the twin says of them.

    Source:
        facebookresearch/dino and bytedance/ibot, main_ibot.py.
    """

    card = Card(
        number=44,
        name="dino",
        title="Emerging Properties in Self-Supervised Vision Transformers",
        paper="arXiv:2104.14294",
        year=2021,
        modality=("image",),
        family="self-distillation",
        summary="An encoder that agrees with its slowly following twin on soft classes that nobody named.",
        claim="With centring the twin keeps many classes in use, without it few; sharpening makes it surer.",
        example="digits",
    )
    aliases = {
        "ibot": {
            "patches": True,
            "prototypes": 8192,
            "global_scale": (0.25, 1.0),
            "local_scale": (0.05, 0.25),
            "epochs": 800.0,
        }
    }
    about = {"ibot": "DINO that also tells what its twin says of patches it does not see."}
    presets = {
        "quick": {
            **QUICK,
            "prototypes": 256,
            "hidden": 256,
            "bottleneck": 64,
            "local": 2,
            "momentum": 0.99,
            "freeze": 0.5,
            "sharpen": 10.0,
            "optim": adamw(2e-3, 0.04, 0.4, clip=Clip("each", 3.0)),
        },
        "tiny": {**TINY, "prototypes": 12, "hidden": 8, "bottleneck": 8, "local": 2, "freeze": 0.5, "sharpen": 1.0},
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of DINO and iBOT.

        Attributes:
            prototypes: Classes that student and twin distinguish.
            hidden: Width of the head's hidden layers.
            bottleneck: Width of what is compared with prototypes.
            local: Small views, which only the student sees.
            global_scale: Shares of the area that large views show.
            local_scale: And small ones.
            momentum: Share of the twin that is kept at each step, at the start; 1 at the end, on half a cosine.
            temperature: Of the student.
            teacher_temperature: Of the twin, at the start and from `sharpen` on.
            sharpen: Epochs in which it rises.
            centre: Share of the running mean that is kept at each step.
            centred: Whether it is taken out.
            freeze: Epochs in which prototypes do not move.
            patches: Whether patches are masked and told, as in iBOT.
            patch_temperature: The twin's for patches, at the start and from `sharpen` on.
            mask: The middle of the share of patches that are masked in half of the views, and how far it goes to
                either side.
        """

        warmup: float = told(10, by="code")
        epochs: float = told(800, by="code")
        drop_path: float = told(0.1, by="code")
        prototypes: int = told(65536, by="code")
        hidden: int = told(2048, by="code")
        bottleneck: int = told(256, by="code")
        local: int = told(10, by="code")
        global_scale: tuple[float, float] = told((0.4, 1.0), by="code")
        local_scale: tuple[float, float] = told((0.05, 0.4), by="code")
        momentum: float = told(0.996, by="code")
        temperature: float = told(0.1, by="code")
        teacher_temperature: tuple[float, float] = told((0.04, 0.07), by="code")
        sharpen: float = told(30, by="code")
        centre: float = told(0.9, by="code")
        centred: bool = told(True, by="paper")
        freeze: float = told(1, by="code")
        patches: bool = told(False, by="paper")
        patch_temperature: tuple[float, float] = told((0.04, 0.07), by="code")
        mask: tuple[float, float] = told((0.3, 0.2), by="code")
        optim: Optim = told(adamw(5e-4, 0.04, 0.4, clip=Clip("each", 3.0)), by="code")

        counts = (*SSLOptions.counts, "prototypes", "hidden", "bottleneck")
        shares = (*SSLOptions.shares, "momentum", "centre")
        positive = ("temperature", "sharpen")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.local < 0 or self.freeze < 0:
                got = f"{self.local} and {self.freeze:g}"
                raise ConfigError("numbers of at least 0", got=got, where="local and freeze")
            if self.patches and self.backbone != "vit":
                raise ConfigError("a transformer, backbone=vit", got=self.backbone, where="patches")
            if min(*self.teacher_temperature, *self.patch_temperature) <= 0:
                raise ConfigError("temperatures above 0", got=str(self.teacher_temperature))

    def __init__(self, config: DINO.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        c = config
        self.head = heads.PrototypeHead(self.encoder.width, c.prototypes, c.hidden, c.bottleneck)
        self.teacher = self.taught()
        self.centre = heads.Centre(c.prototypes, c.centre)
        if c.patches:
            self.patch_centre = heads.Centre(c.prototypes, c.centre)

    def transformer(self) -> Transformer:
        return replace(super().transformer(), positions="learned", hides=self.config.patches)

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.head])

    def parts(self) -> tuple[PartSpec, ...]:
        """Those of the encoder, and what the twin says of the image."""
        return (*super().parts(), PartSpec("prototypes", "vec", (self.config.prototypes,), of="cls"))

    def encode(self, batch: Batch) -> Parts:
        return Parts({**super().encode(batch), "prototypes": self.belongs(batch["x"])})

    def belongs(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch k"]:
        """What the twin says of images."""
        encoder, head = self.twin
        said: Tensor = self.centre(head(encoder(x)), self.config.teacher_temperature[1])
        return said

    def stream(self) -> Stream:
        return self.cropped(self.config.local, self.config.global_scale, self.config.local_scale)

    # --------------------------------------------------------------------------------------------------- training

    def stages(self) -> Sequence[Stage]:
        return (Stage("pretrain", [self.update(after=self.after)], self.config.budget, {"": self.stream()}),)

    def temperature(self, ends: tuple[float, float], at: At) -> float:
        """The twin's temperature at this step."""
        return between(*ends, at.epoch / self.config.sharpen, "linear")

    def loss(self, batch: Batch, at: At) -> Terms:
        c, views = self.config, batch["x"].unbind(1)
        frozen, count = at.epoch < c.freeze, len(views)
        masks = self.masks(batch["x"], at)
        with together(at.world):
            large, seen = self.tell(self.encoder, self.head, torch.cat(views), masks, frozen=frozen)
            small = [self.head(self.encoder(x), frozen=frozen) for x in crops_of(batch)]
            with torch.no_grad():
                raw, hidden = self.tell(*self.twin, torch.cat(views))
        target = self.centre(raw, self.temperature(c.teacher_temperature, at))
        at.memo["mean"] = at.world.mean(raw.mean(0))
        self.gauge(target, at)
        terms: dict[str, Any] = {
            "views": across_views(target.chunk(count), [*large.chunk(count), *small], c.temperature)
        }
        if masks is not None and seen is not None and hidden is not None:
            of_patches = self.patch_centre(hidden, self.temperature(c.patch_temperature, at))
            at.memo["patch mean"] = at.world.mean(hidden.mean((0, 1)))
            terms["patches"] = masked_patches(of_patches, seen, masks.flatten(1), c.temperature)
        return terms

    def tell(
        self,
        encoder: Encoder,
        head: nn.Module,
        x: Float[Tensor, "batch c h w"],
        masks: Bool[Tensor, "batch h w"] | None = None,
        *,
        frozen: bool = False,
    ) -> tuple[Float[Tensor, "batch k"], Float[Tensor, "batch patches k"] | None]:
        """The logits of images and, where patches are told, of their patches."""
        if not self.config.patches:
            return head(encoder(x), frozen=frozen), None
        tokens: Tokens = encoder.tokens(x, masked=masks)
        both = head(torch.cat([encoder.read(tokens)[:, None], tokens.patches], 1), frozen=frozen)
        return both[:, 0], both[:, 1:]

    def masks(self, x: Float[Tensor, "batch views c h w"], at: At) -> Bool[Tensor, "rows h w"] | None:
        """What the student does not see, all first views and then all second ones, or None."""
        if not self.config.patches:
            return None
        grid = self.encoder.vit.grid
        each = []
        for _ in range(x.shape[1]):
            amount = (some_ratios(len(x), at, *self.config.mask) * (grid[0] * grid[1])).long()
            each.append(block_masks(amount, grid, at, least=(min(grid) // 3) ** 2))
        return torch.cat(each)

    def gauge(self, target: Float[Tensor, "batch k"], at: At) -> None:
        """How sure the twin is, and how many prototypes it uses, as shares of the largest entropy."""
        most = torch.log(target.new_tensor(float(target.shape[1])))
        at.note(doubt=entropy(target).mean() / most, use=entropy(at.world.mean(target.mean(0))) / most)

    @torch.no_grad()
    def after(self, at: At) -> None:
        """The twin follows the student, the running means the twin's raw logits."""
        self.follow(self.config.momentum, 1.0, at)
        if self.config.centred:
            self.centre.follow(at.memo["mean"])
            if self.config.patches:
                self.patch_centre.follow(at.memo["patch mean"])

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and how sure the twin is of its classes and how many it uses."""
        said = self._over(data, spaced(len(data), SEEN), lambda x, _: self.belongs(x))
        return joined(super().examine(data), usage(torch.cat(said)))
