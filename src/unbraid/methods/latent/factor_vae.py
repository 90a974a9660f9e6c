"""The FactorVAE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Optim, Stage, Terms, Update
from unbraid.losses.gaussian import kl
from unbraid.losses.total_correlation import density_ratio, shuffled_columns, tell_apart
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE
from unbraid.nets.conv import glorot_
from unbraid.nets.mlp import mlp


class FactorVAE(GaussianVAE["FactorVAE.Config"]):
    """Minimises reconstruction + KL + gamma TC, with the TC told by a discriminator (Kim and Mnih, 2018, alg. 1, 2).

    1. Sample codes. 2. Move the VAE, which the log ratio of the discriminator's answers pulls towards independence.
    3. Move the discriminator, which tells these codes from the same ones with each latent shuffled over the batch.

    Both moves see the codes of step 1. The paper shuffles a second batch; the study shuffles the same one, as here.

    Source:
        disentanglement_lib, methods/unsupervised/vae.py, FactorVAE.
    """

    card = Card(
        name="factor-vae",
        title="Disentangling by Factorising",
        paper="arXiv:1802.05983",
        year=2018,
        summary="A VAE with a discriminator that notices dependence between latents, which the VAE then avoids.",
        claim="At matched reconstruction its total correlation is below that of the beta-VAE.",
    )
    scaffold = ("discriminator",)
    presets = {
        **GaussianVAE.presets,
        "quick": {
            **GaussianVAE.presets["quick"],
            "critic_width": 256,
            "critic_layers": 3,
            "critic_optim.lr": 1e-3,
        },
        "tiny": {**GaussianVAE.presets["tiny"], "critic_width": 16, "critic_layers": 2},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the FactorVAE.

        Attributes:
            gamma: Weight of the total correlation; the study sweeps 10, 20, 30, 40, 50, 100.
            critic_width: Width of the discriminator's layers.
            critic_layers: Hidden layers of the discriminator.
            critic_optim: How the discriminator moves.
        """

        gamma: float = told(35.0, by="paper")
        critic_width: int = told(1000, by="code")
        critic_layers: int = told(6, by="code")
        critic_optim: Optim = told(Optim("adam", lr=1e-4, betas=(0.5, 0.9)), by="code")

        counts = (*Options.counts, "critic_width", "critic_layers")

    def __init__(self, config: FactorVAE.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        hidden = [config.critic_width] * config.critic_layers
        self.discriminator = mlp((config.latents, *hidden, 2), act=lambda: nn.LeakyReLU(0.2))
        glorot_(self.discriminator)

    def stages(self) -> Sequence[Stage]:
        [stage] = super().stages()
        vae = Update("vae", self.loss, lambda: [self.encoder, self.decoder], self.config.optim)
        critic = Update("critic", self.critic_loss, lambda: [self.discriminator], self.config.critic_optim)
        return [replace(stage, updates=[vae, critic])]

    def regulariser(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        at.memo["z"] = z.detach()
        ratio = density_ratio(self.discriminator(z))
        return {"kl": kl(mu, logvar).sum(1), "total_correlation": (self.config.gamma, ratio)}

    def critic_loss(self, batch: Batch, at: At) -> Terms:
        """How badly the discriminator tells the codes of this step from shuffled ones."""
        z = at.memo["z"]
        mixed = shuffled_columns(z, at)
        return {"discrimination": tell_apart(self.discriminator(z), self.discriminator(mixed))}
