"""Asking for returns: actions, rollouts, advice, and the examination."""

import math

import numpy as np
import pytest
import torch

from unbraid.core.action import actions
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import Acts, At, Examines
from unbraid.data.catalog import open_data
from unbraid.data.made.decisions import bandit, gamble_chain
from unbraid.data.wrapped import Subset
from unbraid.methods.decision.acting import history_of, known_world
from unbraid.methods.decision.dichotomy.neural import Dichotomy
from unbraid.methods.decision.return_bc import TabularReturnBC
from unbraid.training.build import build

CHAIN = gamble_chain(length=3, episodes=30)


def made(cls=TabularReturnBC, data=CHAIN, **changes):
    method = build(cls, override(cls.Config(), {**cls.presets["tiny"], **changes}), data.fields)
    method.measure({"train": data}, At())
    return method.eval()


def test_they_act_and_are_examined():
    method = made()
    assert isinstance(method, Acts)
    assert isinstance(method, Examines)
    assert set(actions(type(method))) == {"rollout", "advise"}
    batch = CHAIN.take(torch.arange(9))
    assert method.act(batch).shape == (9,)
    assert torch.equal(method.act(batch, 3.0), method.act(batch, "3"))


def test_the_present_action_and_what_comes_are_hidden():
    batch = CHAIN.take(torch.arange(9))
    history = history_of(batch, 3)
    assert history["action"][:, -1].abs().max() == 0
    assert history["reward"][:, -1].abs().max() == 0
    assert torch.equal(history["reward"][:, :-1], batch["reward"][:, :2])
    assert batch["action"][:, 2].max() == 1


def test_histories_on_the_way_are_those_of_the_windows():
    """What `obtain` shows a policy is what training would have cut from the episodes that came of it."""
    method, seen = made(Dichotomy), []
    choose = method.choose

    def listen(history, ask, generator):
        seen.append(history)
        return choose(history, ask, generator)

    method.choose = listen
    played = method.obtain(CHAIN.environment, "best", 5).episodes
    from unbraid.data.trajectories import Trajectories

    windows = Trajectories("played", played, 3, 3, states=3, actions=2)
    for t, history in enumerate(seen):
        cut = history_of(windows.take(played.offsets[:-1] + t), 3)
        for name in history:
            assert torch.equal(history[name], cut[name]), name


def test_what_is_earned_is_taken_off():
    method, asked = made(), []
    choose = method.choose

    def listen(history, ask, generator):
        asked.append(ask)
        return choose(history, ask, generator)

    method.choose = listen
    got = method.obtain(CHAIN.environment, 4.0, 6)
    reward = got.episodes.reward.view(6, 3)
    for t, left in enumerate(asked):
        torch.testing.assert_close(left, 4.0 - reward[:, :t].sum(1))
    assert got.asked == got.promised == 4.0
    assert got.obtained == pytest.approx(float(reward.sum(1).mean()))


def test_a_rollout_tells_what_was_obtained():
    method = made()
    one, two = (method.rollout(CHAIN, ask="2.5", episodes=40, seed=1) for _ in range(2))
    assert one.numbers == two.numbers
    assert one.numbers["asked"] == 2.5
    returns = method.obtain(CHAIN.environment, 2.5, 40, seed=1).episodes.returns.numpy()
    assert one.numbers["obtained"] == pytest.approx(np.mean(returns))
    assert one.numbers["standard error"] == pytest.approx(np.std(returns, ddof=1) / math.sqrt(40))
    assert method.rollout(Subset(CHAIN, torch.arange(3)), episodes=1).numbers["asked"] == method.best
    table = one.tables["returns"].columns
    assert table["earned at most"] == pytest.approx(np.quantile(returns, np.linspace(0, 1, 11)).tolist())


def test_the_examination_asks_for_more_than_the_best():
    found = made().examine(CHAIN)
    table = found.tables["asked and obtained"].columns
    least, most = float(CHAIN.episodes.togo.min()), float(CHAIN.episodes.togo.max())
    assert table["asked"] == ["best", *np.linspace(least, most, 5).tolist()]
    assert found.numbers["highest possible"] == pytest.approx(3)
    assert found.numbers["promised less obtained"] == pytest.approx(
        found.numbers["promised"] - found.numbers["obtained"]
    )


@pytest.mark.parametrize("ids", [True, False])
def test_trajectories_of_an_unknown_world_get_advice(ids, tmp_path):
    n, rng = 12, np.random.default_rng(0)
    action = rng.integers(0, 2, n) if ids else rng.normal(size=(n, 2))
    columns = {"observations": rng.normal(size=(n, 3)), "actions": action, "rewards": rng.normal(size=n)}
    np.savez(tmp_path / "a.npz", **columns, terminals=np.arange(n) % 4 == 3)
    data = open_data(f"trajectories:{tmp_path / 'a.npz'},past=2,future=2")
    method = made(Dichotomy, data)
    assert known_world(data) is None
    advice = method.advise(data, ask="0.5", steps=7)
    assert list(advice.columns) == ["step", "logged", "advised", "promised"]
    assert len(advice.rows()) == 7
    found = method.examine(data)
    assert any("logged actions" in name for name in found.numbers)
    with pytest.raises(DataError, match="a made world"):
        method.rollout(data)


def test_asks_that_mean_nothing_are_refused():
    method = made()
    for ask in ("much", "nan", float("inf")):
        with pytest.raises(ConfigError, match="a return, or 'best'"):
            method.obtain(CHAIN.environment, ask, 3)
    with pytest.raises(ConfigError, match="episodes above 0"):
        method.rollout(bandit(episodes=3), episodes=0)
