"""Nearest neighbours of 500 frames in a pool of 15,000 x 1,024, as voice conversion matches them."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.row import Row
from unbraid.ops.knn import knn

FRAMES, POOL, WIDTH, K = 500, 15_000, 1024, 4


def _frames() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(FRAMES, WIDTH, generator=draw), torch.randn(POOL, WIDTH, generator=draw)


def cdist_row() -> Row:
    """Against all distances and the smallest of them."""
    query, pool = _frames()

    def peer() -> tuple[torch.Tensor, torch.Tensor]:
        found = torch.cdist(query, pool).topk(K, dim=1, largest=False)
        return found.values, found.indices

    return Row("knn_cdist", 2, partial(knn, query, pool, K, "euclidean"), peer, _same)


def faiss_row() -> Row:
    """Against faiss's flat index, filled and searched."""
    import faiss

    query, pool = _frames()
    faiss.omp_set_num_threads(torch.get_num_threads())

    def peer() -> tuple[torch.Tensor, torch.Tensor]:
        index = faiss.IndexFlatL2(WIDTH)
        index.add(pool.numpy())
        squared, found = index.search(query.numpy(), K)
        return torch.from_numpy(np.sqrt(squared)), torch.from_numpy(found)

    return Row("knn_faiss", 3, partial(knn, query, pool, K, "euclidean"), peer, _same)


def _same(ours: tuple[torch.Tensor, torch.Tensor], peer: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.testing.assert_close(ours[0], peer[0], rtol=1e-4, atol=1e-4)
    assert (ours[1] == peer[1]).float().mean() > 0.999, "other neighbours"


ROWS = {"knn_cdist": cdist_row, "knn_faiss": faiss_row}
