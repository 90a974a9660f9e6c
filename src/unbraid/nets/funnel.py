"""Convolutions that narrow an image to a vector, and back, as wide as the vector."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field

_NARROW = 4
"""Times that height and width are halved, in two steps, before one kernel takes what is left."""


class FunnelEncoder(nn.Sequential):
    """Images -> numbers: two convolutions of stride 2, one over all that is left, two dense layers, a read-out.

    Args:
        field: An image, whose sides are multiples of four.
        width: Of the first convolution; the others are 2, 3, 2 and 2 times as wide.
        out: Numbers for an image.

    Source:
        Song et al., 2023, the encoder of their VAE.
    """

    def __init__(self, field: Field, width: int, out: int) -> None:
        widths, left = _plan(field, width)
        layers: list[nn.Module] = []
        for before, after, kernel, stride, padding in _layers(widths, left):
            layers += [nn.Conv2d(before, after, kernel, stride, padding), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(widths[-1], out))


class FunnelDecoder(nn.Module):
    """Numbers -> logits of images: the encoder backwards.

    Args:
        latents: Numbers in a code.
        field: An image, whose sides are multiples of four.
        width: As in `FunnelEncoder`.
    """

    def __init__(self, latents: int, field: Field, width: int) -> None:
        super().__init__()
        widths, left = _plan(field, width)
        layers: list[nn.Module] = [nn.Linear(latents, widths[-1]), nn.Unflatten(1, (widths[-1], 1, 1))]
        for after, before, kernel, stride, padding in reversed(_layers(widths, left)):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, kernel, stride, padding)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch c h w"]:
        """The logits."""
        out: Tensor = self.layers(z)
        return out


def _plan(field: Field, width: int) -> tuple[list[int], tuple[int, int]]:
    """Channels of the maps, and the kernel that takes what is left."""
    if len(field.shape) != 3 or any(side % _NARROW for side in field.shape[1:]):
        expected, fix = "images whose sides are multiples of 4", "use another network, or resize them"
        raise DataError(expected, got=f"items of shape {field.shape}", fix=fix, where="field 'x'")
    channels, height, wide = field.shape
    return [channels, *(factor * width for factor in (1, 2, 3, 2, 2))], (height // _NARROW, wide // _NARROW)


def _layers(widths: Sequence[int], left: tuple[int, int]) -> list[tuple[int, int, int | tuple[int, int], int, int]]:
    """Channels before and after, kernel, stride and padding of each convolution."""
    kernels: list[tuple[int | tuple[int, int], int, int]] = [(4, 2, 1), (4, 2, 1), (left, 1, 0), (1, 1, 0), (1, 1, 0)]
    return [(a, b, *how) for (a, b), how in zip(pairwise(widths), kernels, strict=True)]
