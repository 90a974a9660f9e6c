"""Barlow Twins' loss, LARS and schedule against the released code on one process."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import Alone, At, Budget, Method, NoOptions, Optim, Stage, Update
from unbraid.losses.joint import cross_correlation, off_diagonal
from unbraid.methods.joint.barlow_twins import LARS, BarlowTwins
from unbraid.nets.norm import BatchNorm, BatchStandardise
from unbraid.training.schedules import factor
from unbraid.training.stepper import Stepper

SLUG = "37-barlow-twins"
IMAGES = Fields(x=Field((1, 16, 16), unit=True))


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    checks = {"loss": _loss, "W0": _lars, "lr_weights": _schedule}
    kind = next(key for key in ("W0", "loss", "lr_weights") if key in arrays)
    return checks[kind](arrays)


def _close(ours: object, theirs: np.ndarray, name: str, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    value = ours.detach().numpy() if isinstance(ours, torch.Tensor) else ours
    np.testing.assert_allclose(value, theirs, rtol=rtol, atol=atol, err_msg=name)


def _loss(arrays: dict[str, np.ndarray]) -> set[str]:
    z1, z2 = (torch.tensor(arrays[name], requires_grad=True) for name in ("z1", "z2"))
    tiny = override(BarlowTwins.Config(), {**BarlowTwins.presets["tiny"], "redundancy": float(arrays["lambd"])})
    standardise, alone = BatchStandardise(), Alone()
    c = cross_correlation(standardise(z1, alone), standardise(z2, alone), alone)
    terms = BarlowTwins(tiny, IMAGES).terms(c, At())
    loss = sum(weight * raw for weight, raw in terms.values())
    grad_z1, grad_z2 = torch.autograd.grad(loss, (z1, z2))
    norm = BatchNorm(z1.shape[1], affine=False)
    for z in (z1, z2):
        norm(z)
    ours = {
        "loss": loss,
        "cross_corr": c,
        "on_diag": terms["invariance"][1],
        "off_diag": off_diagonal(c).square().sum(),
        "grad_z1": grad_z1,
        "grad_z2": grad_z2,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
    }
    for name, value in ours.items():
        _close(value, arrays[name], name)
    return {"z1", "z2", "lambd", *ours}


class Given(Method[NoOptions]):
    """The reference's three tensors under its gradients."""

    card = BarlowTwins.card

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(NoOptions(), IMAGES)
        self.arrays = arrays
        for name in "WbZ":
            setattr(self, name, nn.Parameter(torch.tensor(arrays[f"{name}0"])))

    def given(self, batch: object, at: At) -> dict[str, torch.Tensor]:
        slopes = {n: torch.tensor(self.arrays[f"grad_{n}"][at.step]) for n in "WbZ"}
        return {"given": sum((p * slopes[n]).sum() for n, p in self.named_parameters())}


def _lars(arrays: dict[str, np.ndarray]) -> set[str]:
    biases = replace(LARS.groups[0], lr=float(arrays["lr_biases"]))
    optim = Optim(
        "lars",
        lr=float(arrays["lr_weights"]),
        momentum=float(arrays["momentum"]),
        weight_decay=float(arrays["weight_decay"]),
        trust=float(arrays["eta"]),
        groups=(biases,),
    )
    method, steps = Given(arrays), len(arrays["W"])
    stage = Stage("fit", [Update("fit", method.given, lambda: [method], optim)], Budget(steps=steps))
    stepper = Stepper(method, stage, seed=0, steps=steps)
    for step in range(steps):
        stepper.step({}, step)
        for name, p in method.named_parameters():
            _close(p, arrays[name][step], name)
    return set(arrays)


def _schedule(arrays: dict[str, np.ndarray]) -> set[str]:
    epochs, each, batch = (int(arrays[name]) for name in ("epochs", "steps_per_epoch", "batch_size"))
    tiny = {**BarlowTwins.presets["tiny"], "optim": LARS, "epochs": epochs, "batch": batch, "steps": None}
    optim = BarlowTwins(override(BarlowTwins.Config(), tiny), IMAGES).stages()[0].updates[0].optim
    rates = np.array([factor(optim.schedule, At(step=s, steps=epochs * each)) for s in range(epochs * each)])
    _close(optim.lr * rates, arrays["lr_weights"], "lr_weights", 1e-12, 1e-12)
    _close(optim.groups[0].lr * rates, arrays["lr_biases"], "lr_biases", 1e-12, 1e-12)
    return set(arrays)
