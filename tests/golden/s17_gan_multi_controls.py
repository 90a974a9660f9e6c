"""The classifiers of latent codes and the masked walk against the released code."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from unbraid.nets.branches import Branches
from unbraid.ops.navigation import gradient, open_channels, walk

SLUG = "17-gan-multi-controls"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    net = _branches(arrays)
    found = _classifier(net, arrays) if "labels" in arrays else _path(net, arrays)
    for key, ours in found.items():
        np.testing.assert_allclose(ours.detach().numpy(), arrays[key], rtol=1e-5, atol=1e-5, err_msg=key)
    return set(arrays)


def _branches(arrays: dict[str, np.ndarray]) -> Branches:
    weights = {k: torch.tensor(v) for k, v in arrays.items() if k.startswith("classifiers_")}
    hidden, width = weights["classifiers_0_classifier_0_weight"].shape
    net = Branches(width, (1,) * (len(weights) // 4), hidden)
    renamed = {f"heads.{k.split('_')[1]}.{k.split('_')[3]}.{k.split('_')[4]}": v for k, v in weights.items()}
    net.load_state_dict(renamed)
    return net


def _classifier(net: Branches, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    x, labels = torch.tensor(arrays["x"]), torch.tensor(arrays["labels"])
    own = torch.stack(net.diagonal(x.mT), 2)  # (items, 1, branches)
    every = torch.stack(net(torch.cat(x.unbind(2))), 2)
    # labels (items, branch of the input, branch of the classifier): only the diagonal is descended
    wanted = labels.diagonal(dim1=1, dim2=2).float()
    loss = binary_cross_entropy_with_logits(own[:, 0], wanted, reduction="none").mean(0).sum()
    return {"prob": own.sigmoid(), "full_logits": every, "loss": loss}


def _path(net: Branches, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    top = arrays["top_channels"].tolist()
    scores = [lambda w, k=k: net(w)[k][:, 0] for k in range(len(net.heads))]
    x0, keep = torch.tensor(arrays["x0"]), list(zip(scores[1:], top, strict=True))
    stations = walk(x0, scores[0], keep, steps=len(arrays["masks"]), length=float(arrays["step"]))
    before = stations[:-1]
    return {
        "trajectory": stations,
        "raw_grad": torch.stack([gradient(lambda w: scores[0](w).sigmoid(), w) for w in before]),
        "masks": torch.cat([open_channels([(gradient(s, w), n) for s, n in keep], w) for w in before]).float(),
        "prob": torch.stack([torch.cat(net(w), 1)[0].sigmoid() for w in before]),
    }
