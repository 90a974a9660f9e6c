"""The tabular Dichotomy of Control by its formulas."""

import math

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.decisions import bandit, gamble_chain
from unbraid.methods.decision.dichotomy.tabular import TabularDichotomy
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper


def made(data, measured=True, **changes):
    method = build(TabularDichotomy, override(TabularDichotomy.Config(), changes), data.fields)
    if measured:
        method.measure({"train": data}, At())
    return method.eval()


def tables(method):
    q, p = method.posterior_logits.softmax(-1), method.prior_logits.softmax(-1)
    return q, p, method.policy_logits.softmax(-1), method.value_logits.softmax(-1), method.energy.logits


def gradients(terms, parameter):
    total = sum((t[0] * t[1] if isinstance(t, tuple) else t).mean() for t in terms.values())
    return torch.autograd.grad(total, parameter, retain_graph=True, allow_unused=True)[0]


def test_contract():
    assert "sums" in check_method(TabularDichotomy)


def test_the_terms_are_expectations_over_every_code():
    data = gamble_chain(length=2, episodes=6)
    method = made(data, bins=3, quirks=frozenset({"joint_value"}))
    batch = data.take(torch.arange(12))
    terms = method.loss(batch, At())
    q, p, pi, v, f = tables(method)
    bins = method.binned(data.episodes.togo)
    for i in range(12):
        s, a, r = int(data.episodes.state[i]), int(data.episodes.action[i]), int(bins[i])
        code = q[s, a, r]
        mean = (method.rho[:, None] * f[s, a].exp()).sum(0).log()
        expected = {
            "action": -(code * pi[s, :, a].log()).sum(),
            "information": (code * (f[s, a, r] - mean)).sum(),
            "kl": (code * (code / p[s]).log()).sum(),
            "value": -(code * v[s, :, r].log()).sum(),
        }
        for name, value in expected.items():
            found = terms[name][1] if isinstance(terms[name], tuple) else terms[name]
            torch.testing.assert_close(found[i], value)


def test_f_ascends_what_the_posterior_descends():
    data = bandit(episodes=50)
    method, batch = made(data, beta=2.0, kl=0.0), data.take(torch.arange(50))
    up, down = method.energy_loss(batch, At()), method.loss(batch, At())
    f = method.energy.logits
    assert gradients(up, method.posterior_logits) is None
    weight, information = down["information"]
    assert weight == 2.0
    torch.testing.assert_close(-information, up["told"])
    torch.testing.assert_close(gradients({"told": -information}, f), gradients(up, f))
    assert gradients({"information": information}, method.posterior_logits).abs().max() > 0


def test_value_and_prior_learn_on_the_side():
    data = bandit(episodes=50)
    method, batch = made(data), data.take(torch.arange(50))
    side = method.side_loss(batch, At())
    for moved in (method.value_logits, method.prior_logits):
        assert gradients(side, moved).abs().max() > 0
    for held in (method.posterior_logits, method.policy_logits, method.energy.logits):
        assert gradients(side, held) is None
    terms = method.loss(batch, At())
    assert gradients(terms, method.prior_logits) is None
    assert gradients(terms, method.value_logits) is None


def test_the_released_program_lets_f_and_the_posterior_help_each_other():
    data = bandit(episodes=50)
    method, batch = made(data, quirks=frozenset({"released_sign"}), kl=0.0), data.take(torch.arange(50))
    weight, information = method.released_loss(batch, At())["information"]
    assert weight == -1.0
    [stage] = method.stages()
    assert [u.name for u in stage.updates] == ["imitate", "side"]
    before = float(information.detach().mean())
    stepper = Stepper(method, stage, seed=0, steps=300)
    for step in range(300):
        stepper.step(batch, step)
    assert float(method.information(batch, method.code(batch)).detach().mean()) > before
    assert method.leakage() > 0.1


def test_one_step_makes_two_ascents_of_f():
    [stage] = made(bandit(episodes=9)).stages()
    assert [(u.name, u.times) for u in stage.updates] == [("energy", 2), ("imitate", 1), ("side", 1)]


def test_counts_of_the_training_data_are_measured():
    data = gamble_chain(length=2, episodes=40)
    method = made(data, bins=3)
    togo, bins = data.episodes.togo, method.binned(data.episodes.togo)
    assert method.likely == (float(togo.min()), float(togo.max()))
    assert float(method.joint.sum()) == pytest.approx(1)
    s, a = data.episodes.state, data.episodes.action
    share = ((s == 1) & (a == 0) & (bins == 1)).float().mean()
    torch.testing.assert_close(method.joint[1, 0, 1], share)
    torch.testing.assert_close(method.centre[0], togo[bins == 0].mean())
    edges = torch.tensor([-1e9, float(togo.min()), float(togo.max()), 1e9])
    assert method.binned(edges).tolist() == [0, 0, 2, 2]


def test_only_codes_that_the_prior_expects_may_be_asked_for():
    method = made(bandit(episodes=200), codes=3)
    with torch.no_grad():
        method.value_logits[0] = torch.tensor([[0.0, 9.0], [0.0, 1.0], [9.0, 0.0]])
        method.prior_logits[0] = torch.tensor([0.01, 0.5, 0.49]).log()
        method.policy_logits[0] = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    policy, promised = method.chosen()
    torch.testing.assert_close(promised, torch.tensor([math.e / (1 + math.e)]))
    assert policy[0, 1] > 0.99
    policy, promised = method.chosen(torch.zeros(1))
    assert policy[0, 0] > 0.99
    assert promised[0] < 0.01


def test_codes_are_drawn_as_often_as_the_posterior_says():
    data = bandit(episodes=3000)
    method = made(data)
    batch = data.take(torch.arange(3000))
    drawn, same = (batch["action"][:, 0] == 0) & (batch["reward"][:, 0] == 0), method.encode(batch)["controllable"]
    share = torch.bincount(same[drawn], minlength=4) / drawn.sum()
    torch.testing.assert_close(share, method.posterior_logits[0, 0, 0].softmax(-1), atol=0.03, rtol=0)
    assert torch.equal(same, method.encode(batch)["controllable"])


def test_it_finds_the_better_arm_and_promises_what_it_gets():
    data = bandit(0.1)
    config = override(
        override(TabularDichotomy.Config(), TabularDichotomy.presets["quick"]),
        {"steps": 250, "optim.lr": 0.06, "energy_optim.lr": 0.3},
    )
    method = build(TabularDichotomy, config, data.fields, 1)
    fit(method, data, seed=1)
    policy, promised = method.eval().chosen()
    assert data.environment.expected(policy) > 0.85
    assert float(promised[0]) == pytest.approx(data.environment.expected(policy), abs=0.08)
    assert method.leakage() < 0.01
    obtained = method.obtain(data.environment, "best", 2000, seed=3)
    assert obtained.obtained == pytest.approx(data.environment.expected(policy), abs=4 * obtained.error)
    assert obtained.promised == pytest.approx(float(promised[0]))


def test_worlds_without_ids_need_the_neural_variant():
    fields = dict(bandit(episodes=4).fields)
    fields["state"] = Field((2, 3))
    with pytest.raises(DataError, match="neural variant"):
        build(TabularDichotomy, TabularDichotomy.Config(), Fields(**fields))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"bins": 0}, "bins"), ({"quirks": "signs"}, "quirks"), ({"plausible": 1.0}, "plausible")],
)
def test_wrong_options_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        override(TabularDichotomy.Config(), changes)
