"""QLAE's first optimiser steps against the authors' quantiser, losses and update rule."""

import numpy as np
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.methods.latent.qlae import QLAE
from unbraid.nets.mlp import mlp
from unbraid.training.stepper import Stepper

SLUG = "09-qlae"
OURS = {
    "enc_w1": "encoder.0.weight",
    "enc_b1": "encoder.0.bias",
    "enc_w2": "encoder.2.weight",
    "enc_b2": "encoder.2.bias",
    "dec_w1": "decoder.0.weight",
    "dec_b1": "decoder.0.bias",
    "dec_w2": "decoder.2.weight",
    "dec_b2": "decoder.2.bias",
    "values": "quantiser.values",
}


class Traced(QLAE):
    """QLAE around the reference's perceptrons of one hidden layer."""

    def __init__(self, config: QLAE.Config, arrays: dict[str, np.ndarray]) -> None:
        hidden, width = arrays["init_enc_w1"].shape
        super().__init__(config, Fields(x=Field((width,), unit=True)))
        self.encoder = mlp((width, hidden, config.latents))
        self.decoder = mlp((config.latents, hidden, width))
        self.load_tensors({ours: torch.tensor(arrays[f"init_{theirs}"]) for theirs, ours in OURS.items()})


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    lr, decay, steps = arrays["settings_lr_wd_steps"].tolist()
    latents, values = arrays["init_values"].shape
    batch = {"x": torch.tensor(arrays["x"])}
    config = override(
        QLAE.Config(),
        {"latents": latents, "values": values, "steps": int(steps), "batch": len(batch["x"])}
        | {"optim.lr": lr, "optim.weight_decay": decay},
    )
    method = Traced(config, arrays)
    inputs = {"x", "settings_lr_wd_steps", *(f"init_{theirs}" for theirs in OURS)}
    return inputs | _first_step(method, batch, arrays) | _trace(method, batch, int(steps), arrays)


def _first_step(method: Traced, batch: dict[str, torch.Tensor], arrays: dict[str, np.ndarray]) -> set[str]:
    terms = method.loss(batch, At())
    pre = method.encoder(batch["x"])
    codes = method.quantiser(pre)
    (_, quantisation), (_, commitment) = terms["quantisation"], terms["commitment"]
    total = terms["reconstruction"].mean() + sum(w * raw.mean() for w, raw in list(terms.values())[1:])
    named = dict(method.named_parameters())
    gradients = torch.autograd.grad(total, [named[ours] for ours in OURS.values()])
    ours = {
        "loss": total,
        "bce": terms["reconstruction"],
        "quantization_loss": quantisation,
        "commitment_loss": commitment,
        "z_continuous": pre,
        "z_quantized": codes.quantised,
        "z_indices": codes.ids,
        "x_hat_logits": method.decoder(codes.z),
        **{f"grad_{theirs}": g for theirs, g in zip(OURS, gradients, strict=True)},
    }
    for key, value in ours.items():
        np.testing.assert_allclose(value.detach().numpy(), arrays[key], rtol=1e-5, atol=1e-5, err_msg=key)
    return set(ours)


def _trace(method: Traced, batch: dict[str, torch.Tensor], steps: int, arrays: dict[str, np.ndarray]) -> set[str]:
    stepper = Stepper(method, method.stages()[0], seed=0, steps=steps)
    weights = {
        "reconstruction": 1.0,
        "quantisation": method.config.quantisation,
        "commitment": method.config.commitment,
    }
    trace = []
    for step in range(steps):
        terms = stepper.step(batch, step).numbers()
        trace.append(sum(w * terms[f"fit/{term}"] for term, w in weights.items()))
    np.testing.assert_allclose(trace, arrays["loss_trace"], rtol=2e-4, err_msg="loss_trace")
    final = method.tensors()
    for theirs, ours in OURS.items():
        key = f"final_{theirs}"
        np.testing.assert_allclose(final[ours].numpy(), arrays[key], rtol=2e-4, atol=2e-5, err_msg=key)
    return {"loss_trace", *(f"final_{theirs}" for theirs in OURS)}
