import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from profiles import cases

from unbraid.core.errors import DataError
from unbraid.data.order import epoch_positions, grouped_folds, iid, key_of, shuffled, split


@given(n=st.integers(1, 3000), key=st.integers(0, 2**63 - 1))
@cases(80)
def test_a_shuffle_is_a_permutation(n, key):
    assert shuffled(n, key, torch.arange(n)).sort().values.equal(torch.arange(n))


@given(n=st.integers(1, 2**40), key=st.integers(0, 2**63 - 1), data=st.data())
@cases(60)
def test_a_shuffle_of_any_length_has_random_access(n, key, data):
    positions = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    together = shuffled(n, key, positions)
    assert (together >= 0).all()
    assert (together < n).all()
    assert len(set(together.tolist())) == len(set(positions.tolist()))
    assert torch.cat([shuffled(n, key, p[None]) for p in positions]).equal(together)


@pytest.mark.parametrize("n", [2, 3, 5, 50])
def test_where_an_item_goes_is_uniform_over_keys(n):
    trials = 4000
    for position in {0, n - 1}:
        # One call per key is slow, so the keys are the epochs of one run.
        went = epoch_positions(torch.arange(trials) * n + position, n, seed=1)
        chi2 = ((np.bincount(went.numpy(), minlength=n) - trials / n) ** 2 / (trials / n)).sum()
        assert chi2 < (n - 1) + 5 * (2 * (n - 1)) ** 0.5 + 5


def test_every_order_of_three_occurs_equally_often():
    orders = epoch_positions(torch.arange(18000), 3, seed=4).reshape(-1, 3)
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert (counts - 1000).abs().max() < 150


def test_neighbours_are_not_correlated():
    p = shuffled(100_003, key_of("z"), torch.arange(100_003)).double()
    assert abs(torch.corrcoef(torch.stack([p[:-1], p[1:]]))[0, 1]) < 0.015


@given(n=st.integers(1, 40), start=st.integers(0, 200), size=st.integers(1, 100))
@cases(40)
def test_a_batch_may_straddle_epochs(n, start, size):
    positions = torch.arange(start, start + size)
    one_by_one = [int(shuffled(n, key_of(5, "train", int(p) // n), torch.tensor([int(p) % n]))[0]) for p in positions]
    assert epoch_positions(positions, n, seed=5).tolist() == one_by_one


def test_streams_and_seeds_have_orders_of_their_own():
    p = torch.arange(100)
    orders = [epoch_positions(p, 100, 0), epoch_positions(p, 100, 1), epoch_positions(p, 100, 0, "other")]
    assert not any(a.equal(b) for i, a in enumerate(orders) for b in orders[:i])


def test_an_empty_batch_is_fine():
    assert epoch_positions(torch.zeros(0, dtype=torch.long), 5, 0).shape == (0,)
    assert shuffled(5, 0, torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_keys_tell_numbers_of_all_kinds_alike_and_text_apart():
    assert key_of(np.int64(3), "a") == key_of(3, "a") != key_of("3", "a")
    assert 0 <= key_of("x") < 2**63


def test_draws_are_uniform_and_repeatable():
    draws = iid(10, key_of("d"), 20_000)
    counts = draws.bincount(minlength=10)
    assert draws.equal(iid(10, key_of("d"), 20_000))
    assert (counts - 2000).abs().max() < 250


@given(groups=st.lists(st.integers(0, 12), min_size=1, max_size=80), k=st.integers(2, 6), seed=st.integers(0, 1000))
@cases(80)
def test_no_group_lies_in_two_folds_and_folds_are_as_equal_as_can_be(groups, k, seed):
    groups = np.array(groups)
    distinct, sizes = np.unique(groups, return_counts=True)
    if len(distinct) < k:
        with pytest.raises(DataError, match="groups"):
            grouped_folds(groups, len(groups), k, seed)
        return
    folds = grouped_folds(groups, len(groups), k, seed).numpy()
    assert all(len(set(folds[groups == g])) == 1 for g in distinct)
    filled = np.bincount(folds, minlength=k)
    assert filled.min() > 0
    assert filled.max() - filled.min() <= sizes.max()


def test_folds_without_groups_differ_by_one_at_most():
    counts = grouped_folds(None, 103, 5, seed=0).bincount()
    assert counts.max() - counts.min() <= 1


def test_groups_may_be_text_or_tensors_and_missing_ones_stay_together():
    folds = grouped_folds(np.array(["a", "b", "a", "c"]), 4, 2, 0)
    assert folds[0] == folds[2]
    folds = grouped_folds(torch.tensor([1.0, float("nan"), 2.0, float("nan")]), 4, 2, 0)
    assert folds[1] == folds[3]


@given(n=st.integers(2, 200), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
@cases(60)
def test_a_split_parts_everything(n, share, seed):
    kept, held = split(n, share, seed)
    assert torch.cat([kept, held]).sort().values.equal(torch.arange(n))
    assert min(len(kept), len(held)) >= 1
    assert abs(len(held) - share * n) <= 1


def test_a_split_keeps_groups_whole():
    groups = np.arange(60) // 7
    kept, held = split(60, 0.3, 1, groups)
    assert not set(groups[kept.numpy()]) & set(groups[held.numpy()])
    assert abs(len(held) - 18) <= 7


@pytest.mark.parametrize(
    "call",
    [
        lambda: shuffled(0, 1, torch.tensor([0])),
        lambda: shuffled(3, 1, torch.tensor([3])),
        lambda: shuffled(3, 1, torch.tensor([-1])),
        lambda: split(10, 1.0, 0),
        lambda: split(4, 0.5, 0, np.zeros(4)),
        lambda: grouped_folds(None, 10, 1, 0),
        lambda: grouped_folds(np.zeros(3), 4, 2, 0),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(DataError):
        call()
