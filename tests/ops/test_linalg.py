import torch

from unbraid.ops.linalg import eigh_sorted, kernel_ridge


def test_a_symmetric_matrix_is_put_together_again():
    m = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    m = m + m.mT
    values, vectors = eigh_sorted(m)
    assert (values.diff() <= 0).all()
    torch.testing.assert_close(vectors @ (values[..., None] * vectors.mT), m)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(6).expand(3, 6, 6), rtol=0, atol=1e-6)
    assert (vectors.gather(1, vectors.abs().argmax(1, keepdim=True)) > 0).all()


def drawn(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_ridge_by_the_kernel_is_ridge_by_the_features():
    query, known, values = drawn((5, 3), (8, 3), (8, 2))
    phi, asked = (torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) for x in (known, query))
    ridge = 0.03 * phi.square().sum() * torch.eye(4, dtype=phi.dtype)  # the trace of the kernel
    weights = torch.linalg.solve(phi.mT @ phi + ridge, phi.mT @ values)
    torch.testing.assert_close(kernel_ridge(query, known, values, 0.03), asked @ weights)


def test_without_a_ridge_known_values_come_back():
    known, values = drawn((6, 9), (6, 2))
    torch.testing.assert_close(kernel_ridge(known, known, values, 1e-12), values, rtol=1e-6, atol=1e-6)


def test_the_solution_is_linear_in_the_values_and_its_gradient_that_of_least_squares():
    query, known, values, wanted = drawn((5, 3), (8, 3), (8, 2), (5, 2))
    values.requires_grad_()
    loss = (kernel_ridge(query, known, values, 0.01) - wanted).square().mean()
    (slope,) = torch.autograd.grad(loss, values)
    a = kernel_ridge(query, known, torch.eye(8, dtype=known.dtype), 0.01)
    torch.testing.assert_close(slope, a.mT @ (a @ values.detach() - wanted) * 2 / wanted.numel())


def test_gradients_are_those_of_differences_and_the_ridge_has_none():
    query, known, values = drawn((3, 4), (4, 4), (4, 2))
    inputs = (known.requires_grad_(), values.requires_grad_())
    assert torch.autograd.gradcheck(lambda s, y: kernel_ridge(query, s, y, 1e-10), inputs)
    (slope,) = torch.autograd.grad(kernel_ridge(query, known, values, 1.0).sum(), known)
    phi, asked = (torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) for x in (known, query))
    fixed = phi.detach().square().sum() * torch.eye(4, dtype=phi.dtype)
    by_hand = (asked @ phi.mT @ torch.linalg.solve(phi @ phi.mT + fixed, values)).sum()
    torch.testing.assert_close(slope, torch.autograd.grad(by_hand, known)[0])


def test_double_precision_is_used_inside_alone():
    query, known, values = (x.float() for x in drawn((3, 2), (40, 2), (40, 2)))
    wide = kernel_ridge(query.double(), known.double(), values.double())
    told = kernel_ridge(query, known, values, double=True)
    assert told.dtype == torch.float32
    torch.testing.assert_close(told, wide.float(), rtol=1e-5, atol=1e-6)


def test_half_precision_around_it_changes_nothing():
    query, known, values = (x.float() for x in drawn((3, 4), (4, 4), (4, 2)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        told = kernel_ridge(query, known, values)
    assert torch.equal(told, kernel_ridge(query, known, values))
