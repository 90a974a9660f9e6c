import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.metrics.episodes import episodes


def test_views_that_tell_help_and_the_first_alone_does_not():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat_interleave(20)
    noise = torch.randn(100, 3, 5, generator=generator)
    codes = 0.2 * noise
    codes[:, 1:] += torch.eye(5)[labels][:, None]
    found = episodes(codes, labels, 5, 5, 10, 50)
    assert found["single"].mean() == pytest.approx(0.2, abs=0.08)
    assert found["aggregated"].mean() > 0.95


def test_the_same_seed_gives_the_same_episodes_and_another_does_not():
    codes, labels = torch.randn(40, 1, 4, generator=torch.Generator().manual_seed(0)), torch.arange(4).repeat(10)
    first, again, other = (episodes(codes, labels, 3, 2, 4, 5, seed)["single"] for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_too_few_items_are_said():
    with pytest.raises(DataError, match="at least 3 classes with enough items"):
        episodes(torch.zeros(4, 1, 2), torch.tensor([0, 0, 1, 1]), 3, 1, 1, 1)
    with pytest.raises(DataError, match="at least 2 classes"):
        episodes(torch.zeros(4, 1, 2), torch.tensor([0, 0, 1, 1]), 1, 1, 1, 1)
