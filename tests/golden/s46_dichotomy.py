"""The tabular losses, the divergence of the prior and the contrastive loss of the Dichotomy of Control."""

import numpy as np
import torch
from torch.nn import functional

from unbraid.losses.control import conditional_information, nce, table_contrast
from unbraid.losses.gaussian import kl

SLUG = "46-dichotomy-of-control"
INPUTS = {
    *("posterior_logits", "value_logits", "policy_logits", "energy", "reward_prior", "states", "actions", "rewards"),
    *("z", "mu_q", "logvar_q", "mu_p", "logvar_p", "nce_scores", "joint_sar"),
}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file, in its own precision."""
    t = {key: torch.tensor(value) for key, value in arrays.items()}
    state, action, reward, z = t["states"], t["actions"], t["rewards"], t["z"]
    one_hot = functional.one_hot(z, t["energy"].shape[-1]).to(t["energy"].dtype)
    pos, neg = table_contrast(t["energy"], state, action, reward, one_hot, t["reward_prior"])
    ours = {
        "value_loss": functional.cross_entropy(t["value_logits"][state, z], reward, reduction="none"),
        "action_loss": functional.cross_entropy(t["policy_logits"][state, z], action, reduction="none"),
        "pos": pos,
        "neg": neg,
        "gaussian_kl_elementwise": kl(t["mu_q"], t["logvar_q"], t["mu_p"], t["logvar_p"]),
        "nce_loss": nce(t["nce_scores"]).mean(),
        "conditional_mi_nats": conditional_information(t["joint_sar"], t["posterior_logits"].softmax(-1)),
    }
    for key, value in ours.items():
        tolerance = 1e-10 if arrays[key].dtype == np.float64 else 1e-5
        np.testing.assert_allclose(value.numpy(), arrays[key], rtol=tolerance, atol=tolerance, err_msg=key)
    return set(ours)
