import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.digits import digits
from unbraid.data.made.placed import placed_digits


def test_a_digit_is_where_the_factors_say():
    data = placed_digits(rows=200, noise=0.0)
    plain = {tuple(x.flatten().tolist()) for x in digits(8).take(torch.arange(1797))["x"]}
    x, table = data.take(torch.arange(200))["x"], data.table(torch.arange(200))
    for image, row, column in zip(x, table.column("row"), table.column("column"), strict=True):
        r, c = int(row), int(column)
        assert tuple(image[0, r : r + 8, c : c + 8].flatten().tolist()) in plain
        assert image.sum() == pytest.approx(float(image[0, r : r + 8, c : c + 8].sum()))


def test_imbalance_thins_the_training_images_alone():
    data = placed_digits(imbalance=20.0)
    counts = np.bincount(data.table(torch.arange(len(data))).column("digit").astype(int))
    assert (np.diff(counts) < 3).all()
    assert 15 < counts[0] / counts[9] < 30
    assert len(data.held_out) == 1197
    assert data.held_out.held_out is not None


def test_noise_is_cut_to_the_range_of_images_and_splits_differ():
    data = placed_digits()
    x = data.take(torch.arange(len(data)))["x"]
    assert x.min() == 0
    assert x.max() == 1
    assert data.hash != data.held_out.hash != placed_digits(seed=1).held_out.hash


@pytest.mark.parametrize("options", [{"rows": 5}, {"size": 7}, {"noise": -1.0}, {"imbalance": 0.5}])
def test_wrong_options(options):
    with pytest.raises(DataError):
        placed_digits(**options)
