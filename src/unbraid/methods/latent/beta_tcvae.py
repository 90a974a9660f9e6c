"""The beta-TCVAE."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.method import At, Terms
from unbraid.losses.gaussian import kl
from unbraid.losses.total_correlation import total_correlation
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE


class BetaTCVAE(GaussianVAE["BetaTCVAE.Config"]):
    """Minimises reconstruction + KL + (beta - 1) TC, the dependence between latents (Chen et al., 2018, eq. 4)."""

    card = Card(
        name="beta-tcvae",
        title="Isolating Sources of Disentanglement in Variational Autoencoders",
        paper="arXiv:1802.04942",
        year=2018,
        summary="A VAE that pays more only for dependence between latents, not for what they tell of the image.",
        claim="At matched reconstruction its total correlation is below that of the beta-VAE.",
    )

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the beta-TCVAE.

        Attributes:
            beta: Weight of the total correlation within the KL; the study sweeps 1, 2, 4, 6, 8, 10.
        """

        beta: float = told(6.0, by="paper")

    def regulariser(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        tc = total_correlation(z, at.world.gather(mu), at.world.gather(logvar))
        return {"kl": kl(mu, logvar).sum(1), "total_correlation": (self.config.beta - 1, tc)}
