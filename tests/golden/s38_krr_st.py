"""One outer step of KRR-ST and the step of the network that follows it, against the released code."""

import numpy as np
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import Optim, Schedule
from unbraid.methods.joint.krr_st import KRRST
from unbraid.training.stepper import Stepper

SLUG = "38-krr-st"


class Known(nn.Module):
    """A target that says what the reference's said."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows[: len(x)]


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    method = _method(arrays)
    batch = {"x": torch.tensor(arrays["x_real"])}
    stepper = Stepper(method, method.stages()[0], seed=0, steps=160_000)
    at = stepper.at(0)
    loss = method.loss(batch, at)["error"].mean()
    grad_x, grad_y = torch.autograd.grad(loss, [method.images, method.targets])
    report = stepper.step(batch, 0)
    ours = {
        "outer_loss": report.terms["outer/error"],
        "grad_x_syn": grad_x,
        "grad_y_syn": grad_y,
        "x_syn_after": method.images,
        "y_syn_after": method.targets,
    }
    after = method.pool.tensors(0)
    ours |= {key: after[_ours(key)] for key in arrays if key.startswith("net_after.")}
    for key, value in ours.items():
        wanted = arrays[key]
        scale = max(1e-12, float(np.abs(wanted).max()))
        np.testing.assert_allclose(value.detach().numpy(), wanted, rtol=1e-4, atol=1e-4 * scale, err_msg=key)
    return set(arrays)


def _ours(key: str) -> str:
    """`net.layers.0.block.1.weight` -> `features.0.1.weight`."""
    inner = key.partition(".")[2]
    return inner.replace("layers.", "features.").replace("block.", "").replace("fc.", "head.")


def _method(arrays: dict[str, np.ndarray]) -> KRRST:
    net = {_ours(key): torch.tensor(value) for key, value in arrays.items() if key.startswith("net.")}
    widths = tuple(len(w) for key, w in net.items() if key.startswith("features") and w.ndim == 4)
    m, *shape = arrays["x_syn"].shape
    config = override(
        KRRST.Config(),
        {
            "images": m,
            "widths": widths,
            "pool": 1,
            "ridge": float(arrays["ridge_rel"]),
            "augment": "none",
            "optim": Optim("adamw", lr=float(arrays["outer_lr"]), schedule=Schedule("linear", final=1e-3)),
            "inner": Optim(
                "sgd",
                lr=float(arrays["online_lr"]),
                momentum=float(arrays["online_momentum"]),
                weight_decay=float(arrays["online_wd"]),
            ),
        },
    )
    target = Known(torch.tensor(arrays["y_real"]))
    method = KRRST(config, Fields(x=Field(tuple(shape), unit=True)), Given(target=target))
    with torch.no_grad():
        method.images.copy_(torch.tensor(arrays["x_syn"]))
        method.targets.copy_(torch.tensor(arrays["y_syn"]))
        for key, tensor in method.pool.tensors(0).items():
            tensor.copy_(net[key])
    return method
