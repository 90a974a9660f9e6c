"""The VAE losses against disentanglement_lib's, run in double precision (dossier 00)."""

import numpy as np
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.losses import gaussian, weak
from unbraid.losses.total_correlation import total_correlation
from unbraid.methods.latent.beta_tcvae import BetaTCVAE

INPUTS = {"z_mean", "z_logvar", "z_mean_2", "z_logvar_2", "eps"}


def check_vae_losses(arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare what is built; the names of the arrays that were compared, inputs among them."""
    given = {name: torch.tensor(arrays[name], dtype=torch.float64) for name in (*INPUTS, "z")}
    ours = _gaussian(given) | _pairs(given)
    for name, value in ours.items():
        np.testing.assert_allclose(value.numpy(), arrays[name], rtol=1e-6, atol=1e-6, err_msg=name)
    return INPUTS | set(ours)


def _gaussian(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    z, mu, logvar = given["z"], given["z_mean"], given["z_logvar"]
    config = override(BetaTCVAE.Config(), {"latents": z.shape[1], "beta": 6.0, "width": 8})
    terms = BetaTCVAE(config, Fields(x=Field((4,)))).regulariser(z, mu, logvar, At())
    weight, raw = terms["total_correlation"]
    return {
        "z": gaussian.sample(mu, logvar, given["eps"]),
        "kl": gaussian.kl(mu, logvar).sum(1).mean(),
        "total_correlation": total_correlation(z, mu, logvar).mean(),
        "beta_tc_regulariser_beta6": terms["kl"].mean() + weight * raw.mean(),
    }


def _pairs(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    mu = torch.stack([given["z_mean"], given["z_mean_2"]], 1)
    logvar = torch.stack([given["z_logvar"], given["z_logvar_2"]], 1)
    apart = weak.distance(mu, logvar)
    kept = weak.kept(apart)
    gvae_mu, gvae_logvar = weak.share(mu, logvar, kept, "gvae")
    ml_mu, ml_logvar = weak.share(mu, logvar, kept, "ml")
    return {
        "ada_kl_per_dim": apart,
        "ada_kept_mask": kept,
        "ada_gvae_mean_1": gvae_mu[:, 0],
        "ada_gvae_mean_2": gvae_mu[:, 1],
        "ada_gvae_logvar_1": gvae_logvar[:, 0],
        "ada_gvae_logvar_2": gvae_logvar[:, 1],
        "ada_mlvae_mean_1": ml_mu[:, 0],
        "ada_mlvae_logvar_1": ml_logvar[:, 0],
    }
