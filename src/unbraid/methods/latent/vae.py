"""The variational autoencoder and the beta-VAE."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.method import At, Terms
from unbraid.losses.gaussian import kl
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE


class VAE(GaussianVAE["VAE.Config"]):
    """Minimises reconstruction + beta KL(q(z|x) || p(z)), with beta 1 (Kingma and Welling, 2014, eq. 10)."""

    card = Card(
        name="vae",
        title="Auto-Encoding Variational Bayes",
        paper="arXiv:1312.6114",
        year=2013,
        summary="An autoencoder whose code is a Gaussian kept near the prior; a bound on the likelihood.",
        claim="Its latents are less correlated than those of a plain autoencoder.",
    )

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the VAE.

        Attributes:
            beta: Weight of the KL term.
        """

        beta: float = told(1.0, by="paper")

    def regulariser(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        return {"kl": (self.config.beta, kl(mu, logvar).sum(1))}


class BetaVAE(VAE):
    """Minimises reconstruction + beta KL(q(z|x) || p(z)), with beta above 1 (Higgins et al., 2017, eq. 4)."""

    card = Card(
        name="beta-vae",
        title="beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
        paper="openreview:Sy2fzU9gl",
        year=2017,
        summary="A VAE that pays more for every nat in its code, so that latents keep to separate factors.",
        claim="Its MIG is higher than that of a VAE with beta 1, at the price of reconstruction.",
    )

    @dataclass(frozen=True)
    class Config(VAE.Config):
        """Options of the beta-VAE.

        Attributes:
            beta: Weight of the KL term; the study sweeps 1, 2, 4, 6, 8, 16.
        """

        beta: float = told(4.0, by="ours")
