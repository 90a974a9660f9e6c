"""Embeddings kept apart: the estimator of entropy by nearest neighbours of Kozachenko and Leonenko."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unbraid.core.method import World

_EPS = 1e-8


def koleo(z: Float[Tensor, "batch d"], world: World) -> Float[Tensor, " batch"]:
    """-log of the distance of each item to its nearest neighbour on the sphere (Sablayrolles et al., 2019).

    The neighbour is sought among the items of all processes.

    >>> from unbraid.core.method import Alone
    >>> koleo(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), Alone()).exp()  # 1 / sqrt(2)
    tensor([0.7071, 0.7071])
    """
    z = functional.normalize(z.float(), dim=1, eps=_EPS)
    every = world.gather(z)
    with torch.no_grad():
        own = torch.arange(len(z), device=z.device) + world.rank * len(z)
        nearest = (z @ every.mT).scatter(1, own[:, None], -2.0).argmax(1)
    distance = functional.pairwise_distance(z, every[nearest], eps=_EPS)
    return -(distance + _EPS).log()
