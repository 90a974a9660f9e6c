"""Small convolutional networks that tell something of an image: its factors, or who is in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import DataError
from unbraid.core.fields import Field

_WIDTHS = (32, 64, 128)


class Trunk(nn.Module):
    """Three convolutions of stride 2, each with group norm and a leaky activation.

    Args:
        field: Of the images (C, H, W).

    Raises:
        DataError: They are no images.
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        if len(field.shape) != 3 or min(field.shape[1:]) < 8:
            raise DataError("images (C, H, W) of 8 pixels or more", got=f"items of shape {field.shape}")
        channels, height, width = field.shape
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.LeakyReLU(0.2))
            for a, b in pairwise((channels, *_WIDTHS))
        )
        self.width = _WIDTHS[-1] * -(-height // 8) * -(-width // 8)

    def maps(self, x: Float[Tensor, "batch c h w"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """What each convolution says."""
        found = []
        for step in self.steps:
            x = step(x)
            found.append(x)
        return found

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """All numbers of the last map."""
        return self.maps(x)[-1].flatten(1)


class FactorProbe(nn.Module):
    """Images -> a number for each of some factors.

    Args:
        field: Of the images (C, H, W).
        names: What the numbers are.
        hidden: Width of the layer before them.

    >>> import torch
    >>> probe = FactorProbe(Field((3, 32, 32)), ("yaw", "smile"))
    >>> probe(torch.zeros(2, 3, 32, 32)).shape, [m.shape[1:] for m in probe.maps(torch.zeros(2, 3, 32, 32))][-1]
    (torch.Size([2, 2]), torch.Size([128, 4, 4]))
    """

    def __init__(self, field: Field, names: Sequence[str], hidden: int = 128) -> None:
        super().__init__()
        self.names = tuple(names)
        self.trunk = Trunk(field)
        self.read = nn.Sequential(
            nn.Linear(self.trunk.width, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, len(self.names))
        )

    def maps(self, x: Float[Tensor, "batch c h w"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """What each convolution says, for perceptual distances."""
        return self.trunk.maps(x)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch factors"]:
        """The numbers."""
        told: Tensor = self.read(self.trunk(x))
        return told


class UnitEncoder(nn.Module):
    """Images -> embeddings of length 1.

    Args:
        field: Of the images (C, H, W).
        out: Numbers in an embedding.
    """

    def __init__(self, field: Field, out: int = 64) -> None:
        super().__init__()
        self.trunk = Trunk(field)
        self.read = nn.Linear(self.trunk.width, out)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch out"]:
        """One embedding for each image; cosines are their products."""
        return functional.normalize(self.read(self.trunk(x)))
