"""Rows that a data set sets aside by its factor `split`."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.splits import part_of, training_part


def data(**columns):
    return MemoryDataset("d", torch.arange(4.0)[:, None], FactorTable.from_columns(columns) if columns else None)


def test_parts_are_the_rows_of_their_value():
    split = data(split=["train", "test", "train", "validation"])
    assert part_of(split, "train").take(torch.arange(2))["x"].flatten().tolist() == [0, 2]
    assert part_of(split, "validation").take(torch.arange(1))["x"].flatten().tolist() == [3]
    assert part_of(split, "other") is None
    assert len(training_part(split)) == 2


def test_without_the_factor_everything_is_learned_from():
    plain = data(kind=np.arange(4))
    assert part_of(plain, "train") is None
    assert training_part(plain) is plain


def test_a_split_without_training_rows_is_refused():
    with pytest.raises(DataError, match="split 'train', got a, b"):
        training_part(data(split=["a", "b", "a", "b"]))
