import math

import pytest
import torch
from sklearn.metrics import ndcg_score
from torch.utils._python_dispatch import TorchDispatchMode

from unbraid.core.errors import ConfigError
from unbraid.metrics.ranking_lists import MASKED, Lists, recall_ndcg, top_items

USERS, ITEMS = 37, 90


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def case():
    """Embeddings, what each user has seen, and what is held out: nothing for user 5, everything else for user 6."""
    chance = torch.Generator().manual_seed(1)
    kinds = torch.randint(6, (USERS, ITEMS), generator=chance)
    kinds[5][kinds[5] == 1] = 2
    kinds[6][kinds[6] != 0] = 1
    return drawn(USERS, 4), drawn(ITEMS, 4, seed=2), kinds == 0, kinds == 1


def lists(mask):
    return Lists(mask.nonzero(), len(mask))


def by_hand(users, items, seen, held, k):
    recalls, gains = [], []
    for scores, had, wanted in zip(users @ items.T, seen, held, strict=True):
        if wanted.any():
            ranked = scores.masked_fill(had, MASKED).argsort(descending=True)[:k].tolist()
            hits = [bool(wanted[item]) for item in ranked]
            best = sum(1 / math.log2(place + 2) for place in range(min(k, int(wanted.sum()))))
            recalls.append(sum(hits) / int(wanted.sum()))
            gains.append(sum(hit / math.log2(place + 2) for place, hit in enumerate(hits)) / best)
    return sum(recalls) / len(recalls), sum(gains) / len(gains)


@pytest.mark.parametrize("block", [8192, 16])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_recall_and_ndcg_by_hand(monkeypatch, case, block, k):
    monkeypatch.setattr("unbraid.metrics.ranking_lists._ITEMS", block)
    monkeypatch.setattr("unbraid.metrics.ranking_lists._USERS", block)
    users, items, seen, held = case
    found = recall_ndcg(users, items, lists(seen), lists(held), (k, 3))
    recall, ndcg = by_hand(users, items, seen, held, k)
    assert found[f"recall@{k}"] == pytest.approx(recall)
    assert found[f"ndcg@{k}"] == pytest.approx(ndcg)


def test_ndcg_is_scikit_learns(case):
    users, items, seen, held = case
    held[5, 0], seen[5, 0] = True, False
    found = recall_ndcg(users, items, lists(seen), lists(held), (10,))
    scores = (users @ items.T).masked_fill(seen, MASKED)
    assert found["ndcg@10"] == pytest.approx(ndcg_score(held.numpy(), scores.numpy(), k=10))


def test_lists_longer_than_there_are_items(case):
    users, items, seen, held = case
    assert recall_ndcg(users, items, lists(seen), lists(held), (200,))["recall@200"] == 1.0


def test_with_nothing_held_out_there_is_no_answer(case):
    users, items, seen, held = case
    assert math.isnan(recall_ndcg(users, items, lists(seen), lists(held & False), (5,))["recall@5"])


@pytest.mark.parametrize("block", [8192, 16, 7])
def test_the_best_come_first_and_what_was_seen_last(monkeypatch, case, block):
    monkeypatch.setattr("unbraid.metrics.ranking_lists._ITEMS", block)
    users, items, seen, _ = case
    values, ranked = top_items(users, items, lists(seen).of(torch.arange(USERS)), ITEMS)
    scores = (users @ items.T).masked_fill(seen, MASKED)
    torch.testing.assert_close(values, scores.sort(1, descending=True).values)
    assert torch.equal(ranked.sort(1).values, torch.arange(ITEMS).expand(USERS, ITEMS))
    assert all(
        set(row[len(row) - int(had.sum()) :].tolist()) == set(had.nonzero()[:, 0].tolist())
        for row, had in zip(ranked, seen, strict=True)
    )


def test_as_many_items_as_there_are():
    with pytest.raises(ConfigError, match=r"1\.\.3 items to rank, got 4"):
        top_items(torch.ones(1, 2), torch.ones(3, 2), torch.zeros((0, 2), dtype=torch.int64), 4)


class Largest(TorchDispatchMode):
    """The numbers in the largest tensor that any operation gives."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = out if isinstance(out, list | tuple) else [out]
        self.numbers = max(self.numbers, *(t.numel() for t in tensors if isinstance(t, torch.Tensor)), 0)
        return out


def test_memory_is_that_of_a_block_however_many_users_and_items_there_are():
    n_users, n_items = 1500, 50_000
    nobody = Lists(torch.zeros((0, 2), dtype=torch.int64), n_users)
    everybody = Lists(torch.arange(n_users)[:, None].expand(-1, 2), n_users)
    users, items = drawn(n_users, 2), drawn(n_items, 2, seed=1)
    with Largest() as largest:
        recall_ndcg(users, items, nobody, everybody)
    assert largest.numbers <= 256 * 8192
