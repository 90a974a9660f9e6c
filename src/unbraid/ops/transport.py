"""Optimal transport with entropy: items shared out evenly among prototypes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.method import Alone, World

_ALONE = Alone()


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "batch k"], eps: float = 0.05, iterations: int = 3, world: World = _ALONE
) -> Float[Tensor, "batch k"]:
    """Soft assignments, each item's summing to 1, near exp(scores / eps) and evenly spread over the k columns.

    Iterations of Sinkhorn and Knopp: columns are brought to the same sum over the items of all processes, then rows
    to the same sum. In logarithms and single precision, so that nothing under- or overflows. Processes may have
    different numbers of items.

    Args:
        scores: How well items and prototypes fit.
        eps: Weight of the entropy: small for assignments that are nearly hard.
        iterations: How often.
        world: The processes.

    >>> q = sinkhorn(torch.tensor([[1.0, 0.0], [0.5, 0.0]]), eps=0.5, iterations=100)
    >>> bool(q[0, 0] > q[1, 0]), [round(float(share), 3) for share in q.mean(0)]
    (True, [0.5, 0.5])
    """
    q = scores.float() / eps
    if len(q) == 0 and world.size == 1:
        return q
    for _ in range(iterations):
        q = q - _over_items(q, world)
        q = q.log_softmax(1)
    return q.exp() if iterations else q.softmax(1)


def _over_items(q: Float[Tensor, "batch k"], world: World) -> Float[Tensor, " k"]:
    """The logarithm of the sum of exponentials over the items of all processes."""
    if world.size == 1:
        return q.logsumexp(0)
    own = q.logsumexp(0) if len(q) else q.new_full(q.shape[1:], -torch.inf)
    return world.gather(own[None]).logsumexp(0)
