"""The feature map's probabilities against PennyLane's, with and without noise."""

import numpy as np
import torch

from unbraid.methods.quantum.transfer import feature_map
from unbraid.ops.statevector import Noise, probabilities

SLUG = "51-quantum-transfer"
INPUTS = {"angles"}
HADAMARD = {"probs_H_all": "all", "probs_H_first": "first", "probs_no_H": "none"}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file."""
    angles = torch.tensor(arrays["angles"], dtype=torch.float64)
    qubits = angles.shape[1]
    ours = {key: probabilities(feature_map(qubits, h, "ry")(angles)) for key, h in HADAMARD.items() if key in arrays}
    if "density_depolarised" in arrays:
        rho = feature_map(qubits, "all", "ry").density(angles, noise=Noise(depolarising=0.02))
        ours["density_depolarised"] = rho.diagonal(dim1=1, dim2=2).real
    for key, value in ours.items():
        np.testing.assert_allclose(value.numpy(), arrays[key], rtol=0, atol=1e-10, err_msg=key)
    return set(ours) | INPUTS
