"""The eight methods' losses against solo-learn's, and the scores of the protocols against scikit-learn's."""

import runpy
from pathlib import Path

import numpy as np
import torch

from unbraid.metrics.outliers import detected
from unbraid.metrics.ranking import balanced_accuracy, macro_auroc, macro_f1

SLUG = "48-medical-ssl-benchmark"

_SHARED = runpy.run_path(str(Path(__file__).with_name("_joint_losses.py")))
dino, joint = _SHARED["dino"], _SHARED["joint"]


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    if "z1" in arrays:
        tensors = {key: torch.tensor(value) for key, value in arrays.items()}
        return joint(tensors) | dino(tensors)
    found = detected(arrays["scores_id"], arrays["scores_ood"])
    probs, labels = arrays["probs"], arrays["labels"]
    said = probs.argmax(1)
    ours = {
        "auroc": found.auroc,
        "aupr_id_positive": found.aupr_in,
        "aupr_ood_positive": found.aupr_out,
        "fpr_at_95tpr": found.fpr,
        "acc": (said == labels).mean(),
        "balanced_acc": balanced_accuracy(said, labels),
        "macro_f1": macro_f1(said, labels),
        "auc_ovr_macro": macro_auroc(probs, labels),
    }
    for key, value in ours.items():
        np.testing.assert_allclose(value, arrays[key], rtol=0, atol=1e-9, err_msg=key)
    return set(ours) | {"scores_id", "scores_ood", "probs", "labels"}
