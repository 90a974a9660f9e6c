"""LAF's losses against the authors'."""

import numpy as np
import torch

from unbraid.losses.forgetting import alignment, description, misfit, turned

SLUG = "22-laf"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    a = {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}
    remain, forget = misfit(a["s_e"], a["s_e_recon"]).sum(), misfit(a["u_e"], a["u_e_recon"]).sum()
    kept, lost = turned(a["s_e"], a["s_e_teacher"]), turned(a["u_e"], a["u_e_teacher"])
    ours = {
        "extractor_term_remain": remain,
        "extractor_term_forget": forget,
        "extractor_loss": remain - forget,
        "alignment_loss": alignment(kept, lost, float(a["temp"])),
        "vae_loss": description(a["s_e"], a["s_e_recon"], a["mu"], a["sigma"]).mean(),
    }
    for key, value in ours.items():
        np.testing.assert_allclose(value.numpy(), arrays[key], rtol=1e-5, err_msg=key)
    inputs = {"s_e", "s_e_recon", "u_e", "u_e_recon", "s_e_teacher", "u_e_teacher", "temp", "mu", "sigma"}
    return inputs | set(ours)
