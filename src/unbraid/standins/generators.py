"""Generators of pictures from codes, in the place of large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import DataError
from unbraid.core.fields import Batch, Field, Fields
from unbraid.data.dataset import Dataset
from unbraid.data.made.coded import CodeMap
from unbraid.data.made.heads import NAMES
from unbraid.data.order import key_of
from unbraid.data.origin import origin_of
from unbraid.losses.perceptual import pyramid_l1
from unbraid.nets.modulated import StyleGenerator
from unbraid.standins.learning import chance, descend


class CodedGenerator(nn.Module):
    """Codes -> the factors that they stand for, by the map that is known -> pictures, by a network.

    Args:
        field: Of the pictures (C, H, H).
        known: From codes to factors.
        widths: Channels of the network's maps, from the smallest on.

    Attributes:
        layers: How many codes a picture may have.
    """

    steep: Tensor

    def __init__(self, field: Field, known: CodeMap, widths: Sequence[int]) -> None:
        super().__init__()
        self.known = known
        self.net = StyleGenerator(len(known.names), field.shape[0], field.shape[1], widths)
        self.layers = self.net.layers
        steep = [4.0 if name == "glasses" else 1.0 for name in known.names]  # there or not, with little in between
        self.register_buffer("steep", torch.tensor(steep))

    def forward(self, codes: Float[Tensor, "batch *layers code"]) -> Float[Tensor, "batch channels size size"]:
        """One picture for each row of codes (B, D) or (B, layers, D)."""
        places = 2 * torch.special.ndtr(self.steep * self.known.scores(codes)) - 1
        made: Tensor = self.net(places)
        return made


@dataclass(frozen=True)
class Distilled:
    """A generator that has learned which picture belongs to a code of `coded-portraits`.

    It descends the squared error and the absolute error at three sizes. What a code means is known, the pictures are
    functions of it that can be differentiated, and nothing adversarial is needed. It is the same for every seed, as a
    checkpoint is.

    Attributes:
        widths: Channels of its maps, from the smallest on.
        steps: Of training.
        batch: Items per step.
        lr: Learning rate, which falls along a cosine.
    """

    widths: tuple[int, ...] = (64, 64, 48, 24)
    steps: int = 2000
    batch: int = 24
    lr: float = 4e-3

    seedless = True

    def fits(self, fields: Fields) -> bool:
        """Whether there are codes and pictures of heads."""
        known = fields["factors"].names if "factors" in fields else ("",)
        return "latent" in fields and len(fields["x"].shape) == 3 and set(known) <= set(NAMES)

    def shape(self, fields: Fields) -> CodedGenerator:
        """The network before training.

        Raises:
            DataError: The items are no pictures of heads with codes.
        """
        if not self.fits(fields):
            got = f"the fields {', '.join(fields)}"
            raise DataError("heads with the codes that they come from", got=got, fix="take coded-portraits")
        known = CodeMap(fields["latent"].shape[0], fields["factors"].names)
        return CodedGenerator(fields["x"], known, self.widths)

    def make(self, data: Dataset, seed: int) -> CodedGenerator:
        """The network, trained on the data or those that they come from."""
        source = origin_of(data) or data
        with chance("distilled"):
            net = self.shape(source.fields)

        def loss(batch: Batch) -> Tensor:
            made = net(batch["latent"])
            return functional.mse_loss(made, batch["x"]) + pyramid_l1(made, batch["x"]).mean()

        descend(net, source, loss, key_of("distilled"), steps=self.steps, batch=self.batch, lr=self.lr, cosine=True)
        return net


DISTILLED = Distilled()
