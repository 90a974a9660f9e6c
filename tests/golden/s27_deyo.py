"""DeYO's step against the authors': what is kept, how it is weighed, and where the norms go."""

import numpy as np
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.deyo import DeYO
from unbraid.training.stepper import Stepper
from unbraid.views.destroy import occlude

SLUG = "27-deyo"
LAYERS = (0, 1, 5)
KINDS = {"step_patch": "patch", "step_pixel": "pixel", "step_occ": "occlude"}


class Destroyed(DeYO):
    """DeYO that is shown the destroyed images of the case, in the order of those that were chosen."""

    def destroyed(self, x, chosen, at):
        return self.prime


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    case = {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}
    method = _method(case)
    method.prime = case["x_prime"]
    ours = _inside(method, case)
    for key, value in ours.items():
        np.testing.assert_allclose(value.detach().numpy(), arrays[key], rtol=1e-5, atol=1e-5, err_msg=key)
    [stage] = method.stages()
    stepper = Stepper(method, stage, seed=0, steps=1)
    report = stepper.step({"x": case["x"]}, 0)
    np.testing.assert_allclose(report.terms["adapt/entropy"], arrays["loss"], rtol=1e-5, err_msg="loss")
    np.testing.assert_allclose(report.outputs["logits"], arrays["outputs"], rtol=1e-5, atol=1e-5, err_msg="outputs")
    after = {key: value for key, value in arrays.items() if key.startswith("after__")}
    own = method.classifier.state_dict()
    for key, value in after.items():
        np.testing.assert_allclose(own[_ours(key.removeprefix("after__"))], value, rtol=0, atol=1e-6, err_msg=key)
    assert len(method.affine) == int(arrays["adapted_params"])
    _check_destruction(name, arrays, case)
    settings = {"tau_ent", "ent0", "tau_plpd", "lr", "patch_len", "adapted_params"}
    given = {key for key in arrays if key[0].isdigit()}
    return {"x", "x_prime", "loss", *ours, *after, *settings, *given}


def _ours(theirs: str) -> str:
    return theirs.replace("__", ".")


def _method(case: dict[str, torch.Tensor]) -> Destroyed:
    channels, classes = case["x"].shape[1], len(case["5__bias"])
    maps = case["0__weight"].shape[0]
    side = int((case["5__weight"].shape[1] // maps) ** 0.5)
    net = nn.Sequential(
        nn.Conv2d(channels, maps, case["0__weight"].shape[-1], padding=case["0__weight"].shape[-1] // 2),
        nn.BatchNorm2d(maps),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
        nn.Linear(maps * side**2, classes),
    )
    net.load_state_dict({_ours(key): value for key, value in case.items() if key[0].isdigit()}, strict=False)
    top = float(np.log(classes))
    config = override(
        DeYO.Config(),
        {"tau_entropy": float(case["tau_ent"]) / top, "ent0": float(case["ent0"]) / top}
        | {"tau_plpd": float(case["tau_plpd"]), "batch": len(case["x"]), "optim.lr": float(case["lr"])}
        | {"patches": int(case["patch_len"])},
    )
    return Destroyed(config, Fields(x=Field(tuple(case["x"].shape[1:]))), Given(classifier=net))


def _inside(method: Destroyed, case: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What lies between the batch and its loss."""
    logits = method.classify(case["x"], At())
    unsure = entropy(logits)
    [sure] = torch.where(unsure < case["tau_ent"])
    plpd = method.reliance(case["x"], logits, unsure < case["tau_ent"], At())
    [kept] = torch.where(plpd > case["tau_plpd"])
    return {
        "outputs": logits,
        "outputs_prime": method.classify(case["x_prime"], At()),
        "entropy": unsure,
        "kept_by_entropy": sure,
        "plpd": plpd,
        "kept_by_plpd": kept,
        "weights": method.weight(unsure[sure][kept], plpd[kept]),
        "n_backward": torch.tensor(len(sure)),
        "n_final": torch.tensor(len(kept)),
    }


def _check_destruction(name: str, arrays: dict[str, np.ndarray], case: dict[str, torch.Tensor]) -> None:
    """The official destruction by our rule: the same bits when covered, the same patches or pixels when shuffled."""
    kind = next((kind for stem, kind in KINDS.items() if name.startswith(stem)), None)
    chosen = case["x"][case["kept_by_entropy"]]
    if kind == "occlude":
        np.testing.assert_allclose(occlude(chosen), arrays["x_prime"], rtol=1e-5, atol=1e-6)
    elif kind is not None:
        side = int(arrays["patch_len"]) if kind == "patch" else chosen.shape[-1]
        ours, theirs = (_tiles(x, side) for x in (chosen, case["x_prime"]))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def _tiles(x: torch.Tensor, side: int) -> torch.Tensor:
    """The patches of each image, sorted by their sum."""
    step = x.shape[-1] // side
    tiles = x.unfold(2, step, step).unfold(3, step, step).permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
    return tiles.gather(1, tiles.sum(2).argsort(1)[:, :, None].expand_as(tiles))
