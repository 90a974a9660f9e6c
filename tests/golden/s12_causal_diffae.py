"""CausalDiffAE's causal layer and representation loss against the authors' functions."""

import numpy as np
import torch

from unbraid.core.method import At
from unbraid.losses.gaussian import kl
from unbraid.methods.latent.causal_diffae import _mean_of_kept, label_divergence
from unbraid.nets.causal import Mechanisms

SLUG = "12-causal-diffae"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    t = {key: torch.tensor(value) for key, value in arrays.items()}
    n, (batch, width) = len(t["A"]), t["mu"].shape
    layer = Mechanisms(t["A"].tolist(), width // n)
    layer.load_state_dict(
        {"adjacency": t["A"]}
        | {
            f"functions.{i}.{j}.{what}": t[f"sd_nonlinearities.{i}.net.{j}.{what}"]
            for i in range(n)
            for j in (0, 2)
            for what in ("weight", "bias")
        }
    )
    u = t["mu"].reshape(batch, n, -1)
    z = layer(u)
    plain = kl(t["mu"], t["var"].log()).sum(1)
    causal = plain + label_divergence(z, t["c"], torch.ones(batch, n, dtype=torch.bool))
    ours = {
        "z_pre": layer.causes(u),
        "z_post": z.flatten(1),
        "kl_plain": plain,
        "kl_causal": causal,
        "kl_causal_masked": _mean_of_kept(causal, t["mask"], At()),
    }
    for key, value in ours.items():
        np.testing.assert_allclose(value.detach().numpy(), arrays[key], rtol=1e-4, atol=1e-4, err_msg=key)
    inputs = {key for key in arrays if key.startswith("sd_")}
    return {*ours, *inputs, "A", "mu", "var", "c", "mask"}
