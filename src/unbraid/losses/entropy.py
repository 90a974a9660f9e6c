"""How unsure a classifier is, and how much of its certainty rests on the whole picture."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def entropy(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Entropy of the predicted classes in nats.

    >>> import torch
    >>> entropy(torch.zeros(1, 4)).item() == entropy(torch.full((1, 4), 7.0)).item()
    True
    """
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def probability_lost(
    before: Float[Tensor, "batch classes"], after: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """How much less probable the class that seemed likeliest `before` is `after`, from logits; in (-1, 1).

    With `after` the answer to a picture whose object was destroyed, this is the pseudo-label probability difference of
    Lee et al., 2024, eq. 5.

    >>> import torch
    >>> probability_lost(torch.tensor([[9.0, -9.0]]), torch.zeros(1, 2)).round(decimals=2).tolist()
    [0.5]
    """
    likeliest = before.argmax(1, keepdim=True)
    return (before.softmax(1).gather(1, likeliest) - after.softmax(1).gather(1, likeliest))[:, 0]
