"""Masks: how much, where, and that every process draws its own share of one draw."""

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.core.method import At
from unbraid.views.mask import (
    block_masks,
    inverse_block_masks,
    random_masks,
    rolled,
    shuffled,
    some_ratios,
    spaced_ratios,
    unit_masks,
)


class Rank:
    size = 2

    def __init__(self, rank):
        self.rank = rank


def test_the_shuffle_restores_and_keeps_the_least_noise():
    noise = torch.rand(5, 12, generator=torch.Generator().manual_seed(0))
    found = shuffled(noise, 0.75)
    assert found.keep.shape == (5, 3)
    assert (found.mask.sum(1) == 9).all()
    kept = torch.zeros(5, 12, dtype=torch.bool).scatter(1, found.keep, True)
    assert torch.equal(kept, ~found.mask)
    assert (noise[kept].view(5, 3).amax(1) < noise[found.mask].view(5, 9).amin(1)).all()
    order = torch.cat([found.keep, noise.argsort(1)[:, 3:]], 1)
    assert torch.equal(order.gather(1, found.restore), torch.arange(12).expand(5, -1))


def test_random_masks_have_their_share_everywhere():
    masks = random_masks(400, (3, 4), 0.5, At())
    assert masks.dtype == torch.bool
    assert (masks.sum((1, 2)) == 6).all()
    assert ((masks.float().mean(0) - 0.5).abs() < 0.12).all()


def test_squares_are_whole_and_their_number_is_rounded_up():
    masks = unit_masks(50, (4, 6), 0.55, 2, At())
    assert (masks.sum((1, 2)) == 4 * 4).all()  # 6 squares, of which 3.3 are asked for
    squares = masks.view(50, 2, 2, 3, 2).float().mean((2, 4))
    assert set(squares.unique().tolist()) == {0.0, 1.0}
    with pytest.raises(ConfigError, match="squares that tile"):
        unit_masks(1, (4, 5), 0.5, 2, At())


def test_blocks_reach_what_is_asked_and_never_more():
    amount = torch.tensor([0, 10, 40, 75] * 20)
    masks = block_masks(amount, (14, 14), At())
    count = masks.sum((1, 2))
    assert (count <= amount).all()
    assert (count[amount == 75] >= 70).all()
    assert (count[amount == 0] == 0).all()
    pairs = (masks[:, :, 1:] & masks[:, :, :-1]).sum((1, 2)) + (masks[:, 1:] & masks[:, :-1]).sum((1, 2))
    scattered = random_masks(80, (14, 14), 75 / 196, At())
    loose = (scattered[:, :, 1:] & scattered[:, :, :-1]).sum() + (scattered[:, 1:] & scattered[:, :-1]).sum()
    assert pairs[amount == 75].float().mean() > 1.3 * loose / 80


def test_all_but_a_block_is_exact_and_even_where_it_is_rolled():
    amount = torch.tensor([100, 30, 0, 256] * 200)
    for roll in (False, True):
        masks = inverse_block_masks(amount, (16, 16), At(), roll=roll)
        assert torch.equal(masks.sum((1, 2)), amount)
    often = inverse_block_masks(torch.full((3000,), 100), (16, 16), At(), roll=True).float().mean(0)
    assert ((often - 100 / 256).abs() < 0.05).all()
    centred = inverse_block_masks(torch.full((3000,), 100), (16, 16), At()).float().mean(0)
    assert centred[8, 8] < 0.05 < 0.5 < centred[0, 0]


def test_rolling_is_that_of_torch():
    masks = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    down, across = torch.tensor([0, 1, 2, 2]), torch.tensor([4, 0, 1, 3])
    expected = [m.roll((int(d), int(a)), (0, 1)) for m, d, a in zip(masks, down, across, strict=True)]
    assert torch.equal(rolled(masks, down, across), torch.stack(expected))


def test_half_of_the_ratios_are_zero():
    ratios = some_ratios(2000, At(), 0.3, 0.2, 0.5)
    on = ratios > 0
    assert 0.45 < on.float().mean() < 0.55
    assert ratios[on].min() >= 0.1 - 1e-6
    assert ratios[on].max() <= 0.5


@pytest.mark.parametrize(
    "draw",
    [
        lambda n, at: random_masks(n, (4, 4), 0.5, at),
        lambda n, at: unit_masks(n, (4, 4), 0.5, 2, at),
        lambda n, at: block_masks(torch.full((n,), 6), (4, 4), at, least=2),
        lambda n, at: inverse_block_masks(torch.full((n,), 6), (4, 4), at, roll=True),
    ],
)
def test_two_processes_draw_the_masks_of_one(draw):
    def at(world=None):
        made = At(generator=torch.Generator().manual_seed(3))
        made.world = world or made.world
        return made

    halves = [draw(4, at(Rank(rank))) for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), draw(8, at()))


def test_ratios_that_lie_side_by_side_fill_their_range():
    place = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    ratios = spaced_ratios(place, 100, At(), 0.1, 0.6, 0.5)
    assert (ratios[place >= 50] == 0).all()
    low = 0.1 + 0.01 * place[place < 50]
    some = ratios[place < 50]
    assert ((some >= low - 1e-6) & (some <= low + 0.01 + 1e-6)).all()
