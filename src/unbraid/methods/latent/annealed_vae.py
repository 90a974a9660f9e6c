"""The VAE of annealed capacity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.method import At, Terms
from unbraid.losses.gaussian import kl
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE


class AnnealedVAE(GaussianVAE["AnnealedVAE.Config"]):
    """Minimises reconstruction + gamma |KL - C|, with a capacity C that grows (Burgess et al., 2018, eq. 8).

    The KL is the mean over the whole batch, so that single images may use more of the capacity than others.

    Source:
        disentanglement_lib, methods/unsupervised/vae.py, AnnealedVAE.
    """

    card = Card(
        name="annealed-vae",
        title="Understanding disentangling in beta-VAE",
        paper="arXiv:1804.03599",
        year=2018,
        summary="A VAE whose code must hold a given number of nats, which grows while it trains.",
        claim="Its code holds what it is allowed, and it reconstructs better than a beta-VAE whose code holds less.",
    )
    presets = {
        **GaussianVAE.presets,
        "quick": {**GaussianVAE.presets["quick"], "gamma": 3.0, "capacity": 15.0, "growing": 1500},
        "tiny": {**GaussianVAE.presets["tiny"], "growing": 6},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the annealed VAE.

        Attributes:
            gamma: Weight of the distance between KL and capacity.
            capacity: What the code may hold in the end, in nats; the study sweeps 5, 10, 25, 50, 75, 100.
            growing: Steps over which the capacity grows from 0, evenly.
        """

        gamma: float = told(1000.0, by="code")
        capacity: float = told(25.0, by="paper")
        growing: int = told(100_000, by="code")

        counts = (*Options.counts, "growing")

    def regulariser(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        allowed = self.config.capacity * min(1.0, at.step / self.config.growing)
        held = at.world.mean(kl(mu, logvar).sum(1).mean())
        at.note(kl=held, allowed=allowed)
        return {"capacity": (self.config.gamma, (held - allowed).abs())}
