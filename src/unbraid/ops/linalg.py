"""Dense linear algebra with the conventions that the methods share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def eigh_sorted(matrix: Float[Tensor, "*batch d d"]) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d d"]]:
    """Eigenvalues, largest first, and unit eigenvectors (columns) of a symmetric matrix, in double precision inside.

    The largest entry of each eigenvector is positive, so that equal matrices give equal vectors.

    >>> values, vectors = eigh_sorted(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    >>> values.tolist(), vectors.tolist()
    ([3.0, 2.0], [[0.0, 1.0], [1.0, 0.0]])
    """
    wide = torch.float64 if matrix.device.type != "mps" else torch.float32
    symmetric = matrix.to(wide)
    values, vectors = torch.linalg.eigh((symmetric + symmetric.mT) / 2)
    values, vectors = values.flip(-1), vectors.flip(-1)
    top = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
    return values.to(matrix.dtype), (vectors * top.sign()).to(matrix.dtype)
