"""The VAE losses against disentanglement_lib's, run in double precision."""

import numpy as np
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.losses import gaussian, weak
from unbraid.losses.total_correlation import covariance, total_correlation
from unbraid.methods.latent.annealed_vae import AnnealedVAE
from unbraid.methods.latent.beta_tcvae import BetaTCVAE
from unbraid.methods.latent.dip_vae import DIPVAE

INPUTS = {"z_mean", "z_logvar", "z_mean_2", "z_logvar_2", "eps"}


def check_vae_losses(arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare what is built; the names of the arrays that were compared, inputs among them."""
    given = {name: torch.tensor(arrays[name], dtype=torch.float64) for name in (*INPUTS, "z")}
    ours = _gaussian(given) | _regularisers(given) | _pairs(given)
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


def _regularisers(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The whole of what is added to the reconstruction error, from the methods' own terms."""
    mu, annealed = given["z_mean"], {"gamma": 1000.0, "capacity": 25.0, "growing": 100_000}
    return {
        "cov_z_mean": covariance(mu),
        "dip_i_od10_d100": _added(DIPVAE, {"of": "means"}, given),
        "dip_ii_od10_d10": _added(DIPVAE, {"of": "samples"}, given),
        "annealed_regulariser_gamma1000_cmax25_step40000_of_100000": _added(AnnealedVAE, annealed, given, 40_000),
    }


def _added(cls, changes, given, step=0):
    config = override(cls.Config(), {"latents": given["z"].shape[1], "width": 8, **changes})
    method = cls(config, Fields(x=Field((4,))))
    terms = method.regulariser(given["z"], given["z_mean"], given["z_logvar"], At(step=step))
    # The reference's DIP regularisers are given without the KL.
    weighed = {name: t if isinstance(t, tuple) else (1.0, t) for name, t in terms.items() if name != "kl"}
    return sum(weight * raw.mean() for weight, raw in weighed.values())


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
