"""What the objectives of this package share: the encoder's tokens as parts, a teacher, how everything moves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.card import told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch
from unbraid.core.method import At, Clip, Group, Optim, Schedule, Source, Stage, Stream, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.distil import entropy
from unbraid.methods.joint.embedding import JointEmbedding, Options, Seen, grown, large_views, small_view, spaced
from unbraid.metrics.gauges import effective_rank, mean_cosine
from unbraid.nets.backbones import Backbone, Encoder, Transformer
from unbraid.nets.vit import DropPath
from unbraid.training.ema import EMA
from unbraid.training.schedules import between
from unbraid.views.image import Range
from unbraid.views.view import MultiCrop

SEEN = 2000
"""Items whose embeddings an examination looks at."""

TINY: Mapping[str, Any] = MappingProxyType(
    {
        "backbone": "vit",
        "width": 8,
        "patch": 4,
        "depth": 1,
        "heads": 2,
        "views": "written",
        "batch": 16,
        "steps": 4,
        "drop_path": 0.0,
        "optim.lr": 1e-2,
    }
)
"""A preset that takes a moment; methods add what they have besides."""

QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "backbone": "vit",
        "width": 64,
        "patch": 4,
        "depth": 4,
        "heads": 4,
        "views": "written",
        "batch": 128,
        "steps": 600,
        "drop_path": 0.0,
        "optim.lr": 2e-3,
    }
)
"""A preset of minutes, for images of 16 to 32 pixels."""


def adamw(
    lr: float,
    weight_decay: float,
    last_decay: float | None = None,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    clip: Clip | None = None,
) -> Optim:
    """AdamW on half a cosine; neither biases and norms nor places, class and mask tokens decay.

    Args:
        lr: For 256 items; grows with the batch.
        weight_decay: Of all other weights.
        last_decay: Where the decay ends, on half a cosine; it stays the same if None.
        betas: Of Adam's moments.
        clip: Of all gradients.
    """
    kept = (r"(^|\.)(positions|mask_token|cls)$", None), ("", 1)
    return Optim(
        "adamw",
        lr=lr,
        betas=betas,
        weight_decay=weight_decay,
        clip=clip,
        schedule=Schedule("cosine"),
        decay=Schedule() if last_decay is None else Schedule("cosine", final=last_decay / weight_decay),
        groups=tuple(Group(match, dims=dims, weight_decay=0.0, clip=clip) for match, dims in kept),
    )


@dataclass(frozen=True)
class SSLOptions(Options):
    """The choices that every objective of this package has.

    Attributes:
        backbone: The encoder; a transformer unless told otherwise.
        width: Numbers in a token, or channels after the stem of another network.
        warmup: Epochs in which the learning rate rises.
        drop_path: Probability of leaving out a branch of the student's last block.
        optim: How everything moves; rates are for 256 items and grow with the batch.
    """

    backbone: Backbone = told("vit", by="paper")
    width: int = told(384, by="paper")
    views: Seen = told("imagenet", by="code")
    batch: int = told(1024, by="code")
    epochs: float = told(300, by="code")
    warmup: float = told(10, by="code")
    drop_path: float = told(0.0, by="code")
    optim: Optim = told(adamw(5e-4, 0.04), by="code")

    shares: ClassVar[tuple[str, ...]] = ("drop_path",)
    positive: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup < 0:
            raise ConfigError("a number of epochs of at least 0", got=f"{self.warmup:g}", where="warmup")
        for name in self.shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError("a share between 0 and 1", got=str(getattr(self, name)), where=name)
        for name in self.positive:
            if getattr(self, name) <= 0:
                raise ConfigError("a number above 0", got=str(getattr(self, name)), where=name)

    @property
    def moving(self) -> Optim:
        """The optimiser for this batch, with its warm-up."""
        schedule = replace(self.optim.schedule, share=min(1.0, self.warmup / self.epochs))
        return grown(replace(self.optim, schedule=schedule), self.batch / 256)


C = TypeVar("C", bound=SSLOptions)


class Objective(JointEmbedding[C]):
    """An encoder that learns from images alone; subclasses say what from."""

    teacher: EMA

    def transformer(self) -> Transformer:
        """The shape of the encoder, where it is a transformer."""
        return replace(super().transformer(), drop_path=self.config.drop_path)

    def parts(self) -> tuple[PartSpec, ...]:
        """`cls`, what stands for the image, and `patches` where the encoder is a transformer."""
        whole = PartSpec("cls", "vec", (self.encoder.width,))
        if self.config.backbone != "vit":
            return (whole,)
        rows, columns = self.encoder.vit.grid
        return (whole, PartSpec("patches", "seq", (rows * columns, self.encoder.width)))

    def encode(self, batch: Batch) -> Parts:
        """The parts of each image."""
        if self.config.backbone != "vit":
            return Parts(cls=self.encoder(batch["x"]))
        tokens = self.encoder.tokens(batch["x"])
        return Parts(cls=self.encoder.read(tokens), patches=tokens.patches)

    # --------------------------------------------------------------------------------------------------- training

    def online(self) -> nn.ModuleList:
        """What a teacher follows: the encoder, then what stands between it and the loss."""
        raise NotImplementedError

    def moves(self) -> list[nn.Module]:
        """Everything that training moves."""
        return [*self.online()]

    def cropped(self, count: int, large: Range, small: Range) -> Stream:
        """Two large views and some small ones, which have 96 pixels for each 224 of the image.

        Args:
            count: Small views.
            large: Shares of the area that large views show.
            small: And small ones.
        """
        c, side = self.config, min(self.fields["x"].shape[1:])
        least = c.patch if c.backbone == "vit" else 1
        size = max(least, round(side * 96 / 224 / least) * least)
        return Stream(c.batch, views=MultiCrop(large_views(c.views, large), small_view(c.views, small, size), count))

    def taught(self) -> EMA:
        """A teacher that starts as a copy, normalises by the batch and leaves out no branch."""
        teacher = EMA(self.online(), 1.0, buffers="own", live=True)
        for module in teacher.modules():
            if isinstance(module, DropPath):
                module.rate = 0.0
        return teacher

    @property
    def twin(self) -> tuple[Encoder, nn.Module]:
        """The teacher's encoder and what stands behind it, if anything."""
        encoder, *behind = cast(nn.ModuleList, self.teacher.twin)
        return cast(Encoder, encoder), behind[0] if behind else nn.Identity()

    def follow(self, first: float, last: float, at: At) -> None:
        """Move the teacher, keeping a share of it that goes from one value to another in half a cosine."""
        self.teacher.follow(self.online(), between(first, last, at.progress))

    def stages(self) -> Sequence[Stage]:
        """One stage of one update."""
        return (Stage("pretrain", [self.update()], self.config.budget, {"": self.stream()}),)

    def update(self, **hooks: Any) -> Update:
        """The update that moves all."""
        return Update("online", self.loss, self.moves, self.config.moving, **hooks)

    def loss(self, batch: Batch, at: At) -> Any:
        """The terms of a batch."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------- evaluation

    def behind(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d"]:
        """What the first head makes of images: where collapse shows first."""
        encoder, head = self.online()[:2]
        seen: Tensor = head(encoder(x))
        return seen

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and the same signs of collapse where the objective looks."""
        found = super().examine(data)
        seen = torch.cat(self._over(data, spaced(len(data), SEEN), lambda x, _: self.behind(x)))
        codes = seen.cpu().numpy()
        numbers = {
            "effective rank behind the head": effective_rank(codes),
            "mean cosine there": mean_cosine(codes),
            "spread there": float(spread_of(seen)),
        }
        units = {"mean cosine there": "-1 to 1", "spread there": "0 collapsed, 1 healthy"}
        return joined(found, Findings(numbers, units=units))


