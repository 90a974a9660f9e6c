"""The neural Dichotomy of Control by its formulas."""

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.decisions import bandit, frozen_lake, gamble_chain
from unbraid.losses.control import contrast
from unbraid.losses.gaussian import kl
from unbraid.methods.decision.acting import history_of
from unbraid.methods.decision.dichotomy.neural import Dichotomy
from unbraid.testing import check_method
from unbraid.training.build import build

LAKE = frozen_lake(0.8, episodes=12, past=3, future=4)


def made(data=LAKE, **changes):
    config = override(Dichotomy.Config(), {**Dichotomy.presets["tiny"], "dropout": 0.0, **changes})
    method = build(Dichotomy, config, data.fields)
    method.measure({"train": data}, At())
    return method.eval()


def names(loss, method):
    """The submodules that a loss reaches."""
    total = sum((t[0] * t[1] if isinstance(t, tuple) else t).mean() for t in loss.values())
    named = dict(method.named_parameters())
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {name.split(".")[0] for name, g in zip(named, found, strict=True) if g is not None and g.abs().max() > 0}


def test_contract():
    assert "sums" in check_method(Dichotomy)


def test_each_update_reaches_only_what_it_should():
    method, batch = made(), LAKE.take(torch.arange(20))
    side = {"side", "prior_head", "value_head"}
    encoder = {"future", "posterior_head", "history", "policy_head"}
    assert names(method.energy_loss(batch, At()), method) == {"energy"}
    assert names(method.side_loss(batch, At()), method) == side
    assert names(method.loss(batch, At()), method) == encoder | {"energy"}  # f is in the loss, and does not move
    [stage] = method.stages()
    moved = {u.name: {id(p) for module in u.params() for p in module.parameters()} for u in stage.updates}
    assert moved["imitate"].isdisjoint({id(p) for p in method.energy.parameters()})
    released = made(quirks="released_sign,joint_value")
    assert names(released.released_loss(batch, At()), released) >= encoder | {"energy"}


def test_the_information_is_the_contrast_of_each_step_written_out():
    method, batch = made(), LAKE.take(torch.arange(0, 60, 3))
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    found = method.information(batch, z, At())
    queries, keys = method.energy(method.numbers_of(batch), z, method.tau)
    expected = torch.zeros(20)
    for k in range(4):
        valid = batch["valid"][:, 2 + k]
        scores = queries[valid, k] @ keys[valid, k].T / 8**0.5
        expected[valid] += contrast(scores, torch.ones(len(scores)).bool())
    torch.testing.assert_close(found, expected)


def test_an_outcome_is_its_reward_its_next_state_and_whether_there_is_one():
    method, batch = made(), LAKE.take(torch.arange(len(LAKE)))
    seen = []
    method.energy.key.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    method.energy(method.numbers_of(batch), torch.zeros(len(LAKE), 3), method.tau)
    now, after = 2, 3
    ended = ~batch["valid"][:, after]
    torch.testing.assert_close(seen[0][:, 0, 0] * method.reward_scale, batch["reward"][:, now])
    assert torch.equal(seen[0][~ended, 0, 1:17].argmax(1), batch["state"][~ended, after])
    assert seen[0][ended, 0, 1:].abs().max() == 0
    assert torch.equal(seen[0][:, 0, 17] == 0, ended)


def test_imitation_counts_the_actions_from_the_present_on():
    method, batch = made(beta=0.0, kl=0.0), LAKE.take(torch.arange(30))
    changed = {**batch, "action": batch["action"].clone()}
    changed["action"][:, :2] = (changed["action"][:, :2] + 1) % 4  # the past: read, not imitated
    assert torch.equal(batch["action"][:, 2:], changed["action"][:, 2:])
    at = At()
    terms = method.loss(batch, at)
    z = at.memo["code"][0]
    steps = method.numbers_of(batch)
    given = torch.cat([torch.zeros(30, 1), steps["reward"][:, :-1]], 1)
    read = method.history({k: v[:, :6] for k, v in steps.items() if k != "togo"}, given[:, :6])[:, 2:, 1]
    expected = torch.zeros(30)
    for k in range(4):
        logits = method.policy_head(torch.cat([read[:, k], z], 1)).log_softmax(1)
        chosen = logits.gather(1, batch["action"][:, 2 + k, None])[:, 0]
        expected -= torch.where(batch["valid"][:, 2 + k], chosen, 0.0)
    torch.testing.assert_close(terms["action"], expected)


