"""Variational autoencoders with a diagonal Gaussian posterior and a standard normal prior."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.fields import Batch
from unbraid.core.method import At, Terms
from unbraid.core.parts import Parts
from unbraid.losses.gaussian import sample
from unbraid.methods.latent.autoencoder import Autoencoder, Options

C = TypeVar("C", bound=Options)


class GaussianVAE(Autoencoder[C]):
    """Reconstructs from a sample of the posterior; a variant is its `regulariser`.

    Source:
        disentanglement_lib, methods/unsupervised/vae.py.
    """

    per_latent = 2  # mean and log variance
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"network": "mlp", "optim.lr": 2e-3, "optim.schedule.kind": "cosine", "steps": 4000},
        "tiny": {"latents": 4, "width": 16, "batch": 8, "steps": 12, "optim.lr": 1e-3},
    }

    def loss(self, batch: Batch, at: At) -> Terms:
        x = batch["x"]
        mu, logvar = self.infer(x)
        z = sample(mu, logvar, at.randn(mu.shape))
        return {"reconstruction": self.reconstruction(z, x), **self.regulariser(z, mu, logvar, at)}

    def regulariser(
        self,
        z: Float[Tensor, "batch latents"],
        mu: Float[Tensor, "batch latents"],
        logvar: Float[Tensor, "batch latents"],
        at: At,
    ) -> Terms:
        """What is added to the reconstruction error, in nats per item."""
        raise NotImplementedError(f"{type(self).__name__}.regulariser")

    def infer(self, x: Float[Tensor, "batch *item"]) -> tuple[Tensor, Tensor]:
        """Means and log variances of q(z|x), each (B, L)."""
        mu, logvar = self.encoder(self.observed(x)).chunk(2, dim=1)
        return mu, logvar

    def encode(self, batch: Batch) -> Parts:
        return Parts(latents=self.infer(batch["x"])[0])

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances of the posterior."""
        mu, logvar = self.infer(batch["x"])
        return Parts(latents=mu), Parts(latents=logvar)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *item"]:
        """Observations decoded from draws of the prior."""
        z = torch.randn(n, self.config.latents, generator=generator, device=generator.device)
        return self.decode(Parts(latents=z))
