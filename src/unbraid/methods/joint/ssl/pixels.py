"""MAE and SimMIM: hidden patches are told as pixels."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Optim, Terms
from unbraid.core.parts import Parts
from unbraid.losses.masked import masked_distance, masked_square, normalised
from unbraid.methods.joint.ssl.base import QUICK, TINY, adamw, spread_of
from unbraid.methods.joint.ssl.masked import MaskedOptions, Pixels
from unbraid.nets.patch_decoder import PatchDecoder
from unbraid.nets.vit import Tokens, image_of
from unbraid.views.mask import shuffled, unit_masks


class MAE(Pixels["MAE.Config"]):
    """A quarter of the patches is seen, and a small decoder fills in the others (He et al., 2022).

    1. Keep a random share of the patches, with their places. 2. Encode these alone. 3. The decoder sees their tokens
    at their places and a learned token at the others. 4. Minimise the mean squared error of the pixels of hidden
    patches, each of which has mean 0 and variance 1.

    Source:
        facebookresearch/mae, models_mae.py.
    """

    card = Card(
        number=44,
        name="mae",
        title="Masked Autoencoders Are Scalable Vision Learners",
        paper="arXiv:2111.06377",
        year=2022,
        modality=("image",),
        family="masked modelling",
        summary="An encoder of a quarter of the patches, from which a small decoder fills in the others.",
        claim="It tells hidden pixels of new images better than the mean image does, by a quarter at least.",
        example="digits",
    )
    reads = "cls"
    hides = False
    presets = {
        "quick": {**QUICK, "decoder_width": 32, "decoder_depth": 2, "decoder_heads": 4, "normalised": False},
        "tiny": {**TINY, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2},
    }

    @dataclass(frozen=True)
    class Config(MaskedOptions):
        """Options of MAE.

        Attributes:
            mask: Share of the patches that is hidden.
            normalised: Whether patches are told with mean 0 and variance 1.
            decoder_width: Numbers in a token of the decoder.
            decoder_depth: Its blocks.
            decoder_heads: Its attention heads.
        """

        width: int = told(1024, by="code")
        depth: int = told(24, by="code")
        heads: int = told(16, by="code")
        batch: int = told(4096, by="code")
        epochs: float = told(1600, by="code")
        warmup: float = told(40, by="code")
        mask: float = told(0.75, by="code")
        normalised: bool = told(True, by="code")
        decoder_width: int = told(512, by="code")
        decoder_depth: int = told(8, by="code")
        decoder_heads: int = told(16, by="code")
        optim: Optim = told(adamw(1.5e-4, 0.05, betas=(0.9, 0.95)), by="code")

        counts = (*MaskedOptions.counts, "decoder_width", "decoder_depth", "decoder_heads")
        shares = (*MaskedOptions.shares, "mask")

    def __init__(self, config: MAE.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        c, pixels = config, config.patch**2 * fields["x"].shape[0]
        grid = self.encoder.vit.grid
        self.decoder = PatchDecoder(c.width, grid, pixels, c.decoder_width, c.decoder_depth, c.decoder_heads)

    def moves(self) -> list[nn.Module]:
        return [self.encoder, self.decoder]

    def target(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch patches pixels"]:
        patches = super().target(x)
        return normalised(patches) if self.config.normalised else patches

    def fill(self, x: Tensor, at: At) -> tuple[Float[Tensor, "batch patches pixels"], Bool[Tensor, "batch patches"]]:
        rows, columns = self.encoder.vit.grid
        found = shuffled(at.rand((len(x), rows * columns)), self.config.mask)
        seen = self.encoder.tokens(x, found.keep)
        if self.training:
            at.note(spread=spread_of(seen.cls))
        return self.decoder(seen, found.restore), found.mask

    def loss(self, batch: Batch, at: At) -> Terms:
        told, mask = self.fill(batch["x"], at)
        return {"pixels": masked_square(told, self.target(batch["x"]), mask, at.world)}

    def decode(self, parts: Parts) -> Float[Tensor, "batch c h w"]:
        """Images from all their tokens; where patches are normalised, each has mean 1/2 and deviation 1/4."""
        told = self.decoder(Tokens(parts["cls"], parts["patches"]))
        if not self.config.normalised:
            return self.picture(told)
        return (0.5 + 0.25 * image_of(told, self.encoder.vit.grid, self.config.patch)).clamp(0, 1)


class SimMIM(Pixels["SimMIM.Config"]):
    """Hidden squares are told from their own tokens by one linear layer (Xie et al., 2022).

    1. Put a learned token in the place of the patches of random squares. 2. Encode all. 3. Minimise the mean absolute
    error of hidden pixels, told from each patch's token by a linear layer.

    Source:
        microsoft/SimMIM, models/simmim.py and data/data_simmim.py.
    """

    card = Card(
        number=44,
        name="simmim",
        title="SimMIM: A Simple Framework for Masked Image Modeling",
        paper="arXiv:2111.09886",
        year=2022,
        modality=("image",),
        family="masked modelling",
        summary="An encoder whose tokens of hidden squares tell their pixels by one linear layer.",
        claim="It tells hidden pixels of new images better than the mean image does, by a quarter at least.",
        example="digits",
    )
    presets = {
        "quick": {**QUICK, "unit": 4},
        "tiny": {**TINY, "unit": 8},
    }

    @dataclass(frozen=True)
    class Config(MaskedOptions):
        """Options of SimMIM.

        Attributes:
            mask: Share of the squares that is hidden; their number is rounded up.
            unit: Pixels on the side of a square, a multiple of the patch.
        """

        width: int = told(768, by="code")
        heads: int = told(12, by="code")
        drop_path: float = told(0.1, by="code")
        mask: float = told(0.6, by="code")
        unit: int = told(32, by="code")
        optim: Optim = told(adamw(5e-5, 0.05), by="code")

        counts = (*MaskedOptions.counts, "unit")
        shares = (*MaskedOptions.shares, "mask")

    def __init__(self, config: SimMIM.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.unit = max(1, config.unit // config.patch)
        self.decoder = nn.Linear(config.width, config.patch**2 * fields["x"].shape[0])

    def moves(self) -> list[nn.Module]:
        return [self.encoder, self.decoder]

    def fill(self, x: Tensor, at: At) -> tuple[Float[Tensor, "batch patches pixels"], Bool[Tensor, "batch patches"]]:
        mask = unit_masks(len(x), self.encoder.vit.grid, self.config.mask, self.unit, at)
        seen = self.encoder.tokens(x, masked=mask)
        if self.training:
            at.note(spread=spread_of(self.encoder.read(seen)))
        return self.decoder(seen.patches), mask.flatten(1)

    def loss(self, batch: Batch, at: At) -> Terms:
        told, mask = self.fill(batch["x"], at)
        grid, patch = self.encoder.vit.grid, self.config.patch
        pixels = mask.view(-1, *grid).repeat_interleave(patch, 1).repeat_interleave(patch, 2)
        target = self.encoder.net.standard(batch["x"])
        return {"pixels": masked_distance(image_of(told, grid, patch), target, pixels, at.world)}

    def decode(self, parts: Parts) -> Float[Tensor, "batch c h w"]:
        """Images from the tokens of their patches."""
        return self.picture(self.decoder(parts["patches"]))
