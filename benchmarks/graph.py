"""Recommending: a step over the graph with its gradient, and the ranking of all items for all users."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.row import Row
from unbraid.metrics.ranking_lists import MASKED, Lists, recall_ndcg
from unbraid.ops.graph import graph_of, propagate, symmetric_weights

USERS, ITEMS, PAIRS, WIDTH = 60_000, 40_000, 654_000, 64
RANKED, OUT_OF = 2_000, 50_000


def propagation_row() -> Row:
    """X -> D^-1/2 A D^-1/2 X and its gradient, 100,000 nodes and 1.3 million entries, against a sparse COO matrix."""
    chance = torch.Generator().manual_seed(0)
    appeal = torch.randn(ITEMS, generator=chance).exp()
    users = torch.randint(USERS, (PAIRS,), generator=chance)
    items = torch.multinomial(appeal, PAIRS, replacement=True, generator=chance)
    graph = graph_of(torch.stack([users, items + USERS], 1), USERS + ITEMS)
    weights = symmetric_weights(graph)
    x = torch.randn((USERS + ITEMS, WIDTH), generator=chance, requires_grad=True)
    of_y = torch.randn((USERS + ITEMS, WIDTH), generator=chance)
    places = torch.stack([graph.heads, graph.tails]).long()
    matrix = torch.sparse_coo_tensor(places, weights, (USERS + ITEMS,) * 2, check_invariants=False).coalesce()

    def ours() -> tuple[Tensor, Tensor]:
        y = propagate(x, graph, weights, symmetric=True)
        return y.detach(), torch.autograd.grad(y, x, of_y)[0]

    def peer() -> tuple[Tensor, Tensor]:
        y = torch.sparse.mm(matrix, x)
        return y.detach(), torch.autograd.grad(y, x, of_y)[0]

    def check(ours: tuple[Tensor, Tensor], peer: tuple[Tensor, Tensor]) -> None:
        assert 1_290_000 < len(weights) < 1_310_000, f"{len(weights)} entries"
        for one, other in zip(ours, peer, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)

    return Row("graph_propagation", 5, ours, peer, check)


def ranking_row() -> Row:
    """Recall and NDCG at 20 and 40 of 2,000 users out of 50,000 items, against the whole matrix of scores at once."""
    chance = torch.Generator().manual_seed(0)
    users, items = (torch.randn((n, WIDTH), generator=chance) for n in (RANKED, OUT_OF))
    every = torch.arange(RANKED)
    drawn = (torch.randint(OUT_OF, (RANKED * each,), generator=chance) for each in (30, 8))
    seen, held = (Lists(torch.stack([every.repeat(len(d) // RANKED), d], 1), RANKED) for d in drawn)
    had, wanted = seen.of(every), torch.zeros((RANKED, OUT_OF), dtype=torch.bool)
    wanted[tuple(held.of(every).unbind(1))] = True

    def ours() -> dict[str, float]:
        return recall_ndcg(users, items, seen, held)

    def peer() -> dict[str, float]:
        scores = users @ items.T
        scores[tuple(had.unbind(1))] = MASKED
        hits = wanted.gather(1, scores.topk(40).indices).double()
        gains = 1 / torch.arange(2, 42, dtype=torch.float64).log2()
        found = {}
        for k in (20, 40):
            ideal = gains.cumsum(0)[held.sizes.clamp(max=k) - 1]
            found[f"recall@{k}"] = float((hits[:, :k].sum(1) / held.sizes).mean())
            found[f"ndcg@{k}"] = float((hits[:, :k] @ gains[:k] / ideal).mean())
        return found

    def check(ours: dict[str, float], peer: dict[str, float]) -> None:
        assert ours.keys() == peer.keys()
        assert all(abs(ours[name] - peer[name]) < 1e-9 for name in ours), f"{ours} and {peer}"

    return Row("full_ranking", None, ours, peer, check)


ROWS = {"graph_propagation": propagation_row, "full_ranking": ranking_row}