def crops_of(batch: Batch) -> Sequence[Float[Tensor, "batch c h w"]]:
    """The small views of a batch."""
    return batch["crops"].unbind(1) if "crops" in batch else ()


def usage(said: Float[Tensor, "batch k"]) -> Findings:
    """How sure probabilities of prototypes are, and how many they use.

    >>> usage(torch.eye(4)).numbers
    {'doubt of prototypes': 0.0, 'use of prototypes': 1.0, 'prototypes in use': 1.0}
    """
    count = said.shape[1]
    most = torch.log(said.new_tensor(float(count)))
    numbers = {
        "doubt of prototypes": float(entropy(said).mean() / most),
        "use of prototypes": float(entropy(said.mean(0)) / most),
        "prototypes in use": len(torch.unique(said.argmax(1))) / count,
    }
    units = {
        "doubt of prototypes": "0 sure, 1 evenly spread",
        "use of prototypes": "0 always the same, 1 all alike",
        "prototypes in use": "share that is some image's likeliest",
    }
    return Findings(numbers, units=units)


def joined(one: Findings, other: Findings) -> Findings:
    """What both found."""
    return replace(one, numbers={**one.numbers, **other.numbers}, units={**one.units, **other.units})


def spread_of(z: Float[Tensor, "batch d"]) -> Float[Tensor, ""]:
    """Mean deviation of the units of normalised rows, in those of random directions: 0 where all point one way.

    >>> spread_of(torch.ones(8, 4)).item(), round(spread_of(torch.cat([torch.eye(4), -torch.eye(4)])).item(), 2)
    (0.0, 1.0)
    """
    z = functional.normalize(z.detach().float(), dim=1)
    return z.std(0, correction=0).mean() * math.sqrt(z.shape[1])
