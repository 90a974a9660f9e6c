import torch
from torch.autograd import functional

from unbraid.ops.derivatives import jvp, laplacian, slope


def test_against_a_quadratic_form_and_a_linear_map():
    a, w = torch.randn(5, 5), torch.randn(7, 5)
    z, v = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5)
    gradient = slope(((z @ a) * z).sum(1), z)
    torch.testing.assert_close(gradient, z @ (a + a.T))
    torch.testing.assert_close(laplacian(gradient, z), torch.full((4,), float(2 * a.trace())))
    torch.testing.assert_close(slope(gradient, z), (a + a.T).sum(0).expand(4, 5))  # rows of the Hessian, summed
    out, pushed = jvp(lambda z: z @ w.T, z, v)
    torch.testing.assert_close((out, pushed), (z @ w.T, v @ w.T))


def test_a_directional_derivative_is_torch_s_own_and_can_be_descended():
    net = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4))
    z, v = torch.randn(2, 3), torch.randn(2, 3, requires_grad=True)
    _, pushed = jvp(net, z, v)
    torch.testing.assert_close(pushed, functional.jvp(net, z, v.detach())[1])
    (gradient,) = torch.autograd.grad(pushed.square().sum(), v)
    step = 1e-3 * gradient
    assert jvp(net, z, v - step)[1].square().sum() < pushed.square().sum()
