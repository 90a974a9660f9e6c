"""The encoder and the decoder that fit an observation."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.conv import ConvDecoder, ConvEncoder
from unbraid.nets.funnel import FunnelDecoder, FunnelEncoder
from unbraid.nets.mlp import mlp
from unbraid.nets.style import StyleDecoder, StyleEncoder

Network = Literal["conv", "style", "small", "funnel", "mlp"]
"""`nets.conv`, `nets.style` and its smaller variant, `nets.funnel`, or a perceptron with two hidden layers.

Vectors take the last.
"""


def encoder_for(field: Field, out: int, width: int = 256, network: Network = "conv") -> nn.Module:
    """A network from observations of this field to (B, out).

    Args:
        field: The observation: a vector (D,) or a square image (C, H, W).
        out: Numbers per item.
        width: Width of the dense layers; the channels of convolutions are proportional to it.
        network: Which one, for images.

    Raises:
        DataError: The observation is neither a vector nor an image of an allowed size.
    """
    if network == "mlp" or len(field.shape) == 1:
        return nn.Sequential(nn.Flatten(), *mlp((_numbers(field), width, width, out)))
    if network == "funnel":
        return FunnelEncoder(field, width, out)
    channels, size = _image(field)
    if network == "conv":
        return ConvEncoder(channels, size, out, width)
    return StyleEncoder(channels, size, out, width, network)


def decoder_for(field: Field, latents: int, width: int = 256, network: Network = "conv") -> nn.Module:
    """A network from (B, latents) to logits or means in the layout of this field; arguments as in `encoder_for`.

    Raises:
        DataError: The observation is neither a vector nor an image of an allowed size.
    """
    if network == "mlp" or len(field.shape) == 1:
        return nn.Sequential(*mlp((latents, width, width, _numbers(field))), nn.Unflatten(1, field.shape))
    if network == "funnel":
        return FunnelDecoder(latents, field, width)
    channels, size = _image(field)
    if network == "conv":
        return ConvDecoder(latents, channels, size, width)
    return StyleDecoder(latents, channels, size, width, network)


def _numbers(field: Field) -> int:
    if len(field.shape) not in (1, 3):
        raise _unfit(field)
    return math.prod(field.shape)


def _image(field: Field) -> tuple[int, int]:
    if len(field.shape) != 3:
        raise _unfit(field)
    channels, height, width = field.shape
    if height != width or height < 16 or height % 4:
        raise _unfit(field)
    return channels, height


def _unfit(field: Field) -> DataError:
    return DataError(
        "a vector (D,) or a square image (C, H, H) with H = 16, 20, 24, ... in steps of 4",
        got=f"items of shape {field.shape}",
        fix="resize the images, for example to 64",
        where="field 'x'",
    )
