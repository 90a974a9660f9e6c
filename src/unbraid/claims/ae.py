"""The plain autoencoder: the baseline that gives nothing away."""

from __future__ import annotations

from unbraid.claims.claim import SMALL, Arm, Claim, Contrast

CLAIM = Claim(
    method="ae",
    task="The 720 `discs`, 10 latents, perceptrons of width 128, 2,000 steps of 64 images.",
    data="discs",
    settings=SMALL,
    arms=(Arm("ae", "ae"), Arm("vae", "vae"), Arm("beta-vae", "beta-vae")),
    contrasts=(
        Contrast("Reconstructs better than the mean image does.", "explained", "ae", 0.0, margin=0.5),
        Contrast("Reconstructs better than a VAE of its size.", "explained", "ae", "vae"),
        Contrast("Reconstructs better than a beta-VAE of its size.", "explained", "ae", "beta-vae"),
        Contrast("MIG against the VAE's.", "mig", "ae", "vae", expect="report"),
    ),
)
