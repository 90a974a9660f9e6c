"""The image encoder and the style decoder of latent quantisation (Hsu et al., 2023), for any square size.

Both are made of groups that halve (or double) the map. At 64 pixels there are four groups of widths 32, 64, 128, 256,
as published; smaller images leave out the innermost groups, larger ones repeat the last width. A group has three layers
(kernels 3, 3, 4; strides 1, 1, 2), or in the "small" variant only the one of stride 2 with twice the width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.nets.conv import depth_for
from unbraid.nets.mlp import mlp

Variant = Literal["style", "small"]


def style_widths(size: int, width: int, variant: Variant = "style") -> list[int]:
    """Widths of the groups, from the image inwards.

    >>> style_widths(64, 256), style_widths(64, 256, "small"), style_widths(32, 256)
    ([32, 64, 128, 256], [64, 128, 256, 512], [32, 64, 128])
    """
    factor = 2 if variant == "small" else 1
    return [max(1, factor * width * 2 ** min(i, 3) // 8) for i in range(depth_for(size))]


def floors(size: int) -> list[int]:
    """Sizes of the maps from the image to the smallest, each half of the one before, rounded down.

    >>> floors(64), floors(28)
    ([64, 32, 16, 8, 4], [28, 14, 7, 3])
    """
    return [size >> i for i in range(depth_for(size) + 1)]


class StyleEncoder(nn.Sequential):
    """Images -> numbers: convolutions without bias, each with instance norm and leaky ReLU, then three dense layers.

    Args:
        channels: Channels of the image.
        size: Height and width of the image.
        out: Numbers per image.
        width: Width of the innermost of four groups and of the dense layers.
        variant: "style" or "small".

    Source:
        latent_quantization, configs/encoder_partial/image.yaml (`width` 256, `size` 64).
    """

    def __init__(self, channels: int, size: int, out: int, width: int = 256, variant: Variant = "style") -> None:
        widths = style_widths(size, width, variant)
        layers: list[nn.Module] = []
        for before, after in pairwise([channels, *widths]):
            for a, b, kernel, stride in _group(before, after, variant):
                layers.append(nn.Conv2d(a, b, kernel, stride, padding=1, bias=False))
                layers += [nn.InstanceNorm2d(b, eps=1e-6, affine=True), nn.LeakyReLU(0.2)]
        smallest = floors(size)[-1]
        super().__init__(*layers, nn.Flatten(), *mlp((widths[-1] * smallest**2, width, width, out)))


class StyleDecoder(nn.Module):
    """Numbers -> images (logits or means): a learned constant map, restyled after every transposed convolution.

    Args:
        latents: Numbers per image.
        channels: Channels of the image.
        size: Height and width of the image.
        width: As in `StyleEncoder`.
        variant: "style" or "small".

    Source:
        latent_quantization, configs/decoder_partial/style_image.yaml (`width` 256, `size` 64).
    """

    def __init__(self, latents: int, channels: int, size: int, width: int = 256, variant: Variant = "style") -> None:
        super().__init__()
        widths, sizes = style_widths(size, width, variant)[::-1], floors(size)[::-1]
        self.style = mlp((latents, width, width), last=True)
        self.constant = nn.Parameter(torch.full((widths[0], sizes[0], sizes[0]), 0.1))
        self.blocks = nn.ModuleList()
        for before, after, (small, large) in zip([widths[0], *widths[:-1]], widths, pairwise(sizes), strict=True):
            for a, b, kernel, stride in _group(before, after, variant):
                self.blocks.append(StyleBlock(a, b, width, kernel, stride, odd=large - 2 * small))
        self.image = nn.Conv2d(widths[-1], channels, 3, padding=1, bias=False)

    def forward(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch channels size size"]:
        """One image per row."""
        style = self.style(z)
        x = self.constant.expand(len(z), -1, -1, -1)
        for block in self.blocks:
            x = block(x, style)
        image: Tensor = self.image(x)
        return image


class StyleBlock(nn.Module):
    """Transposed convolution, leaky ReLU, instance norm, then a scale and a shift that the style gives.

    Scale and shift go through a ReLU and are thus never negative: a default of the authors' dense layer, kept because
    their results were made with it.
    """

    def __init__(self, before: int, after: int, style: int, kernel: int, stride: int, odd: int = 0) -> None:
        super().__init__()
        extra = odd if stride == 2 else 0
        self.conv = nn.ConvTranspose2d(before, after, kernel, stride, 1, output_padding=extra, bias=False)
        self.affine = nn.Linear(style, 2 * after)

    def forward(
        self, x: Float[Tensor, "batch before n n"], style: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch after m m"]:
        """The restyled map, of the same size or twice as large."""
        scale, shift = functional.relu(self.affine(style))[..., None, None].chunk(2, dim=1)
        return functional.instance_norm(functional.leaky_relu(self.conv(x), 0.2), eps=1e-6) * scale + shift


def _group(before: int, after: int, variant: Variant) -> list[tuple[int, int, int, int]]:
    """(channels before, after, kernel, stride) of each layer of one group."""
    if variant == "small":
        return [(before, after, 4, 2)]
    return [(before, after, 3, 1), (after, after, 3, 1), (after, after, 4, 2)]
