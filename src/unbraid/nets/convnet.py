"""The plain convolutional network on which sets of images are condensed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.norm import BatchNorm


class ConvNet(nn.Module):
    """Blocks of a 3 x 3 convolution, batch normalisation, ReLU and the mean of 2 x 2 positions; a linear head.

    Args:
        field: The observation, an image (C, H, W).
        widths: Channels of each block.
        out: Numbers that the head gives.

    Attributes:
        width: Numbers that the head reads.

    Raises:
        DataError: The observation is no image, or too small for so many blocks.

    >>> import torch
    >>> net = ConvNet(Field((1, 8, 8)), (4, 8), out=5)
    >>> net.width, net(torch.zeros(2, 1, 8, 8)).shape
    (32, torch.Size([2, 5]))
    """

    def __init__(self, field: Field, widths: Sequence[int], out: int) -> None:
        super().__init__()
        least = 2 ** len(widths)
        if len(field.shape) != 3 or min(field.shape[1:]) < least:
            fix = "use fewer blocks or larger images"
            got = f"items of shape {field.shape}"
            raise DataError(f"images of at least {least} x {least} pixels", got=got, fix=fix, where="field 'x'")
        channels, height, across = field.shape
        blocks = [_block(before, after) for before, after in pairwise((channels, *widths))]
        self.features = nn.Sequential(*blocks, nn.Flatten())
        self.width = widths[-1] * (height // least) * (across // least)
        self.head = nn.Linear(self.width, out)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch out"]:
        """What the head says."""
        out: Tensor = self.head(self.features(x))
        return out


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), BatchNorm(after), nn.ReLU(), nn.AvgPool2d(2))
