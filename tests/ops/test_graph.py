import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.ops.graph import Graph, cosines, graph_of, propagate, shares, symmetric_weights


@pytest.fixture
def pairs():
    """Twelve edges over ten nodes, one of them twice and one a loop; node 9 has none."""
    drawn = torch.randint(9, (10, 2), generator=torch.Generator().manual_seed(3))
    return torch.cat([drawn, drawn[:1].flip(1), torch.tensor([[4, 4]])])


@pytest.fixture
def graph(pairs):
    return graph_of(pairs, 10)


@pytest.fixture
def adjacency(pairs):
    dense = torch.zeros(10, 10, dtype=torch.float64)
    dense[pairs[:, 0], pairs[:, 1]] = dense[pairs[:, 1], pairs[:, 0]] = 1
    return dense


def matrix(graph, weights):
    dense = torch.zeros(10, 10, dtype=weights.dtype)
    dense[graph.heads.long(), graph.tails.long()] = weights
    return dense


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_edge_stands_once_in_each_direction(graph, adjacency):
    torch.testing.assert_close(matrix(graph, torch.ones(len(graph.heads)).double()), adjacency)
    assert len(graph.heads) == int(adjacency.sum())
    assert torch.equal(graph.degrees.double(), adjacency.sum(1))
    assert torch.equal(graph.heads[graph.twins.long()], graph.tails)
    assert torch.equal(graph.tails[graph.twins.long()], graph.heads)


def test_it_does_not_matter_who_comes_first(pairs, graph):
    again = graph_of(pairs.flip(0, 1), 10)
    assert all(torch.equal(a, b) for a, b in zip(graph, again, strict=True))


def test_nodes_that_are_not_there_are_refused():
    with pytest.raises(DataError, match=r"expected nodes 0\.\.3, got 0\.\.4"):
        graph_of(torch.tensor([[0, 4]]), 4)


def test_a_graph_without_edges_gives_zeros():
    graph = graph_of(torch.zeros((0, 2), dtype=torch.int64), 3)
    assert torch.equal(propagate(torch.ones(3, 2), graph, torch.zeros(0)), torch.zeros(3, 2))
    assert isinstance(graph, Graph)


def test_sums_over_neighbours_are_a_product_with_the_matrix(graph):
    x, weights = drawn(10, 4), drawn(len(graph.heads), seed=1)
    torch.testing.assert_close(propagate(x, graph, weights), matrix(graph, weights) @ x)


def test_gradients_of_sums(graph):
    x, weights = drawn(10, 3).requires_grad_(), drawn(len(graph.heads), seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: propagate(x, graph, w), (x, weights))


def test_symmetric_weights_give_the_same_gradient_either_way(graph):
    x, weights = drawn(10, 3).requires_grad_(), symmetric_weights(graph).double()
    out = drawn(10, 3, seed=2)
    one, two = (
        torch.autograd.grad(propagate(x, graph, weights, symmetric=symmetric), x, out)[0] for symmetric in (True, False)
    )
    torch.testing.assert_close(one, two)


def test_symmetric_weights_are_those_of_the_normalised_matrix(graph, adjacency):
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    torch.testing.assert_close(matrix(graph, symmetric_weights(graph).double()), scale[:, None] * adjacency * scale)


def test_cosines_of_both_ends(graph):
    x = drawn(10, 4)
    every = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=2)
    torch.testing.assert_close(cosines(x, graph), every[graph.heads.long(), graph.tails.long()])


def test_gradients_of_cosines(graph):
    assert torch.autograd.gradcheck(lambda x: cosines(x, graph), drawn(10, 3).requires_grad_())


def test_more_edges_than_are_gathered_at_a_time(monkeypatch, graph):
    x, whole = drawn(10, 4), cosines(drawn(10, 4), graph)
    monkeypatch.setattr("unbraid.ops.graph._BLOCK", 3)
    assert torch.equal(cosines(x, graph), whole)


def test_shares_sum_to_one_and_are_nothing_where_nothing_weighs(graph):
    weights = drawn(len(graph.heads)).abs()
    weights[graph.heads == int(graph.heads[0])] = 0
    sums = matrix(graph, shares(weights, graph)).sum(1)
    expected = (graph.degrees > 0).double()
    expected[int(graph.heads[0])] = 0
    torch.testing.assert_close(sums, expected)


def test_gradients_of_shares(graph):
    weights = drawn(len(graph.heads)).abs().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: shares(w, graph), weights)
    none = torch.zeros(len(graph.heads), requires_grad=True)
    assert torch.isfinite(torch.autograd.grad(shares(none, graph).sum(), none)[0]).all()
