"""Views of signs: their densities are those of their draws, their complexities those of their densities."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.core.method import At
from unbraid.metrics.augmentation import augmentation_complexity
from unbraid.views.bits import MaskBits, MaskBlock, every_sign, every_view

VIEWS = [MaskBits(0.3), MaskBits(0.3, 0.15), MaskBits(0.0, 0.2), MaskBlock(0.5), MaskBlock(0.5, 0.25), MaskBlock(0.0)]


@pytest.mark.parametrize("view", VIEWS)
def test_densities_sum_to_one_and_are_the_frequencies_of_draws(view):
    x, a = every_sign(4), every_view(4)
    p = view.log_density(x, a).exp()
    torch.testing.assert_close(p.sum(1), torch.ones(16, dtype=torch.float64))
    seen = view(x[5].expand(20000, 4), At())
    places = torch.tensor([27, 9, 3, 1])
    counts = torch.bincount(((seen + 1).long() * places).sum(1), minlength=81) / len(seen)
    torch.testing.assert_close(counts.double(), p[5], rtol=0, atol=0.02)
    assert set(seen.unique().tolist()) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("d", [4, 5])
def test_complexity_is_that_of_the_density(view, d):
    found = augmentation_complexity(view.log_density(every_sign(d), every_view(d)).numpy())
    np.testing.assert_allclose(found.of_items, view.complexity(d), rtol=1e-10)


def test_of_equal_ratio_blocks_are_simpler_than_bits_and_simpler_with_flips():
    bits, block, flips = (v.complexity(6) for v in (MaskBits(0.5), MaskBlock(0.5), MaskBlock(0.5, 0.25)))
    assert bits > block > flips


def test_a_block_goes_round_the_end():
    seen = MaskBlock(0.5)(torch.ones(300, 6), At())
    assert (seen == 0).sum(1).unique().tolist() == [3]
    assert len((seen == 0).unique(dim=0)) == 6


def test_vectors_of_other_numbers_may_be_masked():
    x = torch.tensor([[0.5, 2.0], [0.5, 3.0]])
    logp = MaskBits(0.25).log_density(x, torch.tensor([[0.5, 0.0], [0.5, 3.0], [0.0, 0.0]]))
    expected = [[0.75 * 0.25, 0.0, 0.0625], [0.75 * 0.25, 0.5625, 0.0625]]
    torch.testing.assert_close(logp.exp(), torch.tensor(expected, dtype=torch.float64))


def test_a_draw_may_be_applied_again():
    view, x = MaskBits(0.5, 0.5), every_sign(3)
    draw = view.draw(x.shape, At())
    torch.testing.assert_close(view.again(x, draw), view(x, At()))
    assert torch.equal(x, every_sign(3))


@pytest.mark.parametrize(("name", "value"), [("ratio", 1.5), ("flip", -0.1)])
def test_shares_outside_their_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        MaskBits(**{"ratio": 0.5, name: value})
