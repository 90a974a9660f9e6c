import math
import threading

import torch
from torch.distributions import Normal, kl_divergence

from unbraid.losses.forgetting import alignment, description, misfit, turned
from unbraid.testing.contract import _sides


def test_misfit_against_its_formula_and_its_bounds():
    e, again = torch.randn(2, 6, 4, dtype=torch.float64)
    m = ((e - again) ** 2).sum(1)
    torch.testing.assert_close(misfit(e, again), torch.exp(m / (1 + m)))
    assert float(misfit(e, e).max()) == 1
    assert float(misfit(e, e + 1e3).max()) < math.e


def test_a_description_far_off_hardly_pulls():
    e = torch.zeros(1, 1, requires_grad=True)
    near, far = (torch.autograd.grad(misfit(e, torch.full((1, 1), d)).sum(), e)[0].abs() for d in (0.5, 50.0))
    assert far < near / 1000


def test_description_is_the_squared_error_and_a_share_of_the_divergence():
    e, again = torch.randn(2, 6, 4, dtype=torch.float64)
    mu, sigma = torch.randn(6, 3).double(), torch.rand(6, 3).double() + 0.1
    divergence = kl_divergence(Normal(mu, sigma), Normal(torch.zeros_like(mu), 1.0)).sum(1)
    wanted = ((e - again) ** 2).sum(1) + 0.3 * divergence
    torch.testing.assert_close(description(e, again, mu, sigma, weight=0.3), wanted, rtol=1e-6, atol=1e-6)


def test_turned_is_zero_for_any_length_and_two_for_the_opposite():
    e = torch.randn(5, 4)
    torch.testing.assert_close(turned(3 * e, e), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned(-e, e), torch.full((5,), 2.0))


def test_alignment_pulls_what_remains_and_pushes_what_is_forgotten():
    remain, forget = torch.rand(4, requires_grad=True), torch.rand(3, requires_grad=True)
    loss = alignment(remain, forget, 5.0)
    wanted = sum(torch.log(torch.exp(c) / torch.exp(forget / 5.0).sum()) for c in remain)
    torch.testing.assert_close(loss, wanted)
    pull, push = torch.autograd.grad(loss, [remain, forget])
    assert torch.equal(pull, torch.ones(4))
    torch.testing.assert_close(push, -4 / 5 * torch.softmax(forget / 5.0, 0))


def test_two_processes_align_as_one():
    remain, forget, found = torch.rand(4), torch.rand(6), {}

    def side(world):
        mine = slice(world.rank, None, 2)
        found[world.rank] = alignment(remain[mine], forget[mine], 5.0, world)

    threads = [threading.Thread(target=side, args=(world,)) for world in _sides()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(found[0], alignment(remain, forget, 5.0))
    torch.testing.assert_close(found[1], found[0])
