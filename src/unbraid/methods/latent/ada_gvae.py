"""The adaptive VAEs, which learn from pairs that differ in few factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch
from unbraid.core.method import At, Stream, Terms
from unbraid.data.pairs import changed_pairs
from unbraid.losses.gaussian import kl, sample
from unbraid.losses.weak import Aggregate, distance, kept, share
from unbraid.methods.latent.autoencoder import Options
from unbraid.methods.latent.gaussian import GaussianVAE


class AdaGVAE(GaussianVAE["AdaGVAE.Config"]):
    """A VAE on pairs whose posteriors agree on the latents that seem unchanged (Locatello et al., 2020, section 4.2).

    1. Infer both posteriors. 2. A latent changed if its divergence within the pair lies in the upper half of the range
    over latents. 3. Give the other latents one common posterior. 4. Minimise the beta-VAE's loss, averaged over the
    pair.
    """

    card = Card(
        name="ada-gvae",
        title="Weakly-Supervised Disentanglement Without Compromises",
        paper="arXiv:2002.02886",
        year=2020,
        needs=("x", "factors"),
        summary="A VAE that sees pairs which differ in a few unknown factors, and shares the code of the others.",
        claim="Its MIG is higher than that of the unsupervised VAEs.",
    )
    aliases = {"ada-ml-vae": {"aggregate": "ml"}}
    about = {"ada-ml-vae": "A VAE on pairs that differ in a few unknown factors; the others share a product of codes."}
    presets = {
        **GaussianVAE.presets,
        "quick": {**GaussianVAE.presets["quick"], "batch": 32, "beta": 2.0, "changes": 1},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the adaptive VAEs.

        Attributes:
            beta: Weight of the KL term; the paper sweeps 1, 2, 4, 6, 8, 16.
            aggregate: The common posterior: mean of the two ("gvae") or their product ("ml").
            changes: Factors that differ within a pair of a made world; none draws 1 to K - 1 for each pair.
        """

        beta: float = told(1.0, by="ours")
        aggregate: Aggregate = told("gvae", by="paper")
        changes: int | None = told(None, by="code")

    def stream(self) -> Stream:
        return Stream(self.config.batch, draw=partial(changed_pairs, changes=self.config.changes))

    def loss(self, batch: Batch, at: At) -> Terms:
        pairs = batch["x"]  # (B, 2, *item)
        mu, logvar = (s.reshape(-1, 2, s.shape[1]) for s in self.infer(pairs.flatten(0, 1)))
        changed = kept(distance(mu, logvar))
        at.note(changed=changed.sum(1).float().mean())
        mu, logvar = share(mu, logvar, changed, self.config.aggregate)
        z = sample(mu, logvar, at.randn(mu.shape))
        reconstruction = self.reconstruction(z.flatten(0, 1), pairs.flatten(0, 1)).reshape(-1, 2)
        divergence = kl(mu, logvar).sum(2)
        return {"reconstruction": reconstruction.mean(1), "kl": (self.config.beta, divergence.mean(1))}
