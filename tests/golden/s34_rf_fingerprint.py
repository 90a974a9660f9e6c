"""The waveform, the synchronisation, the losses and the verification of the authors' radio fingerprint."""

import numpy as np
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.losses.adversarial import above_chance, hinged
from unbraid.losses.margin import margin_logits
from unbraid.methods.signal.rf_fingerprint import RFFingerprint
from unbraid.metrics.ranking import auroc, equal_errors
from unbraid.metrics.verification import as_detection, cosine_pairs
from unbraid.ops import radio

SLUG = "34-rf-fingerprint"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    if "symbol_waveforms" in arrays:
        return _waveforms(arrays)
    if "estimated_hz" in arrays:
        return _synchronisation(arrays)
    if "logits_with_label" in arrays:
        return _angles(arrays)
    if "kld_raw" in arrays:
        return _losses(arrays)
    if "eer" in arrays:
        return _verification(arrays)
    return _layout(arrays) if "image" in arrays else set()


def _close(ours: object, arrays: dict[str, np.ndarray], key: str, atol: float = 1e-5, rtol: float = 0.0) -> None:
    found = ours.detach().numpy() if isinstance(ours, torch.Tensor) else np.asarray(ours)
    np.testing.assert_allclose(found, arrays[key], atol=atol, rtol=rtol, err_msg=key)


def _complex(pairs: np.ndarray) -> torch.Tensor:
    """I + jQ of an array whose last axis is I and Q."""
    return torch.view_as_complex(torch.tensor(pairs))


def _pairs(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x)


def _waveforms(arrays: dict[str, np.ndarray]) -> set[str]:
    symbols = torch.arange(arrays["symbol_waveforms"].shape[1])
    _close(_pairs(radio.oqpsk(symbols[:, None])).transpose(0, 1), arrays, "symbol_waveforms")
    eight = (len(arrays["preamble"]) - 5) // radio.SYMBOL
    _close(_pairs(radio.oqpsk(torch.zeros(eight, dtype=torch.long))), arrays, "preamble")
    _close(_pairs(radio.oqpsk(torch.tensor(arrays["test_code"]))), arrays, "test_frame")
    return {"symbol_waveforms", "preamble", "test_code", "test_frame"}


def _synchronisation(arrays: dict[str, np.ndarray]) -> set[str]:
    preamble, hertz = _complex(arrays["preamble"]), torch.tensor(arrays["offset_hz"])
    shown = arrays["shifted"].shape[1]
    shifted = radio.rotated(preamble.expand(len(hertz), -1), hertz)
    _close(_pairs(shifted)[:, :shown], arrays, "shifted")
    estimated = radio.fine_offset(shifted)
    _close(estimated, arrays, "estimated_hz", atol=0.5)
    _close(_pairs(radio.rotated(shifted, estimated))[:, :shown], arrays, "compensated")
    turned = radio.turned(preamble.expand(len(hertz), -1), -torch.tensor(arrays["phase"]))
    _close(_pairs(turned)[:, :shown], arrays, "phase_applied")
    error = radio.phase_error(turned, preamble)
    _close(error, arrays, "phase_estimated")
    _close(_pairs(radio.turned(turned, -error))[:, :shown], arrays, "phase_compensated")
    return set(arrays)


def _angles(arrays: dict[str, np.ndarray]) -> set[str]:
    x, weight = (torch.tensor(arrays[key], requires_grad=True) for key in ("x", "weight"))
    y, scale, margin = torch.tensor(arrays["y"]), float(arrays["s"]), float(arrays["m"])
    logits = margin_logits(x, weight, y, scale, margin)
    _close(logits, arrays, "logits_with_label")
    _close(x @ weight.T, arrays, "logits_without_label")
    loss = functional.cross_entropy(logits, y)
    _close(loss, arrays, "ce", rtol=1e-6)
    for gradient, key in zip(torch.autograd.grad(loss, [x, weight]), ("grad_x", "grad_w"), strict=True):
        _close(gradient, arrays, key)
    return set(arrays)


def _losses(arrays: dict[str, np.ndarray]) -> set[str]:
    given = {key: torch.tensor(value) for key, value in arrays.items()}
    dim, classes = given["z1"].shape[1], given["scores1"].shape[1]
    names = {"alpha": "alpha", "beta": "beta", "swap": "lam", "floor": "epsilon"}
    options = {ours: float(arrays[theirs]) for ours, theirs in names.items()}
    tiny = {**RFFingerprint.presets["tiny"], "dim": dim, **options}
    fields = Fields(x=Field((2, 320)), label=Field((), "int64", classes=classes))
    method = RFFingerprint(override(RFFingerprint.Config(), tiny), fields)
    raw = above_chance(given["scores_bag"], given["y1"]).mean()
    _close(raw, arrays, "kld_raw")
    _close(hinged(raw, options["floor"]), arrays, "kld")
    seen = (given[key] for key in ("x1", "x1_bag", "x1_rec", "z1", "z1_rec"))
    terms = {name: _weighed(term) for name, term in method.separation(*seen, raw).items()}
    _close(terms["told"] + terms["background"], arrays, "L_Q", rtol=1e-6)
    _close(terms["reconstruction"] + terms["return"], arrays, "L_G", rtol=1e-6)
    for label, key in (("y1", "L_F_label_y1"), ("y2", "L_F_label_y2_as_released")):
        found = method.recognition(given["scores1"], given["y1"], given["scores12"], given[label])
        _close(sum(map(_weighed, found.values())), arrays, key, rtol=1e-6)
    return set(arrays)


def _weighed(term: object) -> torch.Tensor:
    weight, value = term if isinstance(term, tuple) else (1.0, term)
    return weight * value.mean()


def _verification(arrays: dict[str, np.ndarray]) -> set[str]:
    same, apart = cosine_pairs(arrays["features"], arrays["labels"])
    for ours, key in ((same, "intra"), (apart, "inter")):  # theirs has every pair twice
        np.testing.assert_allclose(np.sort(np.repeat(ours, 2)), np.sort(arrays[key]), atol=1e-9, err_msg=key)
    scores, positive = as_detection(same, apart)
    _close(auroc(scores, positive), arrays, "auc", atol=1e-9)
    found = equal_errors(scores, positive)
    _close(found.rate, arrays, "eer", atol=1e-6)
    _close(found.threshold, arrays, "threshold")
    return set(arrays)


def _layout(arrays: dict[str, np.ndarray]) -> set[str]:
    x = torch.tensor(arrays["x"])[:, 0].mT  # theirs has I and Q last
    image = radio.to_image(x, arrays["image"].shape[2])
    _close(image, arrays, "image")
    _close(image.flatten(2).mT[:, None], arrays, "roundtrip")
    _close(radio.noise_scale(radio.to_complex(x)[0], 20.0, already=30.0), arrays, "noise_scale_first_item_20dB_snrx30")
    filtered = radio.filtered(_complex(arrays["fir_in"]), _complex(arrays["fir_taps"]))
    _close(_pairs(filtered), arrays, "fir_out")
    return set(arrays)
