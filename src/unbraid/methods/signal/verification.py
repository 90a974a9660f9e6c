"""How well embeddings tell devices apart that were never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.method import Method
from unbraid.core.outcome import Findings, Table
from unbraid.data.dataset import Dataset
from unbraid.data.splits import part_of
from unbraid.metrics.ranking import auroc, eer, fpr_at_tpr, roc
from unbraid.metrics.verification import as_detection, cosine_pairs

MOST = 2000
"""Items whose pairs are looked at: two million pairs."""

_BATCH, _POINTS = 512, 101


def spread(n: int, most: int = MOST) -> Int[Tensor, " k"]:
    """All of n items, or `most` of them, evenly spaced.

    >>> spread(3).tolist(), spread(10, 4).tolist()
    ([0, 1, 2], [0, 3, 6, 9])
    """
    return torch.arange(n) if n <= most else torch.linspace(0, n - 1, most, dtype=torch.float64).long()


def embed(
    method: Method[Any], data: Dataset, rows: Int[Tensor, " n"], part: str = "device"
) -> tuple[Float[np.ndarray, "n dim"], Int[np.ndarray, " n"]]:
    """A part of some items, and their labels (zeros where the data have none)."""
    device = next(method.parameters()).device
    z, y = [], []
    with torch.no_grad():
        for chunk in torch.split(rows, _BATCH):
            batch = data.take(chunk, device)
            z.append(method.encode(batch)[part].cpu())
            y.append(batch["label"].cpu() if "label" in batch else torch.zeros(len(chunk), dtype=torch.long))
    return torch.cat(z).double().numpy(), torch.cat(y).numpy()


def verified(method: Method[Any], data: Dataset) -> Findings:
    """AUC, equal error rate and false alarms of "two different devices" by cosine distance.

    Devices of which nothing was trained on are looked at, where there are any; else the packets that were not trained
    on; else all. Each environment is looked at by itself, and all at once (pairs from two environments included).
    """
    rows, whose = _held_out(data)
    numbers: dict[str, float] = {}
    lines: dict[str, list[object]] = {"environment": [], "packets": [], "AUC": [], "EER": [], "FPR at 95 % TPR": []}
    arrays = {}
    for name, chosen in _environments(data, rows):
        z, y = embed(method, data, chosen[spread(len(chosen))])
        if not 1 < len(np.unique(y)) < len(y):
            continue
        scores, positive = as_detection(*cosine_pairs(z, y))
        found = {"AUC": auroc(scores, positive), "EER": eer(scores, positive)}
        numbers |= {(f"{key} of {name}" if name else key): value for key, value in found.items()}
        line = [name or "all", len(y), *found.values(), fpr_at_tpr(scores, positive)]
        for column, value in zip(lines.values(), line, strict=True):
            column.append(value)
        if not name:
            curve = roc(scores, positive)
            grid = np.interp(np.linspace(0, 1, _POINTS), curve.fpr, curve.tpr)
            arrays["ROC"] = torch.from_numpy(grid).float()
    notes = [f"Verification of {whose}: a pair of two devices is to be detected by its cosine distance."]
    if not numbers:
        numbers, notes = {"packets": float(len(rows))}, [*notes, "There are no pairs of one device and of two."]
    units = {"ROC": "true alarms, over false alarms from 0 to 1"}
    return Findings(numbers, arrays, units, notes, {"verification": Table(lines)})


def _held_out(data: Dataset) -> tuple[Int[Tensor, " n"], str]:
    """The rows to look at, and whose they are in words."""
    everything = torch.arange(len(data))
    train = part_of(data, "train")
    label = data.roles.get("label", "label")
    if train is None or label not in [f.name for f in data.factors]:
        return everything, "all packets"
    table = data.table(everything)
    learned = table.column("split") == table.factor("split").labels.index("train")
    device = table.column(label)
    unknown = ~np.isin(device, np.unique(device[learned]))
    if unknown.any():
        return everything[torch.from_numpy(unknown)], "devices that were never trained on"
    return everything[torch.from_numpy(~learned)], "packets that were not trained on"


def _environments(data: Dataset, rows: Int[Tensor, " n"]) -> Iterator[tuple[str, Int[Tensor, " m"]]]:
    """Name and rows of all environments together (""), and of each."""
    yield "", rows
    domain = data.roles.get("domain", "domain")
    factor = next((f for f in data.factors if f.name == domain), None)
    if factor is None or not factor.size:
        return
    column = data.table(rows).column(domain)
    for code in np.unique(column[~np.isnan(column)]).astype(int):
        yield factor.labels[code], rows[torch.from_numpy(column == code)]
