"""Frames in another voice: each replaced by what goes with its nearest frames in a pool."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unbraid.ops.knn import knn

_BLOCK = 2**24


def matched(
    query: Float[Tensor, "n d"], keys: Float[Tensor, "m d"], values: Float[Tensor, "m e"], k: int
) -> Float[Tensor, "n e"]:
    """The mean of the values of the k keys that are nearest to each query by the cosine.

    Args:
        query: What is looked up.
        keys: Where; the pool, of at least k.
        values: What goes with each key.
        k: How many are averaged.

    >>> keys = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> matched(torch.tensor([[2.0, 0.0]]), keys, torch.tensor([[1.0], [3.0], [9.0]]), k=2).tolist()
    [[2.0]]
    """
    return values[knn(query, keys, k)[1]].mean(1)


def matched_elsewhere(
    keys: Float[Tensor, "m d"], values: Float[Tensor, "m e"], owner: Int[Tensor, " m"], k: int
) -> tuple[Float[Tensor, "m e"], Bool[Tensor, " m"]]:
    """The same of each key in the pool of all keys but those of its own owner, and whether there were k of these.

    >>> keys = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> matched_elsewhere(keys, torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([0, 0, 1]), k=1)[0].tolist()
    [[9.0], [9.0], [3.0]]
    """
    keys = nn.functional.normalize(keys, dim=1)
    made, found = [], []
    for rows in torch.split(torch.arange(len(keys), device=keys.device), max(1, _BLOCK // max(1, len(keys)))):
        near = (keys[rows] @ keys.T).masked_fill_(owner[rows, None] == owner, -torch.inf)
        top = near.topk(min(k, len(keys)), 1)
        found.append((top.values > -torch.inf).sum(1) == k)
        made.append(values[top.indices].mean(1))
    return torch.cat(made), torch.cat(found)
