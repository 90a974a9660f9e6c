"""Nearest neighbours: exact, a chunk of queries at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError

Metric = Literal["cosine", "euclidean"]

_ENTRIES = 2**24  # scores held at once
_ODDS = 1e-9  # that a row which was dropped is a neighbour, over the draw of the dither
_LEVELS = 126  # and one more for the dither
_TINY = 1e-30
_SINGLE = 1e-5  # what single precision may do to a score, relative to the squared lengths
_BLOCKS = 16
_SPARE = 48  # rows that may be compared in full beside twice the neighbours
_TRIAL = 64  # queries after which to see whether bytes decide
_WORTH = 0.95
_CACHED = 2**18  # numbers of the pool that are rounded at once: what a processor keeps at hand


def knn(
    query: Float[Tensor, "n d"], pool: Float[Tensor, "m d"], k: int, metric: Metric = "cosine"
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The `k` rows of the pool next to each query, nearest first.

    Where the processor multiplies bytes fast and `k` is at most 8, all rows are first scored in 8 bits with a bound on
    what rounding can do, and the few that may be neighbours are compared in full. Queries for which the bound decides
    too little are compared with the whole pool, as all are elsewhere; so the answer is the same.

    Args:
        query: Rows to find neighbours for.
        pool: Rows to choose from.
        k: Neighbours per query.
        metric: "cosine" (1 - cosine; a row of zeros is at 1 from every other) or "euclidean".

    Returns:
        Distances and positions in the pool.

    Raises:
        DataError: The rows do not fit together, or the pool has fewer than `k`.

    >>> distance, index = knn(torch.tensor([[2.0, 0.1]]), torch.eye(2), k=2)
    >>> index.tolist()
    [[0, 1]]
    """
    _check(query, pool, k)
    if metric == "cosine":
        query = torch.nn.functional.normalize(query, dim=1)
        reciprocal = 1 / torch.linalg.vector_norm(pool, dim=1).clamp(min=1e-12)
    else:
        reciprocal = None
    distance = query.new_empty(len(query), k)
    index = torch.empty(len(query), k, dtype=torch.int64, device=query.device)
    search = _Bytes.of(query, pool, reciprocal) if _pays(query, pool, k) else None
    first = 0
    while first < len(query):
        rows = slice(first, first + (_TRIAL if search and not first else max(1, _ENTRIES // len(pool))))
        first = rows.stop
        if search is None:
            distance[rows], index[rows] = _full(query[rows], pool, reciprocal, k)
            continue
        distance[rows], index[rows], sure = search(rows, k)
        if not sure.all():
            rest = torch.arange(len(query))[rows][~sure]
            distance[rest], index[rest] = _full(query[rest], pool, reciprocal, k)
            search = search if sure.float().mean() > _WORTH else None
    return distance, index


def _check(query: Tensor, pool: Tensor, k: int) -> None:
    if query.ndim != 2 or pool.ndim != 2 or query.shape[1] != pool.shape[1]:
        got = f"{tuple(query.shape)} and {tuple(pool.shape)}"
        raise DataError("queries (N, D) and a pool (M, D)", got=got, where="knn")
    if not 1 <= k <= len(pool):
        raise DataError(f"k in 1..{len(pool)}, the rows of the pool", got=str(k), where="knn")


def _full(
    query: Tensor, pool: Tensor, reciprocal: Tensor | None, k: int
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """By one product with the whole pool; queries of the cosine have length 1."""
    scores = query @ pool.mT
    if reciprocal is not None:
        found = scores.mul_(reciprocal).topk(k, dim=1)
        return 1 - found.values, found.indices
    index = scores.sub_(pool.square().sum(1) / 2).topk(k, dim=1).indices
    return _sorted(torch.linalg.vector_norm(query[:, None] - pool[index], dim=2), index)


def _sorted(distance: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    distance, order = distance.sort(dim=1, stable=True)
    return distance, index.gather(1, order)


@cache
def _multiplies_bytes() -> bool:
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_vnni") or able.get("amx_int8")) and hasattr(torch, "_int_mm")


def _pays(query: Tensor, pool: Tensor, k: int) -> bool:
    """Whether bytes are likely to be faster: enough queries to share the rounding of a long pool, few neighbours."""
    large = len(query) >= 2 * _TRIAL and k <= 8 and len(pool) >= 2**11 and pool.shape[1] >= 64
    plain = query.device.type == "cpu" and query.dtype == pool.dtype == torch.float32
    return large and plain and not (query.requires_grad or pool.requires_grad) and _multiplies_bytes()


@dataclass(frozen=True)
class _Bytes:
    """Queries and pool about a point in the middle of the pool, in whole numbers -127..127.

    A number x is kept as floor(x / scale + u), with u uniform on [0, 1) and common to a column. The errors in a product
    of two rows are then independent over the columns, of mean 0 and within an interval of one scale, so that by
    Hoeffding's inequality their sum stays below `slack` but for the odds above.
    """

    query: Float[Tensor, "n d"]
    pool: Float[Tensor, "m d"]
    reciprocal: Float[Tensor, " m"] | None
    small_query: Int[Tensor, "n d"]
    small_pool: Int[Tensor, "m d"]
    scale: Float[Tensor, " m"]
    half: Float[Tensor, " m"]
    reach: Float[Tensor, "n 1"]
    slack: Float[Tensor, "n 1"]

    @classmethod
    def of(cls, query: Tensor, pool: Tensor, reciprocal: Tensor | None) -> _Bytes:
        some = slice(None, None, max(1, len(pool) // 512))
        mean = (pool[some] if reciprocal is None else pool[some] * reciprocal[some, None]).mean(0)
        dither = torch.rand(2, pool.shape[1], generator=torch.Generator().manual_seed(0))
        a = query - mean
        reach, scale_a = torch.linalg.vector_norm(a, dim=1, keepdim=True), _step(a).max()
        small_a = (a / scale_a).add_(dither[0]).floor_().to(torch.int8)
        small_b, half, scale_b = _rounded(pool, mean, reciprocal, dither[1])
        longest = (2 * half.max()).sqrt() + scale_b.max() * math.sqrt(pool.shape[1])
        bound = math.sqrt(math.log(4 * len(query) * len(pool) / _ODDS) / 2)
        slack = bound * (scale_b.max() * reach + scale_a * longest) + _SINGLE * (reach + longest).square()
        return cls(query, pool, reciprocal, small_a, small_b, scale_a * scale_b, half, reach, slack)

    def __call__(self, rows: slice, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Distances, positions, and for which of these queries they are sure."""
        query = self.query[rows]
        value, index = self._largest(rows, 2 * k + _SPARE)
        distance = torch.full_like(value, torch.inf)
        distance[:, :k] = self._distance(query[:, None], index[:, :k])
        least = self._score(distance[:, :k].amax(1, keepdim=True), self.reach[rows]) - self.slack[rows]
        near = (value >= least).index_fill_(1, torch.arange(k), False)
        distance[near] = self._distance(query[near.nonzero()[:, 0]], index[near])
        best = distance.topk(k, dim=1, largest=False)
        return best.values, index.gather(1, best.indices), value[:, -1] < least[:, 0]

    def _largest(self, rows: slice, count: int) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
        """The largest of <a, b> - |b|^2 / 2 of each query: they lie in the columns whose maximum is among the largest.

        The last of the blocks one above the other is filled up with -inf.
        """
        width = -(-len(self.pool) // _BLOCKS)
        scores = torch.empty(len(self.query[rows]), _BLOCKS, width)
        for block in range(_BLOCKS):
            span = slice(block * width, (block + 1) * width)
            whole = torch._int_mm(self.small_query[rows], self.small_pool[span].mT)
            torch.addcmul(-self.half[span], whole, self.scale[span], out=scores[:, block, : whole.shape[1]])
            scores[:, block, whole.shape[1] :] = -torch.inf
        column = scores.amax(1).topk(count, dim=1).indices
        best = scores.gather(2, column[:, None].expand(-1, _BLOCKS, -1)).flatten(1).topk(count, dim=1)
        return best.values, best.indices // count * width + column.gather(1, best.indices % count)

    def _score(self, distance: Tensor, reach: Tensor) -> Tensor:
        """The score of a row of the pool at this distance from a query that is so far from the mean."""
        squared = distance.square() if self.reciprocal is None else 2 * distance
        return (reach.square() - squared) / 2

    def _distance(self, query: Float[Tensor, "*#n d"], index: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        rows = self.pool.index_select(0, index.flatten()).view(*index.shape, self.pool.shape[1])
        if self.reciprocal is None:
            apart: Tensor = torch.linalg.vector_norm(rows.sub_(query), dim=-1)
            return apart
        cosine: Tensor = torch.linalg.vecdot(rows, query) * self.reciprocal[index]
        return 1 - cosine


def _step(x: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    """The largest number of each row as the largest level."""
    return x.abs().amax(1, keepdim=True).clamp_(min=_TINY).div_(_LEVELS)


def _rounded(
    pool: Float[Tensor, "m d"], mean: Float[Tensor, " d"], reciprocal: Float[Tensor, " m"] | None, dither: Tensor
) -> tuple[Int[Tensor, "m d"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """The pool about its mean in bytes, half of each squared length, and the scale of each row."""
    small, half, scale = torch.empty(pool.shape, dtype=torch.int8), torch.empty(len(pool)), torch.empty(len(pool))
    factor = pool.new_ones(1).expand(len(pool)) if reciprocal is None else reciprocal
    many = max(1, _CACHED // pool.shape[1])
    for first in range(0, len(pool), many):
        rows = slice(first, first + many)
        b = torch.addcmul(-mean, pool[rows], factor[rows, None])
        half[rows] = torch.linalg.vector_norm(b, dim=1).square_().div_(2)
        step = _step(b)
        scale[rows] = step[:, 0]
        small[rows] = b.mul_(1 / step).add_(dither).floor_()
    return small, half, scale
