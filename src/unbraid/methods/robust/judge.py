"""What a network still knows of what it was to forget, beside one that never saw it."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.method import Source
from unbraid.core.outcome import Findings, Table
from unbraid.data.dataset import Dataset
from unbraid.data.origin import held_out_of
from unbraid.data.wrapped import Subset
from unbraid.methods.robust.accuracy import batches, column
from unbraid.methods.robust.choose import is_group, matching, split
from unbraid.metrics.membership import membership
from unbraid.standins.classifier import learn

if TYPE_CHECKING:
    from unbraid.methods.robust.laf import LAF

ROW = ("remain", "forget", "test", "test remain", "test forget", "attack", "taken")
"""Accuracies, and what an attacker finds out: see `metrics.membership`. NaN where it cannot be told."""

UNKNOWN = -1.0
"""In the place of NaN, which is not equal to itself, where a method keeps such a row."""

_EPOCHS, _BATCH, _RATE, _MOST = 20, 64, 1e-3, 3000
_FORWARD, _BOTH = 1, 3  # what a pass costs, in forward passes of one item


def examine(method: LAF, data: Source) -> Findings:
    """Accuracy on what remains, on what was to be forgotten and on a test, and how well an attacker tells members.

    The same for the network before, where that is known, and for one trained again without what was to be forgotten.
    What matters is how close forgetting comes to training again.
    """
    forget, remain = split(data, method.config.forget, method.config.seed)
    sizes = {"items to forget": float(len(forget)), "items that remain": float(len(remain))}
    if "label" not in data.fields:
        return Findings(sizes, notes=["These data have no labels: what was forgotten cannot be measured."])
    before = [math.nan if value == UNKNOWN else value for value in method.before.tolist()]
    rows = {"before": before} if before else {}
    rows["laf"] = row(method.model, data, method.config.forget, method.config.seed)
    again = trained_again(method.model.net, remain, seed=method.config.seed)
    rows["trained again"] = row(again, data, method.config.forget, method.config.seed)
    told = [name for i, name in enumerate(ROW) if not math.isnan(rows["laf"][i])]
    columns = {name: [values[ROW.index(name)] for values in rows.values()] for name in told}
    ours, theirs = cost(method, len(data), len(forget)), cost_again(len(remain))
    gap = float(np.nanmean(np.abs(np.subtract(rows["laf"], rows["trained again"]))))
    numbers = {name: rows["laf"][ROW.index(name)] for name in told}
    numbers |= {"gap to trained again": gap, "cost": ours / theirs, **sizes}
    units = {"cost": "of training again, in passes of an item through the network", "attack": "0.5 is chance"}
    notes = [
        "`attack` and `taken`: how often an attacker who knows some members is right, and takes what was to be "
        "forgotten for members. Not the least is best, but what training again gives.",
        "`gap` is the mean difference to the network that was trained again, for 20 epochs by Adam.",
    ]
    if "test" not in told:
        notes.append("No test items are known, so that there is no attack; data that name a test have one.")
    return Findings(numbers, units=units, notes=notes, tables={"forgetting": Table({"network": list(rows), **columns})})


def row(net: nn.Module, data: Source, spec: str, seed: int) -> list[float]:
    """The numbers `ROW` of one network."""
    forget, remain = split(data, spec, seed)
    test = held_out_of(data, ["label"])
    found = {"remain": _accuracy(net, remain), "forget": _accuracy(net, forget)}
    if test is not None:
        found["test"] = _accuracy(net, test)
        found |= _by_side(net, test, spec)
        found |= _attacked(net, remain, forget, test, seed)
    return [found.get(name, math.nan) for name in ROW]


def _by_side(net: nn.Module, test: Dataset, spec: str) -> dict[str, float]:
    """Accuracy on test items of the kind that was to be forgotten, and on the others, where there are both."""
    if not is_group(spec):
        return {}
    meant = matching(test.table(torch.arange(len(test))), spec)
    if not meant.any() or meant.all():
        return {}
    sides = {"test remain": ~meant, "test forget": meant}
    return {k: _accuracy(net, Subset(test, torch.from_numpy(np.flatnonzero(side)))) for k, side in sides.items()}


def _attacked(net: nn.Module, remain: Source, forget: Source, test: Source, seed: int) -> dict[str, float]:
    members, suspects, strangers = (_probabilities(net, side) for side in (remain, forget, test))
    half = np.random.default_rng(seed).permutation(len(strangers))
    first, second = half[: len(half) // 2], half[len(half) // 2 :]
    found = membership(members, strangers[first], suspects, strangers[second], seed)
    return {"attack": found.success, "taken": found.taken}


@torch.no_grad()
def _probabilities(net: nn.Module, data: Source) -> Float[np.ndarray, "n classes"]:
    device = next(p.device for p in net.parameters())
    probable: Tensor = torch.cat([net(b["x"].to(device)).softmax(1) for b in batches(data)])
    return probable.double().cpu().numpy()


def _accuracy(net: nn.Module, data: Source) -> float:
    label: Int[Tensor, " n"] | None = column(data, "label")
    assert label is not None
    return float((_probabilities(net, data).argmax(1) == label.cpu().numpy()).mean())


def trained_again(net: nn.Module, remain: Source, seed: int) -> nn.Module:
    """A network of the same layers, begun anew and trained on what remains."""
    fresh = copy.deepcopy(net).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in fresh.modules():
            begin: Any = getattr(module, "reset_parameters", None)
            if callable(begin):
                begin()
    learn(fresh, remain, seed, steps=_steps(len(remain)), batch=_BATCH, lr=_RATE)
    return fresh.eval()


def _steps(n: int) -> int:
    return max(1, min(_MOST, _EPOCHS * n // _BATCH))


def cost(method: LAF, n: int, forget: int) -> float:
    """Passes of an item through the network that forgetting took; one backward counts as two forward."""
    c = method.config
    described = c.describe_epochs * (n + forget) * _FORWARD
    steps = math.ceil(c.epochs * forget / c.batch)
    align = _BOTH + _FORWARD  # the network, and its teacher forward
    moved = steps * 2 * c.batch * {"both": _BOTH + align, "extract": _BOTH, "align": align}[c.moves]
    return described + moved + c.repair_epochs * (n - forget) * _FORWARD


def cost_again(remain: int) -> float:
    """The same for training again."""
    return _steps(remain) * _BATCH * _BOTH
