from functools import partial

import pytest
import torch
from torch import nn

from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field
from unbraid.core.method import Clip, Optim
from unbraid.nets.convnet import ConvNet
from unbraid.training.pool import Pool

SGD = Optim("sgd", lr=0.1, momentum=0.9, weight_decay=1e-3)
MAKE = partial(ConvNet, Field((1, 8, 8)), (3, 4), 5)


def made(size=2, horizon=10, make=MAKE, **more):
    torch.manual_seed(0)
    return Pool(make, size, horizon, SGD, **more)


def pair(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.randn(n, 5, generator=generator)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def snapshot(pool, index):
    return {name: t.clone() for name, t in pool.tensors(index).items()}


def test_steps_are_those_of_torch():
    pool = made()
    net = pool.network(1).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    for seed in range(4):
        x, y = pair(seed=seed)
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(pool.step(1, x, y), loss.detach())
    theirs = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    for name, ours in pool.tensors(1).items():
        torch.testing.assert_close(ours, theirs[name].detach(), rtol=1e-4, atol=1e-6)
    assert pool.ages.tolist() == [0, 4]


def test_a_step_moves_one_network_and_what_it_is_shown_is_left_alone():
    pool, (x, y) = made(), pair()
    x.requires_grad_()
    y.requires_grad_()
    before = snapshot(pool, 0)
    assert not pool.step(1, x, y).requires_grad
    assert all(torch.equal(before[n], t) for n, t in pool.tensors(0).items())
    assert x.grad is None
    assert y.grad is None


def test_networks_are_run_in_eval_mode_and_gradients_flow_to_what_they_see():
    pool, (x, _) = made(), pair()
    net = pool.network(0)
    before = snapshot(pool, 0)
    torch.testing.assert_close(pool.run(0, x), net(x).detach())
    torch.testing.assert_close(pool.run(0, x, "features"), net.features(x).detach())
    assert all(torch.equal(before[n], t) for n, t in pool.tensors(0).items())
    assert not pool.run(0, x).requires_grad
    assert pool.run(0, x.requires_grad_(), "features").requires_grad


def test_a_new_network_follows_from_one_draw_and_leaves_the_callers_generator_alone():
    pool, (x, y) = made(), pair()
    for _ in range(3):
        pool.step(0, x, y)
    state = torch.get_rng_state()
    pool.renew(0, generator(5))
    assert torch.equal(state, torch.get_rng_state())
    pool.renew(1, generator(5))
    one, two = pool.tensors(0), pool.tensors(1)
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert pool.ages[0] == 0
    assert all(not m[0].any() for m in pool.momenta.buffers())
    pool.renew(1, generator(6))
    assert not torch.equal(one["head.weight"], pool.tensors(1)["head.weight"])


@pytest.mark.parametrize("reset", [True, False])
def test_an_old_network_is_drawn_anew(reset):
    pool, (x, y) = made(horizon=2, reset_counter=reset), pair()
    ages, untrained = [], []
    for visit in range(7):
        before = snapshot(pool, 0)["head.weight"]
        pool.visit(0, x, y, generator(visit))
        ages.append(int(pool.ages[0]))
        fresh = made(size=1)
        fresh.renew(0, generator(visit))
        untrained.append(torch.equal(fresh.tensors(0)["head.weight"], pool.tensors(0)["head.weight"]))
        assert not torch.equal(before, pool.tensors(0)["head.weight"])
    if reset:
        assert ages == [1, 2, 0, 1, 2, 0, 1]
        assert untrained == [False, False, True, False, False, True, False]
    else:  # as released: once old, always new
        assert ages == [1, 2, 2, 2, 2, 2, 2]
        assert untrained == [False, False, *[True] * 5]


def test_a_stored_pool_goes_on_with_the_same_bits():
    pool, (x, y) = made(), pair()
    for index in (0, 1, 0, 0):
        pool.step(index, x, y)
    torch.manual_seed(9)
    other = Pool(MAKE, 2, 10, SGD)
    other.load_state_dict({name: t.clone() for name, t in pool.state_dict().items()})
    for index in (0, 1, 1):
        assert torch.equal(pool.step(index, x, y), other.step(index, x, y))
    assert all(torch.equal(a, b) for a, b in zip(pool.buffers(), other.buffers(), strict=True))


def test_nothing_in_it_is_a_parameter():
    assert list(made().parameters()) == []


@pytest.mark.parametrize("optim", [Optim("adam"), Optim("sgd", clip=Clip("norm", 1.0))])
def test_it_knows_plain_descent_alone(optim):
    with pytest.raises(ConfigError, match="plain sgd"):
        Pool(MAKE, 1, 1, optim)
