"""Losses between the embeddings of two views."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unbraid.core.method import World


def cross_correlation(
    a: Float[Tensor, "batch d"], b: Float[Tensor, "batch e"], world: World, *, local_gradient: bool = False
) -> Float[Tensor, "d e"]:
    """Mean products of standardised columns over the batches of all processes.

    Args:
        a: Standardised rows of this process.
        b: Likewise, of the other view.
        world: The processes.
        local_gradient: Whether each process derives by its own rows only, as the released code does; its gradients,
            averaged, are the true ones divided by the number of processes.

    >>> from unbraid.core.method import Alone
    >>> import torch
    >>> cross_correlation(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), Alone()).tolist()
    [[1.0, -1.0]]
    """
    own = a.float().mT @ b.float() / len(a)  # whole sums would overflow in half precision
    if not local_gradient:
        return world.mean(own)
    own = own / world.size
    return own + (world.sum(own.detach()) - own.detach())


def off_diagonal(matrix: Float[Tensor, "d d"]) -> Float[Tensor, " pairs"]:
    """All entries off the diagonal, row by row.

    >>> import torch
    >>> off_diagonal(torch.arange(9.0).reshape(3, 3)).tolist()
    [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]
    """
    size = len(matrix)
    return matrix.flatten()[:-1].view(size - 1, size + 1)[:, 1:].flatten()


def twice_cosine(p: Float[Tensor, "batch d"], z: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
    """-2 cos(p, z): the squared distance of unit vectors, less 2."""
    return -2 * (functional.normalize(p, dim=1) * functional.normalize(z, dim=1)).sum(1)


def spread(
    z: Float[Tensor, "batch d"], world: World, least: float = 1.0, eps: float = 1e-4
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """VICReg's terms of one view: how far units fall short of a deviation, and the squares of their covariances.

    Moments are unbiased and over the batches of all processes.

    Args:
        z: Rows of this process.
        world: The processes.
        least: The deviation that every unit should have.
        eps: Added to the variance.

    >>> from unbraid.core.method import Alone
    >>> import torch
    >>> short, shared = spread(torch.tensor([[2.0, 2.0], [-2.0, -2.0]]), Alone())
    >>> float(short), float(shared)  # all deviations are above 1; both covariances are 8
    (0.0, 64.0)
    """
    n, d = len(z) * world.size, z.shape[1]
    z = z.float()
    z = z - world.mean(z.mean(0))
    covariance = world.sum(z.mT @ z) / (n - 1)
    short = (least - (covariance.diagonal() + eps).sqrt()).relu().mean()
    return short, off_diagonal(covariance).square().sum() / d
