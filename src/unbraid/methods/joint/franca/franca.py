"""Franca: a student and its twin agree on clusters at several widths, hidden patches included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Clip, Group, Optim, Source, Stage, Stream, Terms
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.distil import across_views, entropy, of_masked
from unbraid.losses.koleo import koleo
from unbraid.methods.joint.embedding import classes_of, grown, spaced
from unbraid.methods.joint.ssl.base import QUICK, SEEN, TINY, Objective, SSLOptions, adamw, crops_of, joined, spread_of
from unbraid.metrics.recognition import recognition
from unbraid.nets.backbones import Transformer
from unbraid.nets.matryoshka import MatryoshkaHead, Nested
from unbraid.nets.norm import together
from unbraid.nets.vit import Tokens
from unbraid.ops.transport import sinkhorn
from unbraid.training.schedules import between
from unbraid.views.mask import inverse_block_masks, spaced_ratios

Levels = list[Tensor]
"""Scores or assignments (B, K_i) of every level, coarse to fine."""


def _adamw(lr: float) -> Optim:
    """AdamW for 1,024 items, grown with the root of the batch; the first layer moves at a fifth of the rate."""
    rest = adamw(lr, 0.04, 0.2, clip=Clip("norm", 3.0))
    first = Group(r"(^|\.)embed\.", lr=0.2 * lr, clip=rest.clip)
    return replace(rest, groups=(replace(first, dims=1, weight_decay=0.0), first, *rest.groups))


class Franca(Objective["Franca.Config"]):
    """Clusters at several widths, told from other views and at hidden patches (Venkataramanan et al., 2025).

    1. The twin sees two large views, the student these with blocks of patches hidden, and small ones. 2. At each of
    several widths a head of its own scores prototypes, for the class token and, by other heads, for hidden patches.
    3. The twin's scores become assignments that use all prototypes alike (Sinkhorn and Knopp). 4. Minimise the
    cross-entropy of these with the student's softmax, of each view with every other, and at hidden patches; and keep
    class tokens apart (KoLeo). 5. The twin follows.

    Differs from the authors' code: patches that only fill up a batch take no part in the assignments, and the nearest
    neighbour of KoLeo is sought among the items of all processes.

    Source:
        valeoai/Franca, train/ssl_meta_arch.py, layers/mrl_dino_head.py, data/masking.py.
    """

    card = Card(
        number=18,
        name="franca",
        title="Franca: Nested Matryoshka Clustering for Scalable Visual Representation Learning",
        paper="arXiv:2507.14137",
        year=2025,
        modality=("image",),
        family="self-distillation",
        summary="An encoder that agrees with its twin on coarse and fine clusters, of images and of hidden patches.",
        claim="Every level uses its prototypes alike; masks that are rolled hide every place as often.",
        example="digits",
    )
    presets = {
        "giant": {
            "width": 1536,
            "depth": 40,
            "heads": 24,
            "drop_path": 0.4,
            "epochs": 500.0,
            "steps": 625_000,
            "warmup": 80.0,
            "global_scale": (0.45, 1.0),
            "local_scale": (0.05, 0.45),
            "optim": _adamw(2e-4),
        },
        "quick": {
            **QUICK,
            "prototypes": 256,
            "hidden": 256,
            "bottleneck": 64,
            "std": 0.1,
            "local": 2,
            "momentum": 0.99,
            "warmup": 60.0,
            "optim": _adamw(3e-3),
        },
        "tiny": {
            **TINY,
            "prototypes": 16,
            "hidden": 8,
            "bottleneck": 8,
            "std": 0.3,
            "local": 2,
            "levels": (0.25, 0.5, 1.0),
        },
    }

    @dataclass(frozen=True)
    class Config(SSLOptions):
        """Options of Franca.

        Attributes:
            epochs: How long a training is, in the units of `warmup`, `sharpen` and `freeze`.
            prototypes: Clusters of the widest level; others have as many for each number that they see.
            levels: Share of the embedding's numbers that each sees, coarse to fine.
            nested: Whether a level sees the first numbers ("prefix") or a linear map of all ("projection").
            hidden: Width of the heads' hidden layers.
            bottleneck: Width of what is compared with prototypes.
            std: Of the heads' weights at the start; in narrow ones 0.02 leaves all scores alike.
            local: Small views, which only the student sees.
            global_scale: Shares of the area that large views show.
            local_scale: And small ones.
            momentum: Share of the twin that is kept at each step, at the start; 1 at the end, on half a cosine.
            temperature: Of the student.
            teacher_temperature: Of the twin, at the start and from `sharpen` on.
            sharpen: Epochs in which it rises.
            iterations: Of Sinkhorn and Knopp; 0 for a plain softmax.
            freeze: Epochs in which prototypes do not move.
            mask: Between which shares of the patches are hidden.
            masked: Share of the large views in which some are.
            roll: Whether masks are moved round both axes by chance.
            patches: Weight of the hidden patches.
            apart: Weight of KoLeo.
        """

        width: int = told(768, by="code")
        heads: int = told(12, by="code")
        patch: int = told(14, by="code")
        batch: int = told(2048, by="code")
        epochs: float = told(800, by="code")
        steps: int | None = told(1_000_000, by="code")
        warmup: float = told(128, by="code")
        drop_path: float = told(0.1, by="code")
        prototypes: int = told(131072, by="code")
        levels: tuple[float, ...] = told((1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), by="code")
        nested: Nested = told("projection", by="code")
        hidden: int = told(2048, by="code")
        bottleneck: int = told(384, by="code")
        std: float = told(0.02, by="code")
        local: int = told(8, by="code")
        global_scale: tuple[float, float] = told((0.32, 1.0), by="code")
        local_scale: tuple[float, float] = told((0.05, 0.32), by="code")
        momentum: float = told(0.994, by="code")
        temperature: float = told(0.1, by="code")
        teacher_temperature: tuple[float, float] = told((0.04, 0.07), by="code")
        sharpen: float = told(30, by="code")
        iterations: int = told(3, by="code")
        freeze: float = told(1, by="code")
        mask: tuple[float, float] = told((0.1, 0.65), by="code")
        masked: float = told(0.5, by="code")
        roll: bool = told(True, by="paper")
        patches: float = told(1.0, by="code")
        apart: float = told(0.1, by="code")
        optim: Optim = told(_adamw(7.01e-4), by="code")

        counts = (*SSLOptions.counts, "prototypes", "hidden", "bottleneck")
        shares = (*SSLOptions.shares, "momentum", "masked")
        positive = ("temperature", "sharpen", "std")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.backbone != "vit":
                raise ConfigError("a transformer, backbone=vit", got=self.backbone, where="backbone")
            for name in ("local", "freeze", "iterations", "patches", "apart"):
                if getattr(self, name) < 0:
                    raise ConfigError("a number of at least 0", got=str(getattr(self, name)), where=name)
            if not 0 <= self.mask[0] <= self.mask[1] < 1:
                raise ConfigError("two shares from 0 to below 1, the lower first", got=str(self.mask), where="mask")
            if min(self.teacher_temperature) <= 0:
                raise ConfigError("above 0", got=str(self.teacher_temperature), where="teacher_temperature")
            if not self.levels or not all(0 < share <= 1 for share in self.levels):
                raise ConfigError("shares above 0 and at most 1", got=str(self.levels), where="levels")

        @property
        def moving(self) -> Optim:
            """The optimiser for this batch, with its warm-up."""
            schedule = replace(self.optim.schedule, share=min(1.0, self.warmup / self.epochs))
            return grown(replace(self.optim, schedule=schedule), math.sqrt(self.batch / 1024))

    def __init__(self, config: Franca.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.head, self.patch_head = self.new_head(), self.new_head()
        self.teacher = self.taught()

    def new_head(self) -> MatryoshkaHead:
        """Prototypes at all levels."""
        c = self.config
        return MatryoshkaHead(c.width, c.prototypes, c.levels, c.hidden, c.bottleneck, nested=c.nested, std=c.std)

    def transformer(self) -> Transformer:
        return replace(super().transformer(), positions="learned", hides=True)

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.head, self.patch_head])

    def parts(self) -> tuple[PartSpec, ...]:
        """Those of the encoder, and the likelihood of each prototype at each level."""
        levels = (PartSpec(f"level_{i}", "vec", (k,), of="cls") for i, k in enumerate(self.head.counts))
        return (*super().parts(), *levels)

    def encode(self, batch: Batch) -> Parts:
        said = (scores.div(self.config.temperature).softmax(1) for scores in self.told(batch["x"]))
        return Parts({**super().encode(batch), **{f"level_{i}": p for i, p in enumerate(said)}})

    def told(self, x: Float[Tensor, "batch c h w"]) -> Levels:
        """The twin's scores of images."""
        encoder, head = self.twin
        scores: Levels = head(encoder(x))
        return scores

    def behind(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d"]:
        """The student's scores at the finest level."""
        finest: Tensor = self.head(self.encoder(x))[-1]
        return finest

    # --------------------------------------------------------------------------------------------------- training

    def stream(self) -> Stream:
        return self.cropped(self.config.local, self.config.global_scale, self.config.local_scale)

    def stages(self) -> Sequence[Stage]:
        return (Stage("pretrain", [self.update(after=self.after)], self.config.budget, {"": self.stream()}),)

    def epoch(self, at: At) -> float:
        """How far training is, in the units of the schedules."""
        return at.progress * self.config.epochs

    def loss(self, batch: Batch, at: At) -> Terms:
        c, views = self.config, batch["x"].unbind(1)
        x, count, frozen = torch.cat(views), len(views), self.epoch(at) < c.freeze
        masks = self.masks(len(views[0]), count, at).flatten(1)
        encoder, head = self.twin
        with together(at.world):
            seen: Tokens = self.encoder.tokens(x, masked=masks.view(len(x), *self.encoder.vit.grid))
            large = self.head(seen.cls, frozen=frozen)
            hidden = self.patch_head(seen.patches[masks], frozen=frozen)
            small = [self.head(self.encoder(crop), frozen=frozen) for crop in crops_of(batch)]
            with torch.no_grad():
                whole: Tokens = encoder.tokens(x)
                targets = self.assigned(head(whole.cls), at)
                of_patches = self.assigned(self.patch_twin(whole.patches[masks]), at)
        at.note(spread=spread_of(seen.cls), use=self.use(targets, at))
        student = [[*level.chunk(count), *(s[i] for s in small)] for i, level in enumerate(large)]
        agree = [across_views(t.chunk(count), s, c.temperature) for t, s in zip(targets, student, strict=True)]
        told = [of_masked(t, s, masks, c.temperature) for t, s in zip(of_patches, hidden, strict=True)]
        return {
            "views": torch.stack(agree).sum(0),
            "patches": (c.patches, torch.stack(told).sum(0)),
            "apart": (c.apart, torch.stack([koleo(z, at.world) for z in seen.cls.chunk(count)]).sum(0)),
        }

    @property
    def patch_twin(self) -> nn.Module:
        """The twin's head for patches."""
        twin: Any = self.teacher.twin
        head: nn.Module = twin[2]
        return head

    def assigned(self, scores: Levels, at: At) -> Levels:
        """Scores as assignments that use the prototypes of a level alike, over the items of all processes."""
        temperature = between(*self.config.teacher_temperature, self.epoch(at) / self.config.sharpen, "linear")
        return [sinkhorn(s, temperature, self.config.iterations, at.world) for s in scores]

    def use(self, targets: Levels, at: At) -> Tensor:
        """How many prototypes of the level that uses fewest are in use, as a share of the largest entropy."""
        shares = [entropy(at.world.mean(t.mean(0))) / math.log(t.shape[1]) for t in targets]
        return torch.stack(shares).min()

    def masks(self, count: int, views: int, at: At) -> Bool[Tensor, "rows h w"]:
        """What the student does not see, all first views and then all second ones."""
        c, (height, width) = self.config, self.encoder.vit.grid
        total, each = count * at.world.size, []
        for _ in range(views):
            mine = at.permutation(total)[at.world.rank * count :][:count]
            amount = (spaced_ratios(mine, total, at, *c.mask, c.masked) * (height * width)).long()
            each.append(inverse_block_masks(amount, (height, width), at, roll=c.roll))
        return torch.cat(each)

    @torch.no_grad()
    def after(self, at: At) -> None:
        """The twin follows the student."""
        self.follow(self.config.momentum, 1.0, at)

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """The standard evaluation; of every level, how many prototypes are in use; of its numbers, how far they do."""
        rows = spaced(len(data), SEEN)
        told = self._over(data, rows, lambda x, _: torch.cat(self.told(x), 1))
        levels = torch.split(torch.cat(told), self.head.counts, 1)
        numbers: dict[str, float] = {}
        for i, scores in enumerate(levels):
            most = math.log(scores.shape[1])
            assigned = sinkhorn(scores, self.config.teacher_temperature[1], self.config.iterations)
            numbers[f"use of prototypes at level {i}"] = float(entropy(assigned.mean(0))) / most
            numbers[f"prototypes in use at level {i}"] = len(torch.unique(assigned.argmax(1))) / scores.shape[1]
        numbers["least use of prototypes"] = min(numbers[f"use of prototypes at level {i}"] for i in range(len(levels)))
        return joined(super().examine(data), Findings({**numbers, **self._nested(data, rows)}))

    def _nested(self, data: Source, rows: Tensor) -> dict[str, float]:
        """How many classes the neighbours tell by the first quarter, and the first half, of the class token."""
        codes = self._codes(data, rows)
        folds = np.random.default_rng(0).permutation(len(rows)) % 5
        return {
            f"neighbours of {name} by the first {word}": recognition(codes[:, :first], labels, folds).neighbours
            for word, first in (("quarter", codes.shape[1] // 4), ("half", codes.shape[1] // 2))
            for name, labels in classes_of(data, rows).items()
        }
