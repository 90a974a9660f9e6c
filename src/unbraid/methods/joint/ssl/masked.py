"""Masked modelling: what was hidden of an image is told from the rest, as pixels, as tokens, as features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unbraid.core.card import told
from unbraid.core.errors import ConfigError
from unbraid.core.method import At, Source, Stream
from unbraid.core.outcome import Findings
from unbraid.methods.joint.embedding import WEAK, spaced
from unbraid.methods.joint.ssl.base import SEEN, Objective, SSLOptions, joined
from unbraid.nets.backbones import Transformer
from unbraid.nets.vit import Positions, image_of, patches_of
from unbraid.views.mask import block_masks


@dataclass(frozen=True)
class MaskedOptions(SSLOptions):
    """The choices that every masked model has."""

    batch: int = told(2048, by="code")
    epochs: float = told(800, by="code")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone != "vit":
            raise ConfigError("a transformer, backbone=vit", got=self.backbone, where="backbone")


C = TypeVar("C", bound=MaskedOptions)


class Masked(Objective[C]):
    """What masked models share: one view that changes little, and a transformer that does without some patches."""

    reads: ClassVar[Literal["cls", "mean"]] = "mean"
    positions: ClassVar[Positions] = "columns"
    hides: ClassVar[bool] = True

    def transformer(self) -> Transformer:
        return replace(super().transformer(), read=self.reads, positions=self.positions, hides=self.hides)

    def stream(self) -> Stream:
        """One view; the masks are the task."""
        return Stream(self.config.batch, views=WEAK[self.config.views])

    def online(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder])

    def behind(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d"]:
        seen: Tensor = self.encoder(x)
        return seen

    def blocks(self, count: int, ratio: float, least: int, at: At) -> Bool[Tensor, "batch h w"]:
        """Masks of blocks over about a share of the patches."""
        rows, columns = self.encoder.vit.grid
        return block_masks(torch.full((count,), int(ratio * rows * columns)), (rows, columns), at, least)


class Pixels(Masked[C]):
    """A masked model that tells pixels, so that it can be held against the mean image."""

    def target(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch patches pixels"]:
        """The pixels of each patch as the model should tell them."""
        return patches_of(self.encoder.net.standard(x), self.config.patch)

    def fill(
        self, x: Float[Tensor, "batch c h w"], at: At
    ) -> tuple[Float[Tensor, "batch patches pixels"], Bool[Tensor, "batch patches"]]:
        """What the model tells of images of which it sees a part, and which patches it does not see."""
        raise NotImplementedError

    def picture(self, patches: Float[Tensor, "batch patches pixels"]) -> Float[Tensor, "batch c h w"]:
        """Images in [0, 1] from patches as the model tells them."""
        return self.encoder.net.back(image_of(patches, self.encoder.vit.grid, self.config.patch))

    def mean(self, data: Source) -> Float[Tensor, "patches pixels"]:
        """The mean target over some items."""
        rows = spaced(len(data), SEEN)
        return torch.cat(self._over(data, rows, lambda x, _: self.target(x).sum(0, keepdim=True))).sum(0) / len(rows)

    def errors(self, data: Source, mean: Float[Tensor, "patches pixels"]) -> Findings:
        """The mean squared error at patches that are not seen, by the model and by always telling a mean."""

        def both(x: Tensor, at: At) -> Tensor:
            (told, mask), target = self.fill(x, at), self.target(x)
            each = [((guess - target).square().mean(2) * mask).sum() for guess in (told, mean)]
            return torch.stack([*each, mask.sum()])[None]

        ours, theirs, count = torch.cat(self._over(data, spaced(len(data), SEEN), both)).sum(0).tolist()
        numbers = {
            "error at hidden patches": ours / count,
            "error of the mean image": theirs / count,
            "error relative to the mean image": ours / max(theirs, 1e-12),
        }
        return Findings(numbers, units={"error relative to the mean image": "0 to 1 and worse"})

    def examine(self, data: Source) -> Findings:
        """The standard evaluation, and how well hidden patches are told."""
        return joined(super().examine(data), self.errors(data, self.mean(data)))
