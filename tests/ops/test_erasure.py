import math

import pytest
import torch
from torch.nn import functional

from unbraid.ops.erasure import Concept, along, leace, merged, orthonormal, rasa

N, D = 400, 7


@pytest.fixture
def known():
    """Codes with a direction that does not vary, and three classes of unlike size that shift them."""
    g = torch.Generator().manual_seed(0)
    y = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), N, replacement=True, generator=g)
    one = functional.one_hot(y, 3).double()
    z = torch.randn(N, D, generator=g, dtype=torch.double) @ torch.randn(D, D, generator=g, dtype=torch.double)
    z = z + 2 * one @ torch.randn(3, D, generator=g, dtype=torch.double) + 5
    return torch.cat([z, z[:, :1] - z[:, 1:2], torch.full((N, 1), 3.0, dtype=torch.double)], 1), one


def covariance(a, b):
    return (a - a.mean(0)).T @ (b - b.mean(0)) / len(a)


def test_leace_leaves_no_covariance_and_the_mean_and_is_done_once(known):
    z, one = known
    erasure = leace(z, [Concept(one, classes=True)])
    clean = erasure(z)
    assert covariance(clean, one).abs().max() < 1e-8 < 0.1 < covariance(z, one).abs().max()
    torch.testing.assert_close(clean.mean(0), z.mean(0), rtol=0, atol=1e-10)
    torch.testing.assert_close(erasure(clean), clean, rtol=0, atol=1e-9)
    torch.testing.assert_close(clean[:, -1], z[:, -1], rtol=0, atol=1e-10)
    assert erasure.rank == 2
    assert erasure(z.float()).dtype == torch.float32


def test_leace_is_the_published_formula(known):
    z, one = (known[0][:, :D], known[1])
    values, vectors = torch.linalg.eigh(covariance(z, z))
    whiten, back = (vectors * values**p @ vectors.T for p in (-0.5, 0.5))
    cross = whiten @ covariance(z, one)
    wanted = torch.eye(D, dtype=torch.double) - back @ cross @ torch.linalg.pinv(cross, rtol=1e-9) @ whiten
    torch.testing.assert_close(leace(z, [Concept(one, classes=True)]).matrix, wanted, rtol=1e-7, atol=1e-8)


def test_no_linear_classifier_beats_the_frequencies_after_leace(known):
    z, one = known
    clean = leace(z, [Concept(one, classes=True)])(z)

    def least(codes):
        x = functional.pad((codes - codes.mean(0)) / codes.std(), (0, 1), value=1.0)
        w = torch.zeros(x.shape[1], 3, dtype=torch.double, requires_grad=True)
        search = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

        def loss():
            search.zero_grad()
            value = functional.cross_entropy(x @ w, one)
            value.backward()
            return value.detach()

        search.step(loss)
        return loss().item()

    share = one.mean(0)
    entropy = float(-(share * share.log()).sum())
    assert least(z) < 0.7 * entropy
    assert least(clean) == pytest.approx(entropy, abs=1e-6)


def test_no_map_that_leaves_no_covariance_changes_codes_less(known):
    z, one = (known[0][:, :D], known[1])
    matrix = leace(z, [Concept(one, classes=True)]).matrix
    cross = covariance(z, one)
    outside = torch.eye(D, dtype=torch.double) - cross @ torch.linalg.pinv(cross, rtol=1e-9)
    g = torch.Generator().manual_seed(1)
    for i in range(20):
        other = matrix + 0.1 * torch.randn(D, D, generator=g, dtype=torch.double) @ outside
        assert (other @ cross).abs().max() < 1e-8
        root = torch.randn(D, D, generator=g, dtype=torch.double) if i else torch.eye(D, dtype=torch.double)
        moved, least = (
            (root @ (m - torch.eye(D, dtype=torch.double)) @ covariance(z, z) * (root @ (m - torch.eye(D)))).sum()
            for m in (other, matrix)
        )
        assert moved > least


def test_numbers_and_classes_are_taken_out_together(known):
    z, one = known
    g = torch.Generator().manual_seed(2)
    age = z[:, :1] + torch.randn(N, 1, generator=g, dtype=torch.double)
    clean = leace(z, [Concept(one, classes=True), Concept(age, classes=False)])(z)
    assert covariance(clean, torch.cat([one, age], 1)).abs().max() < 1e-8


def test_where_nothing_varies_together_nothing_is_taken_out():
    z = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    concept = Concept(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), classes=False)
    assert leace(z, [concept]).rank == 0
    assert leace(torch.ones(4, 2), [concept]).rank == 0
    assert rasa(torch.ones(4, 2), [concept], 2, steps=3).rank == 0


def test_planes_are_orthonormal_and_their_chain_is_one_matrix():
    g = torch.Generator().manual_seed(3)
    bases = [orthonormal(torch.randn(2, 5, generator=g, dtype=torch.double)) for _ in range(3)]
    z = torch.randn(10, 5, generator=g, dtype=torch.double)
    left = z
    for u, v in bases:
        assert abs(float(u @ v)) < 1e-12
        left = left - (left @ u)[:, None] * u - (left @ v)[:, None] * v
    torch.testing.assert_close(z @ merged(bases).T, left)
    torch.testing.assert_close(along(z, bases[0]) + z @ merged(bases[:1]).T, z)


def test_nearly_parallel_rows_give_an_exact_plane_or_none():
    u, v = orthonormal(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1e-2]]))
    assert abs(float(u @ v)) < 1e-6
    assert not orthonormal(torch.tensor([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]]))[1].any()


def test_planes_of_rasa_take_out_what_a_sigmoid_reads():
    g = torch.Generator().manual_seed(4)
    place = torch.rand(500, 2, generator=g, dtype=torch.double)
    z = torch.randn(500, 6, generator=g, dtype=torch.double)
    z[:, :2] += 8 * (place - 0.5)
    found = rasa(z, [Concept(place, classes=False)], steps=200)
    first, last = found.losses[0], found.losses[-1]
    assert found.blind == pytest.approx(float(place.var(0, correction=0).sum()))
    assert first < 0.2 * found.blind
    assert last > 0.98 * found.blind
    assert 2 <= found.rank <= 6
    assert covariance(found(z), place).abs().max() < 0.1 * covariance(z, place).abs().max()


@pytest.mark.parametrize("exact", [False, True])
def test_rounds_of_rasa_for_classes_read_less_and_less(known, exact):
    z, one = known
    found = rasa(z, [Concept(one, classes=True)], 3, exact=exact, steps=150)
    assert list(found.losses) == sorted(found.losses)
    assert found.rank <= 2 * len(found.losses)
    share = one.mean(0)
    blind = float((share * (1 - share)).sum() if exact else -(share * share.log()).sum())
    assert found.blind == pytest.approx(blind)
    assert math.isclose(float((found(z).mean(0) - z.mean(0)).abs().max()), 0, abs_tol=1e-9)


def test_exact_rounds_are_least_squares_with_an_intercept(known):
    z, one = known
    found = rasa(z, [Concept(one, classes=True)], 1, exact=True)
    x = functional.pad(z, (0, 1), value=1.0)
    error = one - x @ (torch.linalg.pinv(x, rtol=1e-10) @ one)
    assert found.losses[0] == pytest.approx(float(error.square().mean(0).sum()), rel=1e-6)