def test_the_prior_is_that_of_the_history_and_follows_the_posterior():
    method, batch = made(), LAKE.take(torch.arange(25))
    at = At()
    terms = method.side_loss(batch, at)
    q = at.memo["code"][1]
    _, p = method.expected(method.numbers_of(batch))
    torch.testing.assert_close(terms["prior"], kl(*q, *p).mean(1))
    value = method.value_head(torch.cat([method.expected(method.numbers_of(batch))[0], at.memo["code"][0]], 1))[:, 0]
    togo = LAKE.episodes.togo
    target = (togo[:25] - togo.mean()) / togo.std(unbiased=False)
    torch.testing.assert_close(terms["value"], (value - target).square())


def test_prior_value_and_policy_do_not_look_at_what_comes():
    method, batch = made(), LAKE.take(torch.arange(40))
    other = {name: steps.clone() for name, steps in batch.items()}
    for name in ("action", "reward"):
        other[name][:, 2:] = 1
    for name in ("state", "valid"):
        other[name][:, 3:] = 0
    one, two = (method.expected(method.numbers_of(b)) for b in (batch, other))
    torch.testing.assert_close(one, two)
    chosen = [method.choose(history_of(b, 3), None, torch.Generator().manual_seed(0)) for b in (batch, other)]
    assert torch.equal(chosen[0].action, chosen[1].action)
    assert torch.equal(chosen[0].promised, chosen[1].promised)


def test_the_posterior_looks_at_the_future_alone():
    method, batch = made(), LAKE.take(torch.arange(40))
    other = {name: steps.clone() for name, steps in batch.items()}
    for name in ("state", "action", "reward"):
        other[name][:, :2] = 0
        other[name][:, 6:] = 0
    torch.testing.assert_close(method.posterior_of(batch), method.posterior_of(other))
    changed = {**batch, "reward": batch["reward"] + 1.0}
    assert (method.posterior_of(batch)[0] - method.posterior_of(changed)[0]).abs().max() > 1e-4


def test_padding_changes_nothing():
    method, batch = made(), LAKE.take(torch.arange(40))
    noisy = dict(batch)
    for name in ("state", "action"):
        noisy[name] = torch.where(batch["valid"], batch[name], 1)
    noisy["reward"] = torch.where(batch["valid"], batch["reward"], 0.0)
    for loss in (method.loss, method.side_loss):
        one, two = loss(batch, At()), loss(noisy, At())
        for name in one:
            first, second = (t[name][1] if isinstance(t[name], tuple) else t[name] for t in (one, two))
            torch.testing.assert_close(first, second)


def test_it_takes_the_candidate_that_promises_most_or_what_was_asked():
    data = bandit(episodes=60)
    method = made(data, candidates=50)
    history = history_of(data.take(torch.arange(8)), 1)
    context, (mu, logvar) = method.expected(method.numbers_of(history))
    noise = torch.randn(8, 50, 3, generator=torch.Generator().manual_seed(5))
    codes = mu[:, None] + (0.5 * logvar[:, None]).exp() * noise
    values = method.value_head(torch.cat([context[:, None].expand(8, 50, 8), codes], -1))[..., 0]
    values = values * method.togo_scale + method.togo_mean
    best = method.choose(history, None, torch.Generator().manual_seed(5))
    torch.testing.assert_close(best.promised, values.max(1).values)
    middle = values.median(1).values
    asked = method.choose(history, middle, torch.Generator().manual_seed(5))
    torch.testing.assert_close(asked.promised, middle)


def test_numbers_go_through_it_as_ids_do():
    fields = dict(gamble_chain(length=2, episodes=4).fields)
    fields |= {"state": Field((4, 3)), "action": Field((4, 2))}
    config = override(Dichotomy.Config(), {**Dichotomy.presets["tiny"], "bounded": True})
    method = build(Dichotomy, config, Fields(**fields)).eval()
    batch = gamble_chain(length=2, episodes=4).take(torch.arange(8))
    batch |= {"state": torch.randn(8, 4, 3), "action": torch.rand(8, 4, 2) * 2 - 1}
    terms = method.loss(batch, At())
    assert terms["action"].shape == (8,)
    action = method.act(batch)
    assert action.shape == (8, 2)
    assert action.abs().max() <= 1


def test_wrong_options_and_data_are_refused():
    with pytest.raises(ConfigError, match="quirks"):
        made(quirks="signs")
    with pytest.raises(ConfigError, match="dropout"):
        made(dropout=1.0)
    with pytest.raises(ConfigError, match="share evenly"):
        made(heads=3)
    fields = dict(LAKE.fields)
    with pytest.raises(DataError, match="field 'state'"):
        build(Dichotomy, Dichotomy.Config(), Fields(**{**fields, "state": Field((7, 2, 2))}))
    with pytest.raises(DataError, match="with a future"):
        build(Dichotomy, Dichotomy.Config(), Fields(**{**fields, "length": Field((), "int64", classes=8)}))
