"""Two items become one: by hand, and as areas say."""

import torch

from unbraid.views.mixing import mixed


def pairs(n=6, shape=(3, 2, 8, 10)):
    torch.manual_seed(0)
    return torch.rand(n, 2, *shape)


def test_blended_items_are_weighted_means():
    x, share = pairs(), torch.tensor([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])
    y, kept = mixed(x, share, torch.zeros(6, dtype=torch.bool), torch.full((6, 2), 0.5))
    w = share[:, None, None, None, None]
    torch.testing.assert_close(y, w * x[:, 0] + (1 - w) * x[:, 1])
    torch.testing.assert_close(kept, share)


def test_a_pasted_box_is_the_same_in_every_frame_and_its_area_is_what_counts():
    x, share = pairs(), torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])
    centre = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.5, 0.2], [0.3, 0.3], [1.0, 1.0], [0.5, 0.5]])
    y, kept = mixed(x, share, torch.ones(6, dtype=torch.bool), centre)
    first, second = y == x[:, 0], y == x[:, 1]
    assert (first | second).all()
    assert (first == first[:, :1, :1]).all()
    torch.testing.assert_close(kept, first[:, 0, 0].double().mean((1, 2)).float())
    assert kept[0] == 0
    assert kept[5] == 1
    side = (0.25**0.5) / 2
    rows = ((torch.arange(8) + 0.5) / 8 - 0.3).abs() < side
    columns = ((torch.arange(10) + 0.5) / 10 - 0.3).abs() < side
    assert torch.equal(second[3, 0, 0], rows[:, None] & columns)
