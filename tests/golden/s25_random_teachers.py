"""The head and the losses of the released code."""

import numpy as np
import torch

from unbraid.losses.distil import cross_entropy_to, entropy
from unbraid.nets.heads import Centre, PrototypeHead

SLUG = "25-random-teachers"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    return _head(arrays) if "x" in arrays else set()  # standardising for its probe: ours is another probe


def _close(ours: torch.Tensor, theirs: np.ndarray, name: str) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-4, atol=1e-5, err_msg=name)


def _head(arrays: dict[str, np.ndarray]) -> set[str]:
    a = {name: torch.tensor(value) for name, value in arrays.items()}
    weights = [a[f"head.{at}.weight"] for at in ("mlp.layer0.lin", "mlp.layer1.lin", "last_layer.lin1")]
    biases = [a[f"head.{at}.bias"] for at in ("mlp.layer0.lin", "mlp.layer1.lin", "last_layer.lin1")]
    last = a["head.last_layer.lin2.weight"]
    hidden = [len(w) for w in weights[:2]]
    head = PrototypeHead(a["x"].shape[-1], len(last), hidden, len(weights[2]), unit=False)
    state = {f"mlp.{2 * i}.weight": w for i, w in enumerate(weights)}
    state |= {f"mlp.{2 * i}.bias": b for i, b in enumerate(biases)}
    head.load_state_dict({**state, "prototypes.weight": last})
    logits = head(a["x"])
    _close(logits, arrays["logits"], "logits")
    centre = Centre(len(last), keep=0.9)
    for call in (1, 2):
        _close((logits - centre.mean) / 0.04, arrays[f"logits_centered_call{call}"], f"call {call}")
        centre.follow(logits.flatten(0, -2).mean(0))
    _close(centre.mean, arrays["center_after"], "center_after")
    student, target = a["student_logits"], a["teacher_logits"].softmax(-1)
    n = len(student)
    everyone = [(i, j) for i in range(n) for j in range(n)]
    pairings = {"same": [p for p in everyone if p[0] == p[1]], "opposite": [p for p in everyone if p[0] != p[1]]}
    for kind, pairs in {**pairings, "all": everyone}.items():
        ce = torch.stack([cross_entropy_to(target[i], student[j], 1.0).mean() for i, j in pairs]).mean()
        kl = ce - torch.stack([entropy(target[i]).mean() for i, _ in pairs]).mean()
        doubt = torch.stack([entropy(student[j].softmax(-1)).mean() for _, j in pairs]).mean()
        mse = torch.stack([(student[j] - a["teacher_logits"][i]).square().mean() for i, j in pairs]).mean()
        for value, label in ((ce, "CE"), (kl, "KL"), (doubt, "H_pred"), (mse, "MSE")):
            _close(value, arrays[f"{label}_{kind}"], f"{label}_{kind}")
    return set(arrays)
