"""The image encoders that joint-embedding methods choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field
from unbraid.nets.conv import ConvEncoder
from unbraid.nets.resnet import ResNet, Shortcut, Standardised, stem_for
from unbraid.nets.vgg import VGG, VGG3, VGG11
from unbraid.nets.vit import Positions, Tokens, ViT, start_

Backbone = Literal[
    "resnet110",
    "resnet50",
    "resnet34",
    "resnet32",
    "resnet18",
    "resnet10",
    "resnet8",
    "vgg11",
    "vgg3",
    "conv",
    "vit",
]
"""`nets.resnet` or `nets.vgg` of some depth (vgg3 with batch normalisation), `nets.conv`, or `nets.vit`."""


@dataclass(frozen=True)
class Transformer:
    """The shape of a ViT, whose width is given apart.

    Attributes:
        patch: Side of a patch.
        depth: Blocks.
        heads: Attention heads.
        positions: How places are told.
        drop_path: Probability of leaving out a branch of the last block while training.
        frozen_patches: Whether the first layer stays as it was drawn, which keeps training stable (Chen et al., 2021).
        hides: Whether it has a token for masked patches.
        read: What stands for an image: the class token ("cls") or the mean of the patches ("mean").
    """

    patch: int = 16
    depth: int = 12
    heads: int = 6
    positions: Positions = "columns"
    drop_path: float = 0.0
    frozen_patches: bool = False
    hides: bool = False
    read: Literal["cls", "mean"] = "cls"


class Encoder(nn.Module):
    """Images in [0, 1] -> numbers.

    Args:
        field: The observation, an image (C, H, W).
        backbone: Which network.
        width: Channels of a ResNet after its stem, numbers in a token of a ViT, or those of the convolutional encoder,
            whose dense layer has 4 times as many.
        zero_init: Whether every block of a ResNet starts as the identity.
        vit: The shape of a ViT.
        shortcut: What stands beside a block of a ResNet that changes the shape, see `ResNet`.

    Attributes:
        width: Numbers per image.

    Raises:
        DataError: The observation is not an image.
    """

    def __init__(
        self,
        field: Field,
        backbone: Backbone,
        width: int,
        *,
        zero_init: bool = False,
        vit: Transformer | None = None,
        shortcut: Shortcut = "conv",
    ) -> None:
        super().__init__()
        if len(field.shape) != 3:
            got = f"items of shape {field.shape}"
            raise DataError("images (C, H, W)", got=got, fix="use images", where="field 'x'")
        channels, height, side = field.shape
        self.shape = vit or Transformer()
        if backbone == "vit":
            self.net, self.width = Standardised(_transformer(field.shape, width, self.shape), channels), width
            return
        if backbone == "conv":
            if height != side or height < 8:
                fix = "resize them, or use a ResNet"
                raise DataError("square images of at least 8 pixels", got=f"{height} x {side}", fix=fix)
            self.net, self.width = Standardised(ConvEncoder(channels, side, width, 4 * width), channels), width
            return
        if backbone in ("vgg11", "vgg3"):
            plain = VGG(channels, width, VGG11) if backbone == "vgg11" else VGG(channels, width, VGG3, norm=True)
            self.net, self.width = Standardised(plain, channels), plain.width
            return
        depth = int(backbone.removeprefix("resnet"))
        net = ResNet(depth, channels, stem_for(min(height, side)), width, zero_init=zero_init, shortcut=shortcut)
        self.net, self.width = Standardised(net, channels), net.width

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch width"]:
        """One row per image."""
        out = self.net(x)
        return self.read(out) if isinstance(out, Tokens) else out

    @property
    def vit(self) -> ViT:
        """The transformer.

        Raises:
            ConfigError: The encoder is another network.
        """
        if not isinstance(self.net.net, ViT):
            raise ConfigError("a transformer, backbone=vit", got=type(self.net.net).__name__, where="backbone")
        return self.net.net

    def tokens(
        self,
        x: Float[Tensor, "batch c h w"],
        keep: Int[Tensor, "batch kept"] | None = None,
        masked: Bool[Tensor, "batch rows columns"] | None = None,
    ) -> Tokens:
        """The tokens of a transformer, see `ViT`."""
        tokens: Tokens = self.vit(self.net.standard(x), keep, masked)
        return tokens

    def read(self, tokens: Tokens) -> Float[Tensor, "batch width"]:
        """What stands for an image among its tokens."""
        return tokens.cls if self.shape.read == "cls" else tokens.patches.mean(1)


def _transformer(shape: tuple[int, ...], width: int, t: Transformer) -> ViT:
    channels, height, side = shape
    net = ViT(
        (height, side),
        t.patch,
        width,
        t.depth,
        t.heads,
        channels,
        positions=t.positions,
        drop_path=t.drop_path,
        hides=t.hides,
    )
    start_(net)
    if t.frozen_patches:
        net.embed.requires_grad_(False)
    return net
