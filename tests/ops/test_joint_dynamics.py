from functools import partial

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.ops.joint_dynamics import Flow, alignment, asymmetry, integrate, matrices, misalignment, modes, networks

X = torch.eye(4, dtype=torch.float64)


def draw(*shape, seed=0, scale=0.3):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def number(*values):
    return tuple(torch.tensor([v], dtype=torch.float64) for v in values)


def direction(flow, p, s, tau=1.0, time=300.0):
    return [path[-1].item() for path in integrate(partial(modes, flow=flow), number(p, s, tau), 0.2, int(time / 0.2))]


# --------------------------------------------------------------------------------------------------- one direction


def test_a_direction_ends_at_the_stable_gain_or_collapses_below_the_edge():
    flow = Flow(noise=0.5, decay=0.02)
    low, high = flow.fixed_points
    assert direction(flow, 0.05, 0.0025)[0] == pytest.approx(high, abs=1e-3)
    assert direction(flow, 0.01, 0.0001)[0] < 1e-3
    for gain in (low, high):
        rates = modes(number(gain, gain**2, 1.0), flow)
        assert abs(rates[0].item()) < 1e-12
        assert abs(rates[1].item()) < 1e-12


def test_with_too_much_decay_everything_collapses():
    flow = Flow(noise=0.5, decay=0.2)
    assert flow.decay > flow.most_decay
    assert flow.fixed_points is None
    assert max(direction(flow, 0.9, 0.8)[:2]) < 1e-3
    assert Flow(noise=0.5, decay=0.16).fixed_points is not None


def test_the_balance_of_variance_and_gain_decays_as_the_weights_do():
    for decay in (0.0, 0.05):
        flow = Flow(noise=0.3, ratio=2.0, decay=decay)
        p, s, _ = integrate(partial(modes, flow=flow), number(0.3, 0.4, 1.0), 0.05, 400, keep=20)
        balance = s - p.square() / 2
        times = torch.arange(21, dtype=torch.float64)
        torch.testing.assert_close(balance[:, 0], balance[0, 0] * torch.exp(-2 * decay * times), rtol=0, atol=1e-6)


def test_a_target_that_follows_comes_to_equal_the_network():
    assert direction(Flow(noise=0.5, decay=0.02, rate=0.5), 0.3, 0.1, tau=0.2)[2] == pytest.approx(1, abs=1e-3)


# -------------------------------------------------------------------------------------------------------- matrices


def test_predictor_and_correlation_come_to_share_their_eigenvectors():
    p, f = draw(6, 6), draw(6, 6, seed=1)
    start = (p + p.mT) / 20, f @ f.mT / 20
    path = integrate(partial(matrices, flow=Flow(noise=0.5, decay=0.02)), start, 0.1, 800, keep=80)
    apart = misalignment(*path)
    assert apart[-1] < apart[0] / 10


def test_matrices_that_share_them_are_directions_one_by_one():
    flow = Flow(noise=0.4, ratio=1.5, tau=0.8, decay=0.03)
    p, s = draw(3, seed=2).abs(), draw(3, seed=3).abs()
    dp, df = matrices((torch.diag(p), torch.diag(s)), flow)
    rates = modes((p, s, torch.full_like(p, 0.8)), flow)
    torch.testing.assert_close(dp, torch.diag(rates[0]))
    torch.testing.assert_close(df, torch.diag(rates[1]))


def test_the_networks_themselves_obey_the_flow_of_matrices():
    """Where the target is tau times the network and the predictor is symmetric; it is held symmetric by its mean."""
    flow = Flow(noise=0.5, tau=0.7, decay=0.02)
    p, w = draw(3, 3), draw(3, 4, seed=1)
    p = (p + p.mT) / 2
    dp, dw, _ = networks((p, w, 0.7 * w), flow, X, 0.5 * X)
    rates = matrices((p, w @ w.mT), flow)
    torch.testing.assert_close((dp + dp.mT) / 2, rates[0])
    torch.testing.assert_close(dw @ w.mT + w @ dw.mT, rates[1])


def test_networks_stay_balanced_without_decay():
    x, spread = draw(4, 4, seed=5), draw(4, 4, seed=6)
    rates = partial(networks, flow=Flow(ratio=2.0, rate=0.3), signal=x @ x.mT, spread=spread @ spread.mT)
    p, w, _ = integrate(rates, (draw(3, 3), draw(3, 4, seed=1), draw(3, 4, seed=2)), 0.05, 200, keep=50)
    balance = w @ w.mT - p.mT @ p / 2
    torch.testing.assert_close(balance, balance[:1].expand_as(balance), rtol=0, atol=1e-4)
    assert (w[-1] - w[0]).abs().max() > 0.05


def test_without_predictor_networks_vanish():
    """W_p held at the identity and the target at the network: dW = -W X' - decay W."""
    w, one = draw(3, 4), torch.eye(3, dtype=torch.float64)
    _, dw, _ = networks((one, w, w), Flow(decay=0.1), X, 0.5 * X)
    torch.testing.assert_close(dw, -w * 0.6)


# ---------------------------------------------------------------------------------------------------------- measures


def test_measures_of_how_eigenvectors_are_shared():
    axes = torch.linalg.qr(draw(4, 4, scale=1.0))[0]
    same = (axes * torch.arange(1.0, 5.0)) @ axes.mT
    torch.testing.assert_close(alignment(same, axes), torch.ones(4, dtype=torch.float64))
    assert misalignment(same, (axes * torch.tensor([3.0, 1, 0, 5])) @ axes.mT) < 1e-12
    assert asymmetry(torch.tensor([[0.0, 1.0], [-1.0, 0.0]])) == 2
    assert alignment(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(2)).tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [{"noise": -1}, {"decay": -0.1}, {"tau": 0}, {"ratio": -1}, {"rate": -1}])
def test_constants_that_cannot_be_meant(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Flow(**wrong)
