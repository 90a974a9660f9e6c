import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from unbraid.core.errors import DataError
from unbraid.ops import knn as module
from unbraid.ops.knn import knn


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def correlated(n, d):
    """Rows far from the origin, on a surface of few dimensions, one column much wider than the others."""
    z = normal(n, 4) @ normal(4, d, seed=1) + 0.1 * normal(n, d, seed=2) + 3 * normal(d, seed=3)
    z[:, 7] *= 30
    return z


@pytest.fixture(params=["bytes", "whole"])
def way(request, monkeypatch):
    able = request.param == "bytes"
    if able and not module._multiplies_bytes():
        pytest.skip("this processor does not multiply bytes fast")
    monkeypatch.setattr(module, "_multiplies_bytes", lambda: able)
    return request.param


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("make", [normal, correlated])
@pytest.mark.parametrize("k", [1, 4, 20])
def test_neighbours_are_those_of_scikit_learn(way, metric, make, k):
    pool = make(2100, 96)
    query = pool[:200] + 0.5 * normal(200, 96, seed=9)
    distance, index = knn(query, pool, k, metric)
    reference = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(pool.double().numpy())
    expected, _ = reference.kneighbors(query.double().numpy())
    np.testing.assert_allclose(distance.numpy(), expected, rtol=1e-4, atol=1e-5)
    rows = pool.double()[index]
    if metric == "cosine":
        real = 1 - torch.nn.functional.cosine_similarity(rows, query.double()[:, None], dim=2)
    else:
        real = (rows - query.double()[:, None]).norm(dim=2)
    np.testing.assert_allclose(real.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_bytes_decide_most_queries_and_know_which(monkeypatch):
    """Where the bound says that it is sure, it is right; on plain noise it nearly always is."""
    pool, query = normal(4000, 256), normal(300, 256, seed=1)
    search = module._Bytes.of(query, pool, None)
    _, index, sure = search(slice(0, 300), 4)
    _, expected = module._full(query, pool, None, 4)
    assert sure.float().mean() > 0.95
    assert torch.equal(index[sure], expected[sure])
    monkeypatch.setattr(module, "_SPARE", 0)
    _, index, sure = search(slice(0, 300), 4)
    assert not sure.all()
    assert torch.equal(index[sure], expected[sure])


def test_a_score_in_bytes_is_within_its_bound():
    pool, query = correlated(2100, 80), correlated(40, 80) + normal(40, 80, seed=4)
    search = module._Bytes.of(query, pool, None)
    value, index = search._largest(slice(0, 40), 30)
    distance = (pool.double()[index] - query.double()[:, None]).norm(dim=2)
    exact = (search.reach.double().square() - distance.square()) / 2
    assert ((value - exact).abs() <= search.slack).all()
    assert ((value - exact).abs() > 1e-4 * search.slack).any()


def test_equal_rows_and_rows_of_zeros(way):
    pool = torch.cat([torch.zeros(1, 64), normal(2500, 64)])
    query = pool[:140].clone()
    distance, index = knn(query, pool, 1, "euclidean")
    assert torch.equal(index[:, 0], torch.arange(140))
    assert distance.abs().max() < 2e-3
    distance, _ = knn(query, pool, 2, "cosine")
    np.testing.assert_allclose(distance[0].numpy(), 1)
    constant, _ = knn(torch.ones(140, 64), torch.ones(2500, 64), 3, "euclidean")
    np.testing.assert_allclose(constant.numpy(), 0, atol=1e-6)


def test_few_rows_and_double_precision():
    distance, index = knn(torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.eye(2, dtype=torch.float64), 2)
    assert index.tolist() == [[1, 0]]
    assert distance.dtype == torch.float64
    np.testing.assert_allclose(distance.numpy(), [[0, 1]])


@pytest.mark.parametrize(
    ("query", "pool", "k"),
    [((2, 3), (4, 5), 1), ((3,), (4, 3), 1), ((2, 3), (4, 3), 5), ((2, 3), (4, 3), 0)],
)
def test_misfits_are_told_in_one_line(query, pool, k):
    with pytest.raises(DataError, match="knn: expected"):
        knn(torch.zeros(query), torch.zeros(pool), k)
