"""The exact hypercube: kernels, spectra, an isometry and an encoder's ratios by enumeration."""

import numpy as np
import torch

from unbraid.metrics.augmentation import (
    augmentation_complexity,
    eigenfunctions,
    enumerated_moments,
    isometry_of,
    kernel_K_X,
    trace_gap,
)
from unbraid.views.bits import MaskBits, every_sign, every_view

SLUG = "20-rkhs-augmentation"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    ours = _kernels(arrays) | (_encoder(arrays) if "Phi" in arrays else {})
    for key, value in ours.items():
        np.testing.assert_allclose(value, arrays[key], rtol=1e-9, atol=1e-9, err_msg=key)
    return {"d", "alpha", *ours} | ({"X", "A", "f", "g", "Phi"} & set(arrays))


def _kernels(arrays: dict[str, np.ndarray]) -> dict[str, object]:
    d, ratio = int(arrays["d"]), float(arrays["alpha"])
    flips = "A" not in arrays
    view = MaskBits(ratio, ratio / 2 if flips else 0.0)
    x = torch.tensor(arrays["X"]) if "X" in arrays else every_sign(d)
    a = torch.tensor(arrays["A"]) if "A" in arrays else every_view(d)
    with np.errstate(divide="ignore"):
        logp = np.log(arrays["P"])
    found = augmentation_complexity(logp)
    ours = {
        "P": view.log_density(x.float(), a.float()).exp().numpy(),
        "K_X": kernel_K_X(logp),
        "kappa2": found.kappa2,
        "eigvals": found.spectrum,
    }
    np.testing.assert_allclose(view.complexity(d), arrays["kappa2"], rtol=1e-9)
    return ours | ({"trace": found.trace} if "trace" in arrays else {})


def _encoder(arrays: dict[str, np.ndarray]) -> dict[str, object]:
    p, g = arrays["P"], arrays["g"]
    np.testing.assert_allclose(p @ g, arrays["f"], atol=1e-12)
    ratios, _ = eigenfunctions(enumerated_moments(arrays["Phi"], p))
    return {
        "eps": isometry_of(enumerated_moments(g[:, None], p)),
        "ratio_eigs": ratios,
        "ratio_trace": ratios.sum(),
        "tau2": trace_gap(ratios, arrays["eigvals"]),
    }
