"""DCCF by its formulas; the golden cases hold its views and losses against the authors' code."""

import pytest
import torch
from torch.nn import functional

from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.method import At
from unbraid.data.made.intents import Intents
from unbraid.methods.graph.dccf import DCCF, intents, mask
from unbraid.methods.graph.recommender import Triple
from unbraid.testing import check_method
from unbraid.testing.made import tiny_data
from unbraid.training.build import build

WORLD = Intents(users=12, items=24, intents=3)
TRIPLE = Triple(torch.tensor([0, 3, 3, 5]), torch.tensor([1, 2, 7, 1]), torch.tensor([9, 9, 3, 4]))


def built(**changes):
    method = build(DCCF, override(DCCF.Config(), {**DCCF.presets["tiny"], **changes}), WORLD.fields)
    method.connect({"train": WORLD}, At())
    return method


def dense(method, weights):
    out = torch.zeros(36, 36)
    out[method.heads.long(), method.tails.long()] = weights
    return out


def normal(x):
    return x / x.norm(dim=1, keepdim=True)


def test_contract():
    assert "sums" in check_method(DCCF, tiny_data(DCCF))


def test_contract_of_the_other_variant():
    config = override(DCCF.Config(), {**DCCF.aliases["dccf-sslrec"], **DCCF.presets["tiny"]})
    assert "sums" in check_method(DCCF, tiny_data(DCCF), config)


def test_layers_by_matrices():
    method = built(layers=2)
    normalised = dense(method, method.weights)
    linked = normalised > 0
    x = torch.cat([method.users, method.items])
    total = x
    final, views = method.layers()
    for layer in views:
        torch.testing.assert_close(layer.graph, normalised @ x)
        chosen = (x[:12] @ method.user_intents).softmax(1), (x[12:] @ method.item_intents).softmax(1)
        meant = torch.cat([chosen[0] @ method.user_intents.T, chosen[1] @ method.item_intents.T])
        torch.testing.assert_close(layer.intent, meant)
        for view, found in ((normalised @ x, layer.graph_masked), (meant, layer.intent_masked)):
            alike = ((normal(view) @ normal(view).T + 1) / 2) * linked
            walk = alike / alike.sum(1, keepdim=True).clamp(min=1e-12)
            torch.testing.assert_close(found, walk @ x, atol=1e-5, rtol=1e-4)
        x = sum(layer) + x
        total = total + x
    torch.testing.assert_close(final, total)


def test_masks_are_shares_of_each_head():
    method = built()
    weights = mask(method.layers()[1][0].graph, method.graph)
    sums = dense(method, weights).sum(1)
    torch.testing.assert_close(sums, (method.graph.degrees > 0).float())
    assert (weights >= 0).all()


def test_gradients_flow_through_the_masks():
    method = built()
    view = method.layers()[1][0].graph.detach().requires_grad_()
    weights = mask(view, method.graph)
    assert torch.autograd.grad(weights.square().sum(), view)[0].abs().max() > 0


def test_an_intent_is_a_mean_of_prototypes():
    prototypes = torch.eye(3)
    torch.testing.assert_close(intents(torch.tensor([[50.0, 0.0, 0.0]]), prototypes), prototypes[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", ["paper", "sslrec"])
def test_norms(variant):
    method = built(variant=variant)
    embeddings, prototypes = method.weight_norms(TRIPLE, At())
    rows = method.users[TRIPLE.users], method.items[TRIPLE.items], method.items[TRIPLE.others]
    expected = sum(t.square().sum() for t in (rows if variant == "paper" else (method.users, method.items)))
    torch.testing.assert_close(embeddings, expected)
    torch.testing.assert_close(prototypes, method.user_intents.square().sum() + method.item_intents.square().sum())


@pytest.mark.parametrize("variant", ["paper", "sslrec"])
def test_contrast_is_of_the_graph_view_with_the_others_among_the_nodes_of_the_batch(variant):
    method = built(variant=variant, temperature=0.5)
    _, views = method.layers()
    users = torch.tensor([0, 3, 5])
    items = torch.tensor([1, 2, 3, 4, 7, 9] if variant == "sslrec" else [1, 2, 7])
    total = 0.0
    for layer in views:
        for nodes, weight in ((users, 1.0), (12 + items, len(items) / 3 if variant == "sslrec" else 1.0)):
            for view in (layer.intent, layer.graph_masked, layer.intent_masked):
                logits = normal(layer.graph[nodes]) @ normal(view[nodes]).T / 0.5
                total = total + weight * functional.cross_entropy(logits, torch.arange(len(nodes)))
    torch.testing.assert_close(method.contrast(views, TRIPLE, At()), total, rtol=1e-5, atol=1e-5)


def test_terms_have_the_weights_of_the_options():
    method = built(l2=0.1, prototypes=0.2, contrast=0.3)
    terms = method.loss({"user": TRIPLE.users, "item": TRIPLE.items}, At())
    assert {name: t[0] for name, t in terms.items() if isinstance(t, tuple)} == {
        "embeddings": 0.1,
        "prototypes": 0.2,
        "contrast": 0.3,
    }
    assert all(torch.isfinite(t[1] if isinstance(t, tuple) else t).all() for t in terms.values())


@pytest.mark.parametrize("variant", ["paper", "sslrec"])
def test_embeddings_begin_as_glorot_has_it_for_each_table(variant):
    users = built(variant=variant, width=64).users.detach()
    assert float(users.std()) == pytest.approx((2 / (12 + 64)) ** 0.5, rel=0.1)
    assert bool(users.abs().max() <= (6 / (12 + 64)) ** 0.5) == (variant == "sslrec")


def test_parts_are_the_views_of_all_layers():
    method = built(layers=3)
    _, views = method.layers()
    parts = method.encode({"node": torch.arange(36)})
    assert [spec.name for spec in method.parts()] == list(parts) == ["local", "intent", "augmented"]
    torch.testing.assert_close(parts["intent"], torch.cat([v.intent for v in views], 1))
    assert parts["augmented"].shape == (36, 2 * 3 * 8)


def test_edge_weights_of_all_and_of_one_user():
    method = built()
    every, one = method.edge_weights(data=WORLD).columns, method.edge_weights("3", layer=2, data=WORLD).columns
    assert len(every["user"]) == len(WORLD)
    assert set(one["user"]) == {"3"}
    assert sum(one["graph"]) == pytest.approx(1)
    assert sum(one["intent"]) == pytest.approx(1)
    batch = WORLD.take(torch.arange(len(WORLD)))
    assert every["item"] == [str(int(i)) for i in batch["item"]]
    with pytest.raises(ConfigError, match=r"--layer: expected a layer 1\.\.2, got 3"):
        method.edge_weights(layer=3, data=WORLD)


def test_the_alias_is_sslrecs():
    entry = find("dccf-sslrec")
    config = override(entry.load().Config(), entry.overrides)
    assert (config.variant, config.temperature, config.batch, config.intents) == ("sslrec", 0.2, 4096, 128)


def test_no_intents_are_refused():
    with pytest.raises(ConfigError, match="intents: expected a whole number from 1 on, got 0"):
        DCCF.Config(intents=0)
