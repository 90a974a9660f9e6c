"""Return-conditioned cloning by its formulas, and what asking by the return comes to."""

import pytest
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.method import At
from unbraid.data.made.decisions import bandit, frozen_lake, gamble_chain
from unbraid.methods.decision.acting import history_of
from unbraid.methods.decision.return_bc import ReturnBC, TabularReturnBC
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit

LAKE = frozen_lake(0.8, episodes=12, past=3, future=4)


def made(cls=ReturnBC, data=LAKE, **changes):
    config = override(cls.Config(), {**cls.presets["tiny"], **changes})
    method = build(cls, config, data.fields)
    method.measure({"train": data}, At())
    return method.eval()


@pytest.mark.parametrize("cls", [ReturnBC, TabularReturnBC])
def test_contract(cls):
    assert "sums" in check_method(cls)


def test_every_real_step_is_imitated_by_its_own_return():
    method, batch = made(), LAKE.take(torch.arange(30))
    steps = {k: v[:, :6] for k, v in method.numbers_of(batch).items()}
    given = ((batch["togo"] - method.togo_mean) / method.togo_scale)[:, :6] * batch["valid"][:, :6]
    output = method.policy_head(method.history(steps, given)[:, :, 1])
    expected = torch.zeros(30)
    for k in range(6):
        loss = functional.cross_entropy(output[:, k], batch["action"][:, k], reduction="none")
        expected += torch.where(batch["valid"][:, k], loss, 0.0)
    torch.testing.assert_close(method.loss(batch, At())["action"], expected)


def test_what_was_earned_is_taken_off_what_is_asked():
    data = gamble_chain(length=4, episodes=30)
    method = made(data=data)
    batch = data.take(torch.arange(3, 120, 4))  # the last step of every episode
    asked = batch["togo"][:, 3]
    seen = []
    method.history.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[1]))
    method.choose(history_of(batch, 4), asked, torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen[0], method.scaled(batch["togo"][:, :4]))


def test_the_best_it_can_be_asked_is_the_highest_return_of_the_data():
    for cls in (ReturnBC, TabularReturnBC):
        method = made(cls)
        history = history_of(LAKE.take(torch.arange(5)), 3)
        assert method.best == float(LAKE.episodes.togo.max())
        best, most = (
            method.choose(history, ask, torch.Generator().manual_seed(0))
            for ask in (None, torch.full((5,), method.best))
        )
        assert torch.equal(best.action, most.action)
        assert torch.equal(best.promised, most.promised)


def test_the_table_becomes_the_share_of_actions_among_those_of_equal_return():
    data = bandit(0.2)
    config = override(override(TabularReturnBC.Config(), TabularReturnBC.presets["quick"]), {"bins": 2})
    method = build(TabularReturnBC, config, data.fields, 1)
    fit(method, data, seed=1)
    action, reward = data.episodes.action, data.episodes.reward
    for value in (0, 1):
        share = (action[reward == value] == 1).float().mean()
        chosen = method.policy_logits.detach().softmax(-1)[0, value, 1]
        assert float(chosen) == pytest.approx(float(share), abs=0.02)
    policy, promised = method.eval().chosen()
    assert data.environment.expected(policy) == pytest.approx(0.5, abs=0.06)  # asked for 1, whatever p
    assert float(promised[0]) == 1


def test_a_return_never_got_from_a_state_is_taken_for_the_nearest_that_was():
    data = gamble_chain(length=3, episodes=200)
    method = made(TabularReturnBC, data, bins=5)
    seen = method.joint.sum(1) > 0
    assert not seen[2, 4]  # nobody earns most from the last step alone
    policy, promised = method.chosen()
    rows = method.policy_logits.detach().softmax(-1)
    for state in range(3):
        highest = int(seen[state].nonzero().max())
        assert torch.equal(policy[state], rows[state, highest])
    assert torch.equal(promised, torch.full((3,), method.best))
