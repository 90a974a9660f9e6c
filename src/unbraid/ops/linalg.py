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


def kernel_ridge(
    query: Float[Tensor, "n h"],
    known: Float[Tensor, "m h"],
    values: Float[Tensor, "m d"],
    strength: float = 1e-6,
    *,
    double: bool = False,
) -> Float[Tensor, "n d"]:
    """What ridge regression on the rows of `known` says of the rows of `query`, by the kernel of their products.

    A constant 1 is appended to all rows. The ridge is `strength` times the trace of the kernel and has no gradient.
    Nothing here is done in half precision, for the ridge would be lost in it.

    Args:
        query: Rows to tell the values of.
        known: Rows whose values are known.
        values: These values.
        strength: The ridge, relative to the trace.
        double: Whether it is solved in double precision.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> kernel_ridge(torch.tensor([[2.0]]), x, 3 * x - 1, 1e-12, double=True).round(decimals=4).tolist()
    [[5.0]]
    """
    wide = torch.float64 if double else values.dtype
    with torch.autocast(values.device.type, enabled=False):
        t, s = (torch.cat([rows, rows.new_ones(len(rows), 1)], 1).to(wide) for rows in (query, known))
        kernel = s @ s.mT
        ridge = strength * kernel.detach().trace() * torch.eye(len(s), dtype=wide, device=s.device)
        told: Tensor = t @ s.mT @ torch.linalg.solve(kernel + ridge, values.to(wide))
    return told.to(values.dtype)
