import math

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.sines import Sines


def test_without_noise_the_factors_are_the_series():
    data = Sines(rows=50, steps=20, noise=0.0, offset=3.0)
    a, f, trend, phase, place = data.table(torch.arange(50)).values.T
    t = np.arange(20) / 20
    x = a[:, None] * np.sin(2 * math.pi * ((f + 1)[:, None] * t + phase[:, None] / 12)) + np.outer(trend, t)
    found = data.take(torch.arange(50))["x"][:, 0]
    torch.testing.assert_close(found, torch.from_numpy(x + 3 * place[:, None]).float(), atol=1e-5, rtol=1e-5)


def test_the_second_place_is_noisier():
    quiet, loud = Sines(rows=400, noise=0.0), Sines(rows=400, noise=0.2)
    place = torch.from_numpy(quiet.table(torch.arange(400)).column("place"))
    noise = (loud.take(torch.arange(400))["x"] - quiet.take(torch.arange(400))["x"])[:, 0]
    assert float(noise[place == 0].std()) == pytest.approx(0.2, rel=0.05)
    assert float(noise[place == 1].std()) == pytest.approx(0.4, rel=0.05)


def test_the_seed_tells_everything():
    assert torch.equal(Sines(rows=9).take(torch.arange(9))["x"], Sines(rows=9).take(torch.arange(9))["x"])
    assert Sines(rows=9, seed=1).hash != Sines(rows=9).hash


@pytest.mark.parametrize("spec", ["rows=0", "steps=2", "noise=-1", "noise=nan", "offset=inf", "rows=900000000"])
def test_what_makes_no_world_is_one_line(spec):
    with pytest.raises(DataError) as error:
        open_data(f"sines:{spec}")
    assert "\n" not in str(error.value)
