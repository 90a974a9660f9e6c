"""Undirected graphs as sparse patterns: sums over neighbours and products along edges, with gradients by hand."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from unbraid.core.errors import DataError

_BLOCK = 4096
"""Edges whose end points are gathered at a time: what they need stays in the processor's cache."""


class Graph(NamedTuple):
    """An undirected graph: each edge is there in both directions, in the order of its head, then its tail.

    What is computed per edge need not be the same in both directions.

    Attributes:
        starts: Where the edges of each head begin, and the number of all (nodes + 1).
        heads: The node that an edge belongs to.
        tails: The neighbour that it leads to.
        twins: Where the same edge stands in the other direction.
    """

    starts: Int[Tensor, " nodes_and_one"]
    heads: Int[Tensor, " edges"]
    tails: Int[Tensor, " edges"]
    twins: Int[Tensor, " edges"]

    @property
    def degrees(self) -> Int[Tensor, " nodes"]:
        """The number of neighbours of each node."""
        return self.starts.diff()


def graph_of(pairs: Int[Tensor, "pairs 2"], nodes: int) -> Graph:
    """The graph in which these pairs are neighbours, whichever comes first and however often they come.

    Args:
        pairs: Two nodes each.
        nodes: Their number.

    Raises:
        DataError: A node that is not in 0..nodes-1.

    >>> graph = graph_of(torch.tensor([[0, 2], [1, 2]]), nodes=4)
    >>> graph.tails.tolist(), graph.degrees.tolist()
    ([2, 2, 0, 1], [1, 1, 2, 0])
    """
    if len(pairs) and not 0 <= int(pairs.min()) <= int(pairs.max()) < nodes:
        raise DataError(f"nodes 0..{nodes - 1}", got=f"{int(pairs.min())}..{int(pairs.max())}", where="edges")
    a, b = pairs.long().unbind(1)
    keys = torch.unique(torch.cat([a * nodes + b, b * nodes + a]))
    heads, tails = keys.div(nodes, rounding_mode="floor"), keys % nodes
    twins = torch.searchsorted(keys, tails * nodes + heads)
    starts = torch.searchsorted(heads, torch.arange(nodes + 1, device=pairs.device))
    return Graph(starts.int(), heads.int(), tails.int(), twins.int())


def propagate(
    x: Float[Tensor, "nodes dim"], graph: Graph, weights: Float[Tensor, " edges"], *, symmetric: bool = False
) -> Float[Tensor, "nodes dim"]:
    """For each node the weighted sum over its neighbours: y_h = sum_t w_ht x_t, zero where it has none.

    Both it and its gradients in `x` are bags of rows (`embedding_bag`), several times as fast as a product with a
    sparse matrix, whose gradient in torch also transposes it anew each time.

    Args:
        x: A row for each node.
        graph: Who is whose neighbour.
        weights: Of each edge.
        symmetric: Whether both directions of every edge weigh the same, which spares the gradient a gather.

    >>> graph = graph_of(torch.tensor([[0, 1], [0, 2]]), nodes=3)
    >>> propagate(torch.tensor([[1.0], [10.0], [100.0]]), graph, torch.ones(4)).tolist()
    [[110.0], [1.0], [1.0]]
    """
    return cast(Tensor, _Propagate.apply(x, weights, graph, symmetric))  # type: ignore[no-untyped-call]


def cosines(x: Float[Tensor, "nodes dim"], graph: Graph) -> Float[Tensor, " edges"]:
    """The cosine of the rows of both ends of each edge.

    >>> graph = graph_of(torch.tensor([[0, 1], [0, 2]]), nodes=3)
    >>> cosines(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]), graph).tolist()
    [0.0, -1.0, 0.0, -1.0]
    """
    unit = functional.normalize(x, dim=1)
    return cast(Tensor, _Products.apply(unit, graph))  # type: ignore[no-untyped-call]


def shares(weights: Float[Tensor, " edges"], graph: Graph) -> Float[Tensor, " edges"]:
    """Weights that sum to 1 over the neighbours of each node (a random walk); 0 where they summed to 0.

    >>> graph = graph_of(torch.tensor([[0, 1], [0, 2]]), nodes=3)
    >>> shares(torch.tensor([1.0, 3.0, 5.0, 0.0]), graph).tolist()
    [0.25, 0.75, 1.0, 0.0]
    """
    totals = weights.new_zeros(len(graph.starts) - 1).index_add(0, graph.heads, weights)
    inverse = torch.where(totals == 0, 0.0, 1 / torch.where(totals == 0, 1.0, totals))
    return weights * inverse.index_select(0, graph.heads)


def symmetric_weights(graph: Graph) -> Float[Tensor, " edges"]:
    """The entries of D^-1/2 A D^-1/2: 1 / sqrt(degree of the head x degree of the tail).

    >>> symmetric_weights(graph_of(torch.tensor([[0, 1], [0, 2], [0, 3], [0, 4]]), nodes=5)).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    scale = graph.degrees.clamp(min=1).float().rsqrt()
    return scale.index_select(0, graph.heads) * scale.index_select(0, graph.tails)


def _sums(x: Tensor, graph: Graph, weights: Tensor) -> Tensor:
    return functional.embedding_bag(
        graph.tails, x, graph.starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _products(a: Tensor, b: Tensor, heads: Tensor, tails: Tensor) -> Tensor:
    """<a_h, b_t> of each edge."""
    out = a.new_empty(len(heads))
    for start in range(0, len(heads), _BLOCK):
        rows = slice(start, start + _BLOCK)
        out[rows] = (a.index_select(0, heads[rows]) * b.index_select(0, tails[rows])).sum(1)
    return out


class _Propagate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, graph: Graph, symmetric: bool) -> Tensor:
        ctx.save_for_backward(x, weights, *graph)
        ctx.symmetric = symmetric
        return _sums(x.detach(), graph, weights.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad = grads[0].contiguous()
        x, weights, *pattern = ctx.saved_tensors
        graph = Graph(*pattern)
        of_x = of_weights = None
        if ctx.needs_input_grad[0]:
            of_x = _sums(grad, graph, weights if ctx.symmetric else weights.index_select(0, graph.twins))
        if ctx.needs_input_grad[1]:
            of_weights = _products(grad, x, graph.heads, graph.tails)
        return of_x, of_weights, None, None


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(x, *graph)
        x = x.detach()
        # <x_h, x_t> is the same in both directions: half of the work.
        once = (graph.heads <= graph.tails).nonzero().squeeze(1)
        half = _products(x, x, graph.heads.index_select(0, once), graph.tails.index_select(0, once))
        out = x.new_empty(len(graph.heads))
        out[once] = half
        out[graph.twins.index_select(0, once).long()] = half
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0]
        x, *pattern = ctx.saved_tensors
        graph = Graph(*pattern)
        return _sums(x, graph, grad + grad.index_select(0, graph.twins)), None
