"""The adaptive VAEs: what pairs teach that single images do not."""

from __future__ import annotations

from unbraid.claims.claim import SMALL, Arm, Claim, Contrast

_PAIRS = {"batch": 32, "beta": 2.0}

CLAIM = Claim(
    method="ada-gvae",
    aliases=("ada-ml-vae",),
    task=(
        "The 720 `discs`, 10 latents, perceptrons of width 128, 2,000 steps of 64 images: 32 pairs that differ in one "
        "factor, beta 2, against single images."
    ),
    data="discs",
    settings=SMALL,
    arms=(
        Arm("pairs", "ada-gvae", {**_PAIRS, "changes": 1}),
        Arm("pairs, unknown number of changes", "ada-gvae", _PAIRS),
        Arm("beta-vae 2", "beta-vae", {"beta": 2.0}),
        Arm("beta-vae 4", "beta-vae", {"beta": 4.0}),
        Arm("beta-tcvae 6", "beta-tcvae", {"beta": 6.0}),
    ),
    contrasts=(
        Contrast(
            "Each factor keeps more to one latent than in a beta-VAE of the same beta.", "mig", "pairs", "beta-vae 2"
        ),
        Contrast("More than in a beta-VAE with beta 4.", "mig", "pairs", "beta-vae 4"),
        Contrast("More than in a beta-TCVAE with beta 6.", "mig", "pairs", "beta-tcvae 6"),
        Contrast(
            "With pairs that differ in 1 to 3 of the 4 factors, against the beta-VAE of the same beta.",
            "mig",
            "pairs, unknown number of changes",
            "beta-vae 2",
            expect="report",
        ),
        Contrast("What it pays in reconstruction.", "explained", "pairs", "beta-vae 2", expect="report"),
    ),
)
