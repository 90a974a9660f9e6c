"""DirectPred's running correlation, its predictor and the loss against the released code."""

import numpy as np
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.losses.joint import twice_cosine
from unbraid.methods.joint.directpred import DirectPred

SLUG = "43-directpred"
IMAGES = Fields(x=Field((1, 16, 16), unit=True))


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    return _loss(arrays) if "pred" in arrays else _predictors(arrays)


def _loss(arrays: dict[str, np.ndarray]) -> set[str]:
    p, z = torch.tensor(arrays["pred"]), torch.tensor(arrays["target"])
    np.testing.assert_allclose(twice_cosine(p, z), arrays["loss_l2norm"], rtol=0, atol=1e-6)
    np.testing.assert_allclose((p - z).square().sum(1), arrays["loss_raw"], rtol=1e-5, atol=1e-6)
    return set(arrays)


def _predictors(arrays: dict[str, np.ndarray]) -> set[str]:
    eps, rho, features = float(arrays["eps"]), float(arrays["rho"]), torch.tensor(arrays["features"])
    variants = {
        "W_eps_outside": {},
        "W_eps_inside": {"inside": True},
        "W_directcopy": dict(DirectPred.aliases["directcopy"]),
    }
    for key, changes in variants.items():
        tiny = {**DirectPred.presets["tiny"], "projector": (8, features.shape[-1]), "rho": rho, "eps": eps}
        method = DirectPred(override(DirectPred.Config(), {**tiny, **changes}), IMAGES)
        for step, views in enumerate(features):
            at = At(step=step)
            method._measure(views.flatten(0, 1), views.flip(0).flatten(0, 1), at)
            method.after(at)
            found = {"F_hat": (method.correlation, 1e-6), key: (method.predictor.weight.detach(), 1e-4)}
            for name, (ours, close) in found.items():
                np.testing.assert_allclose(
                    ours, arrays[name][step], rtol=close, atol=close, err_msg=f"{name}, step {step}"
                )
    return set(arrays)
