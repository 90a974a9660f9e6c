"""The DIP-VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.method import At, Terms
from unbraid.losses.gaussian import kl
from unbraid.losses.total_correlation import covariance, covariance_gap
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE


class DIPVAE(GaussianVAE["DIPVAE.Config"]):
    """Minimises reconstruction + KL + the distance of the codes' covariance to the identity (Kumar et al., 2018).

    I: the covariance of the posterior means (eq. 6). II: that of the samples, which is the first plus the mean
    posterior variance (eq. 7).

    Source:
        disentanglement_lib, methods/unsupervised/vae.py, DIPVAE.
    """

    card = Card(
        name="dip-vae",
        title="Variational Inference of Disentangled Latent Concepts from Unlabeled Observations",
        paper="arXiv:1711.00848",
        year=2018,
        summary="A VAE whose codes are held uncorrelated and of unit variance over the batch.",
        claim="Its codes are less correlated than those of a VAE.",
    )
    aliases = {"dip-vae-ii": {"of": "samples"}}
    about = {"dip-vae-ii": "A VAE whose sampled codes are held uncorrelated and of unit variance over the batch."}

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the DIP-VAE.

        Attributes:
            of: Whose covariance: the posterior means' (I) or the samples' (II).
            off_diagonal: Weight of the squared covariances; the study sweeps 1, 2, 5, 10, 20, 50.
            diagonal: Weight of the squared distances of the variances to 1; none is 10 times (I) or once (II) the
                weight of the covariances.
        """

        of: Literal["means", "samples"] = told("means", by="paper")
        off_diagonal: float = told(10.0, by="paper")
        diagonal: float | None = told(None, by="code")

    def regulariser(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        found = covariance(at.world.gather(mu))
        if self.config.of == "samples":
            found = found + at.world.mean(logvar.exp().mean(0)).diag()
        off, on = covariance_gap(found)
        ratio = 10.0 if self.config.of == "means" else 1.0
        weight = self.config.off_diagonal * ratio if self.config.diagonal is None else self.config.diagonal
        at.note(covariance=off.detach())
        return {
            "kl": kl(mu, logvar).sum(1),
            "off_diagonal": (self.config.off_diagonal, off),
            "diagonal": (weight, on),
        }
