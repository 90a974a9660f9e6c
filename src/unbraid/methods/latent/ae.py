"""The plain autoencoder: the baseline that nothing pulls apart."""

from __future__ import annotations

from unbraid.core.card import Card
from unbraid.core.fields import Batch
from unbraid.core.method import At, Terms
from unbraid.core.parts import Parts
from unbraid.methods.latent.autoencoder import Autoencoder, Options


class AE(Autoencoder[Options]):
    """Minimises the reconstruction error through a narrow code (Hinton and Salakhutdinov, 2006)."""

    card = Card(
        name="ae",
        title="Reducing the Dimensionality of Data with Neural Networks",
        paper="doi:10.1126/science.1127647",
        year=2006,
        summary="A deterministic autoencoder; nothing but the width of the code limits what each latent knows.",
        claim="It reconstructs better than every regularised autoencoder of its size, and its latents are mixed.",
    )
    presets = {
        "quick": {"network": "mlp", "optim.lr": 2e-3, "optim.schedule.kind": "cosine", "steps": 4000},
        "tiny": {"latents": 4, "width": 16, "batch": 8, "steps": 12, "optim.lr": 1e-3},
    }

    def loss(self, batch: Batch, at: At) -> Terms:
        x = batch["x"]
        return {"reconstruction": self.reconstruction(self.encoder(self.observed(x)), x)}

    def encode(self, batch: Batch) -> Parts:
        return Parts(latents=self.encoder(self.observed(batch["x"])))
