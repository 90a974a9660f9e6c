"""The rows that a data set itself sets aside, by its factor `split`."""

from __future__ import annotations

import numpy as np
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import Dataset
from unbraid.data.wrapped import SPLIT, Subset


def part_of(data: Dataset, name: str) -> Dataset | None:
    """The rows whose factor `split` has this value; None where there are none, or no such factor.

    >>> from unbraid.data.made.radio import Radio
    >>> data = Radio(devices=3, unknown=1, captures=2, packets=2, samples=320)
    >>> len(part_of(data, "train")), part_of(data, "rest")
    (4, None)
    """
    factor = next((f for f in data.factors if f.name == SPLIT), None)
    if factor is None or name not in factor.labels:
        return None
    column = data.table(torch.arange(len(data))).column(SPLIT)
    rows = torch.from_numpy(np.flatnonzero(column == factor.labels.index(name)))
    return Subset(data, rows) if len(rows) else None


def training_part(data: Dataset) -> Dataset:
    """The rows to learn from: those of the split "train", or all where there is no factor `split`.

    Raises:
        DataError: There is such a factor, and none of its values is "train".
    """
    part = part_of(data, "train")
    if part is None and any(f.name == SPLIT for f in data.factors):
        labels = ", ".join(next(f for f in data.factors if f.name == SPLIT).labels[:8])
        raise DataError("rows of the split 'train'", got=labels, fix="rename its values", where=data.name)
    return data if part is None else part
