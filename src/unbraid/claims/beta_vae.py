"""The beta-VAE: less in the code, and what is left in fewer places."""

from __future__ import annotations

from unbraid.claims.claim import SMALL, Arm, Claim, Contrast

CLAIM = Claim(
    method="beta-vae",
    task="The 720 `discs`, 10 latents, perceptrons of width 128, 2,000 steps of 64 images, beta 4 against 1.",
    data="discs",
    settings=SMALL,
    arms=(Arm("beta-vae", "beta-vae", {"beta": 4.0}), Arm("vae", "vae")),
    contrasts=(
        Contrast("Its code holds less than that of a VAE with beta 1.", "kl", "beta-vae", "vae"),
        Contrast("Its latents are closer to independent.", "total correlation", "beta-vae", "vae"),
        Contrast("It pays for that in reconstruction.", "explained", "beta-vae", "vae", expect="worse"),
        Contrast("Each factor keeps more to one latent.", "mig", "beta-vae", "vae"),
    ),
    note=(
        "The KL and the price in reconstruction are what beta does by construction; MIG is what it is known for, and "
        "depends much on the seed (Locatello et al., 2019)."
    ),
)
