import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from unbraid.core.method import Alone
from unbraid.losses.potential import rollout
from unbraid.nets.potential import Potentials


def made():
    torch.manual_seed(0)
    net = Potentials(2, 4)
    with torch.no_grad():
        net.speed.copy_(torch.tensor([1.5, 0.5]))
    return net, torch.randn(6, 4)


def value(net, z, t):
    return net(z[None], t[None], 0)[0]


def expected(net, z, steps, equation, laplacian):
    """Path and residual by derivatives of one code at a time."""
    path, residuals = [z.detach()], []
    for step in range(steps):
        t = torch.tensor(float(step))
        order = {"wave": hessian, "diffusion": jacobian}[equation]
        curvature = torch.stack([hessian(lambda z, t=t: value(net, z, t), one) for one in path[-1]])
        rate = torch.stack([order(lambda t, one=one: value(net, one, t), t) for one in path[-1]])
        if laplacian == "code":
            residual = rate.sum() - net.speed[0] ** 2 * curvature.sum(2)
        else:
            residual = (rate - net.speed[0] ** 2 * curvature.diagonal(dim1=1, dim2=2).sum(1))[:, None]
        residuals.append(residual.square().mean(1))
        path.append(path[-1] + torch.stack([jacobian(lambda z, t=t: value(net, z, t), one) for one in path[-1]]))
    return path, torch.stack(residuals).mean(0)


@pytest.mark.parametrize("equation", ["wave", "diffusion"])
@pytest.mark.parametrize("laplacian", ["code", "exact"])
def test_against_derivatives_of_one_code_at_a_time(equation, laplacian):
    net, z = made()
    found = rollout(lambda z, t: net(z, t, 0), net.speed[0], z, 3, Alone(), equation=equation, laplacian=laplacian)
    path, residual = expected(net, z, 3, equation, laplacian)
    torch.testing.assert_close(list(found.path), path)
    torch.testing.assert_close(found.residual, residual)
    torch.testing.assert_close(found.initial, (path[1] - path[0]).square().mean(1))
    torch.testing.assert_close(torch.stack(found.moves), torch.stack(path).diff(dim=0), atol=1e-6, rtol=1e-5)


def test_a_flat_potential_moves_nothing():
    net, z = made()
    with torch.no_grad():
        net.read.weight.zero_()
    found = rollout(lambda z, t: net(z, t, 0), net.speed[0], z, 3, Alone())
    assert found.initial.abs().max() == 0
    assert found.residual.abs().max() == 0
    assert all(torch.equal(code, z) for code in found.path)


def test_twice_the_speed_is_four_times_the_curvature():
    """Of a potential that stands still, so that nothing else is in the residual."""
    z = torch.randn(5, 4)
    form = torch.randn(4, 4)

    def potential(z, t):
        return ((z @ form) * z).sum(1) + 0 * t**3

    one, two = (rollout(potential, torch.tensor(c), z, 1, Alone()).residual for c in (1.0, 2.0))
    torch.testing.assert_close(two, 16 * one)
    torch.testing.assert_close(one, (form + form.T).sum(0).square().mean().expand(5))


def test_everything_is_descended_through():
    net, z = made()
    found = rollout(lambda z, t: net(z, t, 0), net.speed[0], z, 2, Alone())
    total = found.residual.mean() + found.initial.mean() + found.path[-1].square().mean()
    gradients = torch.autograd.grad(total, list(net.parameters()))
    assert all(g[0].abs().sum() > 0 for g in gradients)
    assert all(g[1].abs().sum() == 0 for g in gradients)
