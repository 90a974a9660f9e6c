"""Local learning's decoders, classifiers, losses and gradients of a step, and copies against the released code."""

import numpy as np
import torch

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.method import Alone, At
from unbraid.losses.contrastive import supervised
from unbraid.methods.edge.momentum_auxiliary import MomentumAuxiliary
from unbraid.nets.local import LocalClassifier, LocalDecoder

SLUG = "49-momentum-auxiliary"
MEAN, STD = ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
LAYERS = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "last", "downsample": "shortcut"}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    return _auxiliary(arrays) if "feat" in arrays else _step(arrays)


def _close(ours: torch.Tensor, theirs: np.ndarray, name: str, close: float = 1e-4) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=close, atol=close, err_msg=name)


# ------------------------------------------------------------------------------------------------- auxiliary networks


def _auxiliary(arrays: dict[str, np.ndarray]) -> set[str]:
    z, x, y = (torch.tensor(arrays[name]) for name in ("feat", "image01", "target"))
    weights = {name: torch.tensor(value) for name, value in arrays.items()}

    def state(prefix: str, old: str, new: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix).replace(old, new, 1): v for k, v in weights.items() if k.startswith(prefix)}

    decoder = LocalDecoder(z.shape[1], x.shape[1:], len(arrays["dec.decoder.0.bias"]) / 12)
    found = {"loss_decoder": _bce(_loaded(decoder, state("dec.", "decoder", "net"))(z), x).mean()}
    for key, prefix in (("loss_ce", "aux."), ("loss_contrast", "auxc.")):
        own = state(prefix, "head", "head")
        hidden, out = len(own["head.5.bias"]), len(own["head.7.bias"])
        logits = _loaded(LocalClassifier(z.shape[1], 64, out, "1c2f", hidden), own)(z)
        plain = torch.nn.functional.cross_entropy(logits, y) if key == "loss_ce" else None
        found[key] = supervised(logits, y, 0.07, Alone()).mean() if plain is None else plain
    for key, value in found.items():
        _close(value, arrays[key], key)
    return set(arrays)


def _loaded(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """With these weights, in train mode; running statistics, which are those after the call, are compared after it."""
    net.load_state_dict({k: v for k, v in state.items() if "running" not in k and "tracked" not in k}, strict=False)

    def compare(module: torch.nn.Module, *_: object) -> None:
        for name, value in module.named_buffers():
            if name in state:
                _close(value, state[name].numpy(), name)

    net.register_forward_hook(compare)
    return net


def _bce(made: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy(made, x)


# --------------------------------------------------------------------------------------------------------- a whole step


def _step(arrays: dict[str, np.ndarray]) -> set[str]:
    normal, y = torch.tensor(arrays["image"]), torch.tensor(arrays["target"])
    method = _method(arrays, normal.shape[1:])
    mean, std = (torch.tensor(v).view(3, 1, 1) / 255 for v in (MEAN, STD))
    front = method.blocks[0][0]
    front.mean, front.std = mean, std
    batch, at = {"x": normal * std + mean, "label": y}, At()
    method.train()
    named, losses, grads = dict(method.named_parameters()), [], {}
    logits: list[torch.Tensor] = []
    method.head.register_forward_hook(lambda _m, _i, out: logits.append(out))
    for update in method.stages()[0].updates:
        loss = sum(w * raw.mean() for w, raw in _weighted(update.loss(batch, at)))
        learning = {name: p for name, p in named.items() if p.requires_grad}
        found = torch.autograd.grad(loss, [*learning.values()], allow_unused=True)
        for name, grad in zip(learning, found, strict=True):
            if grad is not None:
                assert name not in grads, f"{name} has two gradients"
                grads[name] = grad
        losses.append(loss.detach())
        if update.after:
            update.after(at)
    _close(torch.stack(losses), arrays["local_losses"], "local_losses")
    _close(logits[0], arrays["logits"], "logits")
    names = _names(arrays)
    for key in arrays:
        if key.startswith("grad."):
            _close(grads[names[key.removeprefix("grad.")]], arrays[key], key)
        elif key.startswith("ema_after."):
            _close(named[names["EMA_Net." + key.removeprefix("ema_after.")]], arrays[key], key)
    return set(arrays)


def _weighted(terms: dict[str, object]) -> list[tuple[float, torch.Tensor]]:
    return [term if isinstance(term, tuple) else (1.0, term) for term in terms.values()]


def _method(arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> MomentumAuxiliary:
    fields = Fields(x=Field(shape, unit=True), label=Field((), "int64", classes=len(arrays["q.fc64.bias"])))
    weights = {"reconstruction": (float(arrays["ixx"]),) * 2, "task": (float(arrays["ixy"]),) * 2}
    options = {
        **MomentumAuxiliary.presets["tiny"],
        **weights,
        "width": len(arrays["q.bn1.bias"]),
        "classifier": "1c2f",
        "hidden": 4 * len(arrays["q.aux_classifier_2_0.head.5.bias"]),
        "widen": len(arrays["q.decoder_2_0.decoder.0.bias"]) / 12,
        "momentum": float(arrays["momentum"]),
    }
    method = MomentumAuxiliary(override(MomentumAuxiliary.Config(), options), fields)
    named, scale = dict(method.named_parameters()), float(arrays["scale"])
    for theirs, ours in _names(arrays).items():
        q = torch.tensor(arrays[f"q.{theirs}"]).float() * scale
        named[ours].data = q + 1 if q.ndim == 1 and theirs.endswith("weight") else q
    return method


def _names(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Their names of parameters -> ours."""
    return {key.removeprefix("q."): _ours(key.removeprefix("q.").split(".")) for key in arrays if key.startswith("q.")}


def _ours(parts: list[str]) -> str:
    first, rest = parts[0], parts[1:]
    if first in ("conv1", "bn1"):
        return ".".join(["blocks.0.0.net", "0" if first == "conv1" else "1", *rest])
    if first == "fc64":
        return ".".join(["head", *rest])
    if first.startswith("layer"):
        k = int(first[-1]) - 1
        return ".".join([f"blocks.{k}.{1 if k == 0 else 0}", LAYERS[rest[1]], *rest[2:]])
    if first in ("LB", "EMA_Net"):
        kind = "twin" if first == "LB" else "ema.twin"
        return ".".join([f"paths.{rest[0]}.{kind}", LAYERS[rest[1]], *rest[2:]])
    path = int(first.split("_")[-2]) - 2
    kind = "decoder.net" if first.startswith("decoder") else "classifier.head"
    return ".".join([f"paths.{path}.{kind}", *rest[1:]])
