"""How an observation enters networks and comes out of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.fields import Field
from unbraid.core.method import At, Source


class Observed(nn.Module):
    """How an observation enters the networks and comes out of them.

    Values in [0, 1] enter as they are and come out of a sigmoid. Others are standardised, vectors column by column,
    images and series channel by channel, with statistics of the training data.

    Args:
        field: What is observed.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.unit = field.unit
        self._area = math.prod(field.shape[1:])
        if not self.unit:
            shape = (field.shape[0], *[1] * (len(field.shape) - 1))
            self.register_buffer("mean", torch.zeros(shape))
            self.register_buffer("scale", torch.ones(shape))

    def forward(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch *item"]:
        """What the encoder reads."""
        return x if self.unit else (x - self.mean) / self.scale

    def restore(self, output: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch *item"]:
        """The observation that the decoder's output stands for."""
        return output.sigmoid() if self.unit else output * self.scale + self.mean

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """Take mean and standard deviation from the training data (at most 65,536 items, evenly spaced)."""
        train = sources["train"]
        chosen = torch.linspace(0, len(train) - 1, min(len(train), 65_536), dtype=torch.float64).long()

        def average(of: Callable[[Tensor], Tensor]) -> Tensor:
            batches = (train.take(rows, at.device)["x"].to(wide).double() for rows in torch.split(chosen, 4096))
            return sum((of(x).transpose(0, 1).flatten(1).sum(1) for x in batches), zero) / (len(chosen) * self._area)

        wide = torch.device("cpu") if at.device.type == "mps" else at.device  # mps has no float64
        zero = torch.zeros(len(self.mean), dtype=torch.float64, device=wide)
        mean = average(lambda x: x)
        std = average(lambda x: (x - mean.view_as(self.mean)).square()).sqrt()
        self.mean.copy_(mean.view_as(self.mean))
        self.scale.copy_(torch.where(std > 1e-6 * mean.abs(), std, 1.0).view_as(self.scale))
