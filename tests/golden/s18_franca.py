"""Matryoshka heads, Sinkhorn's assignments, the losses, RASA's planes and the masks against the authors' code."""

import numpy as np
import torch

from unbraid.core.method import Alone, At
from unbraid.losses.distil import across_views, cross_entropy_to, of_masked
from unbraid.losses.koleo import koleo
from unbraid.nets.matryoshka import MatryoshkaHead
from unbraid.ops.erasure import along, merged, orthonormal
from unbraid.ops.transport import sinkhorn
from unbraid.views.mask import inverse_block_masks

SLUG = "18-franca"
ALONE = Alone()
Arrays = dict[str, torch.Tensor]


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    kinds = {"nesting_list": _head, "student_local_0": _views, "masks": _patches, "features": _koleo, "W_pred": _rasa}
    kind = next((kinds[key] for key in kinds if key in arrays), _masks)
    return kind({key: torch.tensor(value) for key, value in arrays.items()})


def _same(ours: Arrays, theirs: Arrays, rtol: float = 1e-5, atol: float = 1e-5) -> set[str]:
    for name, value in ours.items():
        got, wanted = torch.as_tensor(value).float(), theirs[name].float()
        torch.testing.assert_close(got, wanted, rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
    return set(ours)


def _levels(a: Arrays, name: str) -> list[torch.Tensor]:
    return [a[f"{name}_{i}"] for i in range(sum(key.startswith(f"{name}_") for key in a))]


def _inputs(a: Arrays, *names: str) -> set[str]:
    return {key for key in a if key.startswith(names)}


def _head(a: Arrays) -> set[str]:
    before, count = a["x"].shape[1], len(a["nesting_list"])
    layers = sum(key.startswith("head.mlps.0.") and key.endswith("weight") for key in a)
    finest = len(a[f"head.last_layers.{count - 1}.weight_g"])
    hidden, bottleneck = len(a["head.mlps.0.0.weight"]), a["head.last_layers.0.weight_v"].shape[1]
    shares = (a["nesting_list"] / before).tolist()
    head = MatryoshkaHead(before, finest, shares, hidden, bottleneck, layers)
    state = {}
    for key in _inputs(a, "head."):
        name = key.removeprefix("head.").replace("matryoshka_projections", "projections")
        name = name.replace("last_layers", "prototypes").replace("weight_g", "length").replace("weight_v", "direction")
        state[name] = a[key]
    head.load_state_dict(state)
    with torch.no_grad():
        ours = {f"out_{i}": scores for i, scores in enumerate(head(a["x"]))}
    return _same(ours, a) | _inputs(a, "head.", "x", "nesting_list")


def _assigned(a: Arrays, temperature: float, iterations: int) -> tuple[Arrays, list[torch.Tensor]]:
    assigned = [sinkhorn(scores, temperature, iterations) for scores in _levels(a, "teacher_logits")]
    return {f"assign_{i}": q for i, q in enumerate(assigned)}, assigned


def _views(a: Arrays) -> set[str]:
    temperature = float(a["student_temp"])
    ours, assigned = _assigned(a, float(a["teacher_temp"]), int(a["n_iter"]))
    compared = _same(ours, a, rtol=1e-4, atol=1e-7)
    local, large = _levels(a, "student_local"), _levels(a, "student_global")
    small_sum = large_mean = torch.tensor(0.0)
    for target, small, big in zip(assigned, local, large, strict=True):
        views = target.chunk(2)
        crops = small.chunk(2 * len(small) // len(target))
        # Of all pairs of a target and another view, those with small ones; the sum and not the mean of them. The rows
        # of the large views' targets are exchanged before they come here.
        pairs = across_views(views, [*big.chunk(2), *crops], temperature).mean() * 2 * (1 + len(crops))
        swapped = across_views(views, big.chunk(2), temperature).mean()
        small_sum = small_sum + pairs - 2 * swapped
        large_mean = large_mean + cross_entropy_to(target, big, temperature).mean()
    return (
        compared
        | _same({"loss_local_raw": small_sum, "loss_global_raw": large_mean}, a, rtol=1e-5, atol=1e-4)
        | _inputs(a, "teacher_", "student_", "n_iter")
    )


def _patches(a: Arrays) -> set[str]:
    ours, assigned = _assigned(a, 0.07, 3)
    compared = _same(ours, a, rtol=1e-4, atol=1e-7)
    levels = zip(assigned, _levels(a, "student_logits"), strict=True)
    loss = sum(of_masked(q, s, a["masks"], 0.1).mean() for q, s in levels)
    return compared | _same({"loss": torch.as_tensor(loss)}, a) | _inputs(a, "teacher_", "student_", "masks")


def _koleo(a: Arrays) -> set[str]:
    return _same({"loss": koleo(a["features"], ALONE).mean()}, a) | {"features"}


def _rasa(a: Arrays) -> set[str]:
    before = a["x"] @ merged([orthonormal(w) for w in a["W_pre"]]).mT
    place = along(before, orthonormal(a["W_pred"]))
    ours = {
        "x_before_pred": before,
        "pos_pred": (before @ a["W_pred"].mT).sigmoid(),
        "x_pos_last": place,
        "x_out": before - place,
    }
    return _same(ours, a) | {"x", "W_pre", "W_pred"}


def _masks(a: Arrays) -> set[str]:
    height, width = a["grid"].tolist()
    compared = {"grid", "num_masked"}
    for roll in (True, False):
        kind = "roll" if roll else "noroll"
        at = At(generator=torch.Generator().manual_seed(0))
        masks = inverse_block_masks(a["num_masked"].expand(4000), (height, width), at, roll=roll)
        assert (masks.sum((1, 2)) == a["num_masked"]).all()
        assert (a[f"sample_masks_{kind}"].sum((1, 2)) == a["num_masked"]).all()
        compared |= _same({f"mean_mask_{kind}": masks.float().mean(0)}, a, rtol=0, atol=0.05)
        compared.add(f"sample_masks_{kind}")
    return compared
