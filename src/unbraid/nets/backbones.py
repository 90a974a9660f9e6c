"""The image encoders that joint-embedding methods choose from."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import DataError
from unbraid.core.fields import Field
from unbraid.nets.conv import ConvEncoder
from unbraid.nets.resnet import ResNet, Standardised, stem_for

Backbone = Literal["resnet50", "resnet34", "resnet18", "resnet10", "resnet8", "conv"]
"""`nets.resnet` of some depth, or `nets.conv`."""


class Encoder(nn.Module):
    """Images in [0, 1] -> numbers.

    Args:
        field: The observation, an image (C, H, W).
        backbone: Which network.
        width: Channels of a ResNet after its stem, or numbers of the convolutional encoder, whose dense layer has 4
            times as many.
        zero_init: Whether every block of a ResNet starts as the identity.

    Attributes:
        width: Numbers per image.

    Raises:
        DataError: The observation is not an image.
    """

    def __init__(self, field: Field, backbone: Backbone, width: int, *, zero_init: bool = False) -> None:
        super().__init__()
        if len(field.shape) != 3:
            got = f"items of shape {field.shape}"
            raise DataError("images (C, H, W)", got=got, fix="use images", where="field 'x'")
        channels, height, side = field.shape
        if backbone == "conv":
            if height != side or height < 8:
                fix = "resize them, or use a ResNet"
                raise DataError("square images of at least 8 pixels", got=f"{height} x {side}", fix=fix)
            self.net, self.width = Standardised(ConvEncoder(channels, side, width, 4 * width), channels), width
            return
        depth = int(backbone.removeprefix("resnet"))
        net = ResNet(depth, channels, stem_for(min(height, side)), width, zero_init=zero_init)
        self.net, self.width = Standardised(net, channels), net.width

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """One row per image."""
        out: Tensor = self.net(x)
        return out
