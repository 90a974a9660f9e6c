"""LightGCN by its formulas, and what every recommender over a graph does."""

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, Ranks
from unbraid.data.interactions import Interactions, Side
from unbraid.data.made.intents import Intents
from unbraid.methods.graph.lightgcn import LightGCN
from unbraid.metrics.ranking_lists import MASKED
from unbraid.testing import check_method
from unbraid.testing.made import tiny_data, tiny_vectors
from unbraid.training.build import build
from unbraid.training.fit import fit

WORLD = Intents(users=12, items=24, intents=3)


def built(data=WORLD, **changes):
    method = build(LightGCN, override(LightGCN.Config(), {**LightGCN.presets["tiny"], **changes}), data.fields)
    method.connect({"train": data}, At())
    return method


def taken(data=WORLD):
    """Who took what (users, items)."""
    batch = data.take(torch.arange(len(data)))
    dense = torch.zeros(len(data.users.ids), len(data.items.ids))
    dense[batch["user"], batch["item"]] = 1
    return dense


def test_contract():
    assert "sums" in check_method(LightGCN, tiny_data(LightGCN))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_embeddings_are_means_over_powers_of_the_normalised_adjacency(layers):
    method, one_way = built(layers=layers), taken()
    whole = torch.cat([torch.cat([torch.zeros(12, 12), one_way], 1), torch.cat([one_way.T, torch.zeros(24, 24)], 1)])
    scale = torch.where(whole.sum(1) > 0, whole.sum(1).clamp(min=1).rsqrt(), 0.0)
    normal = scale[:, None] * whole * scale
    x = torch.cat([method.users, method.items])
    powers = [torch.linalg.matrix_power(normal, power) @ x for power in range(layers + 1)]
    final, parts = method.travel()
    torch.testing.assert_close(final, torch.stack(powers).mean(0))
    assert torch.equal(parts["local"], final)


def test_loss():
    method = built(l2=0.3)
    batch = {"user": torch.tensor([0, 3, 3, 5]), "item": torch.tensor([1, 2, 7, 1])}
    terms = method.loss(batch, At())
    others = method.negatives(batch["user"], At())
    final, _ = method.travel()
    scores = final[:12] @ final[12:].T
    for i, (u, p, n) in enumerate(zip(batch["user"], batch["item"], others, strict=True)):
        torch.testing.assert_close(terms["bpr"][i], -(scores[u, p] - scores[u, n]).sigmoid().log())
        norms = sum(t.square().sum() for t in (method.users[u], method.items[p], method.items[n]))
        torch.testing.assert_close(terms["l2"][1][i], norms / 2)
    assert terms["l2"][0] == 0.3


def test_negatives_are_drawn_evenly_from_what_a_user_did_not_take():
    method, free = built(), taken() == 0
    users = torch.tensor([4, 9]).repeat(20_000)
    at = At(generator=torch.Generator().manual_seed(0))
    drawn = method.negatives(users, at)
    for user in (4, 9):
        counts = torch.bincount(drawn[users == user], minlength=24).double()
        assert torch.equal(counts > 0, free[user])
        torch.testing.assert_close(
            counts[free[user]] / 20_000, torch.full((int(free[user].sum()),), 1 / 13).double(), atol=0.01, rtol=0
        )


def test_a_user_without_interactions_may_get_any_item():
    train = torch.tensor([[0, 0], [2, 1]])
    data = Interactions("few", train, train[:0], Side.plain(3), Side.plain(3))
    drawn = built(data).negatives(torch.ones(500, dtype=torch.int64), At())
    assert drawn.unique().tolist() == [0, 1, 2]


def test_who_took_everything_is_refused():
    train = torch.tensor([[0, 0], [0, 1], [1, 0]])
    with pytest.raises(DataError, match="users who did not take every item, got one who did"):
        built(Interactions("all", train, train[:0], Side.plain(2), Side.plain(2)))


def test_what_was_taken_ranks_last():
    method = built()
    assert isinstance(method, Ranks)
    scores = method.rank(torch.tensor([5, 0]))
    assert torch.equal(scores == MASKED, taken()[[5, 0]] > 0)
    expected = method.final[5] @ method.final[12:].T
    torch.testing.assert_close(scores[0][taken()[5] == 0], expected[taken()[5] == 0])


def test_travel_is_made_anew_after_training_and_loading():
    method = built()
    before = method.encode({"node": torch.tensor([3])})["local"]
    fit(method, WORLD)
    after = method.encode({"node": torch.tensor([3])})["local"]
    assert not torch.allclose(before, after)
    fresh = build(LightGCN, method.config, WORLD.fields)
    fresh.load_tensors(method.tensors())
    fresh.refresh()
    assert torch.equal(fresh.encode({"node": torch.tensor([3])})["local"], after)
    assert set(method.tensors()) == {"users", "items", "starts", "heads", "tails", "twins", "weights", "gaps"}


def test_it_learns_what_users_like():
    world = Intents(users=120, items=96, intents=4)
    method = built(world, steps=150, batch=256, **{"optim.lr": 2e-2})
    before = method.examine(world).numbers["recall@20"]
    fit(method, world)
    assert method.examine(world).numbers["recall@20"] > before + 0.15


def test_recommendations_are_the_best_of_what_is_new():
    method = built()
    table = method.recommend("7", k=4, data=WORLD).columns
    scores = method.rank(torch.tensor([7]))[0]
    assert table["item"] == [str(i) for i in scores.topk(4).indices.tolist()]
    assert not any(taken()[7, int(i)] for i in table["item"])
    assert "title" not in table
    every = method.recommend("7", k=24, data=WORLD).columns["item"]
    assert len(every) == 24 - int(taken()[7].sum())


def test_recommendations_have_titles_where_the_data_do():
    items = Side([f"i{i}" for i in range(3)], Side.plain(3).table, ["A", "B", "C"])
    train = torch.tensor([[0, 0], [1, 1]])
    data = Interactions("few", train, train[:0], Side.plain(2), items)
    table = built(data).recommend("0", k=2, data=data)
    assert {(i, t) for i, _, t in table.rows()} == {("i1", "B"), ("i2", "C")}


def test_mistakes_are_one_line():
    method = built()
    with pytest.raises(
        ConfigError, match=r"--user: expected one that the interactions know, got 'abc'; there are 12, such as '0'"
    ):
        method.recommend("abc", data=WORLD)
    with pytest.raises(ConfigError, match=r"--k: expected 1\.\.24 items, got 0"):
        method.recommend("7", k=0, data=WORLD)
    with pytest.raises(DataError, match=r"data: expected interactions, got MemoryDataset; use interactions:PATH"):
        method.examine(tiny_vectors())
    with pytest.raises(DataError, match="how many values the field 'user' takes"):
        LightGCN(LightGCN.Config(), Fields(user=Field((), "int64"), item=Field((), "int64", classes=3)))
    with pytest.raises(ConfigError, match="layers: expected a whole number from 0 on, got -1"):
        LightGCN.Config(layers=-1)
    with pytest.raises(ConfigError, match="batch: expected a whole number from 1 on, got 0"):
        LightGCN.Config(batch=0)


def test_nothing_held_out_is_said():
    train = torch.tensor([[0, 0], [1, 1]])
    data = Interactions("few", train, train[:0], Side.plain(2), Side.plain(3))
    assert built(data).examine(data).notes == ["Nothing was held out."]
