"""Latent quantisation in a GAN that reads its own latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.errors import DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Clip, Optim, Stage, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.adversarial import gradient_penalty
from unbraid.methods.latent.autoencoder import Autoencoder, Options
from unbraid.methods.latent.qlae import UNREGULARISED, book_terms, symbols
from unbraid.nets.for_field import Network
from unbraid.nets.quantise import ScalarQuantiser


class QuantizedInfoGAN(Autoencoder["QuantizedInfoGAN.Config"]):
    """A Wasserstein GAN whose critic also reads the latents of what it sees, each from a few learned values.

    1. Draw each latent evenly from its book, and make images of them. 2. Move the critic and encoder: tell real images
    from made ones, with a slope of 1 between them, and read the latents of made ones. 3. At every fifth step move the
    generator and the books: be taken for real, and have the latents read.

    Source:
        Hsu et al., 2023, appendix B; latent_quantization, models/quantized_info_gan.py and scripts/train_gan.py.
    """

    card = Card(
        name="quantized-infogan",
        title="Disentanglement via Latent Quantization",
        paper="arXiv:2305.18378",
        year=2023,
        number=9,
        modality=("image", "vector"),
        summary="A GAN that must read back the quantised latents it drew; the quantised InfoWGAN-GP.",
        claim="Each move changes only what it should, codes are values of the books, and made images are read right.",
    )
    besides = 1  # the critic's value
    eager = ("encoder",)
    presets = {
        "quick": {"network": "mlp", "optim.lr": 5e-4, "steps": 4000},
        "tiny": {"network": "small", "latents": 4, "values": 5, "width": 16, "batch": 8, "steps": 12},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the quantised InfoWGAN-GP.

        Attributes:
            latents: Numbers in the code; the paper takes twice the number of factors.
            network: "style" is the paper's; "conv" and "mlp" are cheaper.
            values: Values in every latent's book, or in each: 10, or 3,6,40.
            quantise: Whether to quantise at all; without, latents are drawn evenly from 0 to 1 (InfoWGAN-GP).
            reading: Weight of the squared distance between latents drawn and latents read.
            slope: Weight of the gradient penalty.
            quantisation: Weight of the loss that moves the books towards the numbers read.
            commitment: Weight of the loss that holds the numbers read near the books.
            critic_steps: Moves of the critic for one of the generator.
        """

        latents: int = told(10, by="ours")
        network: Network = told("style", by="code")
        values: int | tuple[int, ...] = told(10, by="paper")
        quantise: bool = told(True, by="paper")
        reading: float = told(200.0, by="code")
        slope: float = told(10.0, by="code")
        quantisation: float = told(0.01, by="code")
        commitment: float = told(0.01, by="code")
        critic_steps: int = told(5, by="code")
        batch: int = told(64, by="code")
        steps: int = told(200_000, by="code")
        optim: Optim = told(
            Optim("adamw", 2e-4, betas=(0.0, 0.9), weight_decay=1e-3, clip=Clip("value", 1.0), groups=(UNREGULARISED,)),
            by="code",
        )

        counts = (*Options.counts, "critic_steps")

    def __init__(self, config: QuantizedInfoGAN.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        if not fields["x"].unit:
            raise DataError("observations in [0, 1]", got="others", fix="scale them", where="field 'x'")
        if config.quantise:
            self.quantiser = ScalarQuantiser(config.latents, config.values)

    def parts(self) -> tuple[PartSpec, ...]:
        return (symbols(self.config.latents, self.config.values, self.config.quantise),)

    def stages(self) -> Sequence[Stage]:
        [stage] = super().stages()
        made = [self.decoder, *([self.quantiser] if self.config.quantise else [])]
        critic = Update("critic", self.critic_loss, lambda: [self.encoder], self.config.optim)
        maker = Update("maker", self.maker_loss, lambda: made, self.config.optim, every=self.config.critic_steps)
        return [replace(stage, updates=[critic, maker])]

    def critic_loss(self, batch: Batch, at: At) -> Terms:
        """What the critic and encoder descend."""
        real = batch["x"]
        with torch.no_grad():
            z = self.draw(at.rand((len(real), self.config.latents)))
            fake = self.generate(z)
        value, terms = self.judge(fake, z)
        penalty = gradient_penalty(lambda x: self.read(x)[0], real, fake, at.rand((len(real),)))
        return {"value": value - self.read(real)[0], "slope": (self.config.slope, penalty), **terms}

    def maker_loss(self, batch: Batch, at: At) -> Terms:
        """What the generator and the books descend; the latents drawn carry the books' gradient."""
        z = self.draw(at.rand((len(batch["x"]), self.config.latents)))
        value, terms = self.judge(self.generate(z), z)
        return {"value": -value, **terms}

    def judge(
        self, fake: Float[Tensor, "batch *item"], z: Float[Tensor, "batch latents"]
    ) -> tuple[Float[Tensor, " batch"], Terms]:
        """The critic's value of made items, and how well their latents are read."""
        value, pre = self.read(fake)
        if not self.config.quantise:
            return value, {"reading": (self.config.reading, (pre - z).square().mean(1))}
        codes = self.quantiser(pre)
        return value, {
            "reading": (self.config.reading, (codes.z - z).square().mean(1)),
            **book_terms(pre, codes, self.config.quantisation, self.config.commitment),
        }

    def draw(self, uniform: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch latents"]:
        """Latents from uniform numbers in [0, 1): each takes the values of its book equally often."""
        return self.quantiser.draw(uniform) if self.config.quantise else uniform

    def generate(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch *item"]:
        """The items of some latents."""
        made: Tensor = self.decoder(z).sigmoid()
        return made

    def read(self, x: Float[Tensor, "batch *item"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch latents"]]:
        """The critic's value of each item, and its latents before quantisation."""
        out = self.encoder(x)
        return out[:, 0], out[:, 1:]

    def encode(self, batch: Batch) -> Parts:
        pre = self.read(batch["x"])[1]
        return Parts(latents=self.quantiser(pre).quantised if self.config.quantise else pre)

    def codes(self, batch: Batch) -> Int[Tensor, "batch latents"]:
        """Which value of its book each latent takes."""
        ids: Tensor = self.quantiser(self.read(batch["x"])[1]).ids
        return ids

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *item"]:
        """Items made of latents drawn evenly."""
        uniform = torch.rand(n, self.config.latents, generator=generator, device=generator.device)
        return self.generate(self.draw(uniform))
