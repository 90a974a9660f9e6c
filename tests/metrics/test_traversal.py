import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.metrics.traversal import follows, roughness, variation_predictability


def test_paths_that_differ_are_told_and_equal_ones_are_not():
    g = torch.Generator().manual_seed(0)
    before, which = torch.randn(800, 6, generator=g), torch.arange(800) % 4
    ways = torch.eye(6)[:4]
    assert variation_predictability(before, before + ways[which], which) > 0.98
    assert variation_predictability(before, before + ways[0], which) == pytest.approx(0.25, abs=0.06)


def test_what_depends_on_the_first_item_is_told_too():
    """Two paths that turn an item by a little, one way or the other: the mean change of both is none."""
    g = torch.Generator().manual_seed(0)
    before, which = torch.randn(2000, 2, generator=g), torch.arange(2000) % 2
    turned = torch.stack([-before[:, 1], before[:, 0]], 1)
    after = before + 0.3 * turned * (2 * which[:, None] - 1)
    assert variation_predictability(before, after, which) > 0.9


def test_too_few_examples():
    x, which = torch.randn(30, 3), torch.arange(30) % 5
    with pytest.raises(DataError, match="3 examples of 5 paths"):
        variation_predictability(x, x, which)


def test_roughness_of_lines_and_walks():
    g = torch.Generator().manual_seed(0)
    line = torch.arange(6.0)[:, None, None] * torch.randn(1, 4, 3, generator=g)
    assert roughness(line).max() < 1e-6
    walk = torch.randn(200, 4, 50, generator=g).cumsum(0)
    torch.testing.assert_close(roughness(walk), torch.full((4,), 2.0), atol=0.1, rtol=0)
    torch.testing.assert_close(roughness(3 * walk + 1), roughness(walk))
    assert roughness(torch.zeros(3, 2, 5)).tolist() == [0.0, 0.0]
    with pytest.raises(DataError, match="3 stations"):
        roughness(line[:2])


def test_a_factor_that_follows():
    steps = torch.arange(9.0)
    scores = torch.stack([steps, -steps, torch.ones(9), (steps - 4) ** 2], 1)[:, None].repeat(1, 3, 1)
    torch.testing.assert_close(follows(scores), torch.tensor([1.0, 1.0, 0.0, 0.0]))
