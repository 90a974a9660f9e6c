"""Supervised dictionaries, a sparse autoencoder, its scores and edits against the authors' functions."""

import numpy as np
import torch
from torch import Tensor

from unbraid.metrics.dictionary import match
from unbraid.nets.dictionary import ReLUDictionary
from unbraid.ops.dictionary import (
    Codes,
    contribution,
    exchange,
    least_squares_codes,
    mean_codes,
    recompose,
    scale_of,
    shares,
)

SLUG = "23-sae-evaluations"
INPUTS = {"A", "io", "s", "io_pos", "io_new", "W_enc", "W_dec", "b_enc", "b_dec", "A_target_norm", "edit_k"}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file."""
    given = {key: torch.tensor(value) for key, value in arrays.items()}
    ours = {**_supervised(given), **_autoencoder(given)}
    loose = {"mse_recon", "feature_weights"}
    for key, value in ours.items():
        rtol = 1e-4 if key in loose else 1e-5
        np.testing.assert_allclose(value, arrays[key], rtol=rtol, atol=rtol, err_msg=key)
    return set(ours)


def _supervised(given: dict[str, Tensor]) -> dict[str, np.ndarray]:
    a, labels = given["A"], torch.stack([given["io"], given["s"], given["io_pos"]], 1)
    sizes = [len(given[f"mean_code_{attribute}"]) for attribute in ("io", "s", "pos")]
    codes: Codes = mean_codes(a, labels, sizes)
    io = codes.vectors[0]
    edited = a - contribution(io, given["io"]) + contribution(io, given["io_new"])
    found = {
        "mean_code_bias": codes.bias[None],
        "mean_code_io": io,
        "mean_code_s": codes.vectors[1],
        "mean_code_pos": codes.vectors[2],
        "mean_recon": recompose(codes, labels),
        "mse_recon": recompose(least_squares_codes(a, labels, sizes), labels),
        "edited_io_arith": edited,
    }
    return {key: value.numpy() for key, value in found.items()}


def _autoencoder(given: dict[str, Tensor]) -> dict[str, np.ndarray]:
    width, dim = given["W_dec"].shape
    net = ReLUDictionary(dim, width)
    theirs = {"encoder": "W_enc", "decoder": "W_dec", "bias": "b_enc", "centre": "b_dec"}
    net.load_state_dict({mine: given[key].mT if key == "W_enc" else given[key] for mine, key in theirs.items()})
    scale = scale_of(given["A"])
    x = given["A"] / scale
    with torch.no_grad():
        coded, acts, target = net(x), net.code(x), net.code(given["A_target_norm"])
        edit = exchange(acts, target, net.decoder, given["A_target_norm"] - x, int(given["edit_k"]))
    values = torch.arange(given["f1_io"].shape[1])
    scores = match((acts > 0).numpy(), (given["io"][:, None] == values).numpy())
    return {
        "scale": scale.numpy(),
        "A_norm": x.numpy(),
        "sae_recon": coded.reconstruction.numpy(),
        "sae_acts": acts.numpy(),
        "l2_loss": (coded.reconstruction - x).square().sum(1).mean().numpy(),
        "l1_loss": coded.price.mean().numpy(),
        "precision_io": scores.precision,
        "recall_io": scores.recall,
        "f1_io": scores.f1,
        "feature_weights": shares(acts, given["W_dec"]).numpy(),
        "edit_features": edit.chosen.numpy(),
        "edit_scores": edit.left.numpy(),
        "edited_act": ((x + edit.change) * scale).numpy(),
    }
