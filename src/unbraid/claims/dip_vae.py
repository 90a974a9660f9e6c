"""The DIP-VAE: uncorrelated codes."""

from __future__ import annotations

import torch

from unbraid.claims.claim import SMALL, Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained, score
from unbraid.losses.total_correlation import covariance, covariance_gap


def gap(arm: Trained) -> float:
    """Squared distance of the codes' covariance to the identity, with the posterior variance where samples are held."""
    mu, logvar = arm.posterior
    found = covariance(mu.double())
    if getattr(arm.method.config, "of", "means") == "samples":
        found = found + torch.diag(logvar.double().exp().mean(0))
    return float(sum(covariance_gap(found)))


CLAIM = Claim(
    method="dip-vae",
    aliases=("dip-vae-ii",),
    task="The 720 `discs`, 10 latents, perceptrons of width 128, 2,000 steps of 64 images; I with weights 10 and 100.",
    data="discs",
    settings=SMALL,
    arms=(
        Arm("dip-vae", "dip-vae"),
        Arm("no weights", "dip-vae", {"off_diagonal": 0.0, "diagonal": 0.0}),
        Arm("beta-vae", "beta-vae", {"beta": 4.0}),
    ),
    contrasts=(
        Contrast("The covariance it holds is closer to the identity than without.", "gap", "dip-vae", "no weights"),
        Contrast("It reconstructs better than a beta-VAE of beta 4.", "explained", "dip-vae", "beta-vae"),
        Contrast("MIG over the same without weights.", "mig", "dip-vae", "no weights", expect="report"),
        Contrast("SAP, the paper's own score, over the same.", "sap", "dip-vae", "no weights", expect="report"),
    ),
    metrics={
        "gap": Metric("Squared distance of the held covariance to the identity.", gap, more=False),
        "sap": score("sap"),
    },
    note=(
        "Without weights it is a VAE. The paper claims disentanglement without the beta-VAE's loss of reconstruction; "
        "the mechanism and the reconstruction are asserted, scores only reported."
    ),
)
