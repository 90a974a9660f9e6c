import math

import pytest
import torch

from unbraid.losses.constrained import tightened


def test_one_step_of_the_multiplier():
    assert float(tightened(torch.tensor(1.0), torch.tensor(0.5), 0.1, (1e-3, 1e4))) == pytest.approx(math.exp(0.05))
    assert float(tightened(torch.tensor(1.0), torch.tensor(0.5), 0.1, (1e-3, 1e4))) == pytest.approx(1.0512711)


def test_it_rises_where_the_bound_is_broken_and_falls_where_it_is_kept():
    after = tightened(torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.1, -0.1, 0.0]), 1.0, (1e-3, 1e4))
    assert after[0] > 2 > after[1]
    assert after[2] == 2


@pytest.mark.parametrize("excess", [100.0, -100.0])
def test_it_never_leaves_its_limits(excess):
    multiplier = torch.ones(())
    for _ in range(5):
        multiplier = tightened(multiplier, torch.tensor(excess), 1.0, (1e-3, 1e4))
        assert 1e-3 <= float(multiplier) <= 1e4
