"""How much a code tells of what its owner does not control: a contrastive bound, and the exact number for tables.

For outcomes o of a history h, and a reference distribution rho of outcomes,
I(f) = E[f(o, z, h) - log E_{o' ~ rho} exp f(o', z, h)] is highest where f = log p(o | z, h) / rho(o), and is then
MI(o; z | h) plus a constant free of z (Yang et al., 2023, eq. 6). f ascends it, and whoever makes z descends it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def table_contrast(
    energy: Float[Tensor, "s a r z"],
    state: Int[Tensor, " batch"],
    action: Int[Tensor, " batch"],
    outcome: Int[Tensor, " batch"],
    code: Float[Tensor, "batch z"],
    rho: Float[Tensor, " r"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Both halves of I(f) for a table f: what the true outcome gets, and the log mean exp over outcomes from `rho`.

    Args:
        energy: The table.
        state: Of each sample.
        action: Likewise.
        outcome: The outcome that came, as a code.
        code: Chances of the codes, over which both halves are averaged exactly; one-hot for a code that was drawn.
        rho: Reference distribution of outcomes.

    >>> half = torch.tensor([0.5, 0.5])
    >>> which = torch.zeros(1).long()
    >>> table_contrast(torch.zeros(1, 1, 2, 3), which, which, which, torch.ones(1, 3) / 3, half)
    (tensor([0.]), tensor([0.]))
    """
    mean = torch.logsumexp(energy + rho.log()[:, None], 2)  # (S, A, Z)
    return (code * energy[state, action, outcome]).sum(1), (code * mean[state, action]).sum(1)


def nce(
    scores: Float[Tensor, "*more batch all"], valid: Bool[Tensor, "*more all"] | None = None, first: int = 0
) -> Tensor:
    """-log softmax of each row's own outcome among all, (..., B); log N less it is a bound of the information.

    Args:
        scores: f of each row's code and history with each outcome; row i came with outcome `first` + i.
        valid: The outcomes that are real; others are no rivals.
        first: Where the rows' own outcomes start among all.

    >>> nce(torch.zeros(4, 4))
    tensor([1.3863, 1.3863, 1.3863, 1.3863])
    """
    own = scores.diagonal(first, -2, -1)
    if valid is not None:
        scores = scores.masked_fill(~valid[..., None, :], -torch.inf)
    return torch.logsumexp(scores, -1) - own


def contrast(
    scores: Float[Tensor, "*more batch all"], valid: Bool[Tensor, "*more all"], first: int = 0
) -> Float[Tensor, "*more batch"]:
    """I(f) of each row, with the real outcomes of the batch as the reference; 0 where the row's own is not real.

    >>> contrast(torch.eye(2) * 50, torch.tensor([True, True]))
    tensor([0.6931, 0.6931])
    """
    count = valid.sum(-1, keepdim=True).clamp(min=1).to(scores.dtype)
    own = valid[..., first : first + scores.shape[-2]]
    # Rows without a real outcome would compare with nothing: their scores are set to 0 before, not after.
    scores = scores.masked_fill(~own[..., :, None], 0.0)
    anyone = valid | ~valid.any(-1, keepdim=True)
    return torch.where(own, count.log() - nce(scores, anyone, first), 0.0)


def conditional_information(joint: Float[Tensor, "s a r"], code: Float[Tensor, "s a r z"]) -> Float[Tensor, ""]:
    """MI(z; r | s, a) in nats, of a code with chances `code` given state, action and outcome.

    >>> equal = torch.full((1, 1, 2), 0.5, dtype=torch.float64)
    >>> round(float(conditional_information(equal, torch.eye(2, dtype=torch.float64)[None, None])), 6)
    0.693147
    """
    together = joint[..., None] * code
    mixed = together.sum(2, keepdim=True) / joint.sum(2)[..., None, None].clamp(min=torch.finfo(joint.dtype).tiny)
    return (torch.xlogy(together, code) - torch.xlogy(together, mixed)).sum()
