"""The VAE: its prior pulls latents towards independence."""

from __future__ import annotations

from unbraid.claims.claim import SMALL, Arm, Claim, Contrast

CLAIM = Claim(
    method="vae",
    task="The 720 `discs`, 10 latents, perceptrons of width 128, 2,000 steps of 64 images, beta 1.",
    data="discs",
    settings=SMALL,
    arms=(Arm("vae", "vae"), Arm("ae", "ae")),
    contrasts=(
        Contrast(
            "A code drawn from its posterior is less correlated than the code of an autoencoder of its size.",
            "gaussian total correlation",
            "vae",
            "ae",
        ),
        Contrast(
            "So are the means of its posteriors, which lack the noise that blurs correlations.",
            "gaussian total correlation of means",
            "vae",
            "ae",
        ),
        Contrast("Mean correlation of two latents.", "correlation", "vae", "ae", expect="report"),
        Contrast("What it pays in reconstruction.", "explained", "vae", "ae", expect="report"),
    ),
)
