"""Of attributes that have one logit and of those that have one for each class, alike."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def log_odds(logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
    """The log of p / (1 - p) of a logit, or of each of several classes.

    >>> log_odds(torch.tensor([[0.25, 0.25, 0.5]]).log()).exp()
    tensor([[0.3333, 0.3333, 1.0000]])
    """
    classes = logits.shape[1]
    if classes == 1:
        return logits
    others = logits[:, None].masked_fill(torch.eye(classes, dtype=torch.bool, device=logits.device), -torch.inf)
    return logits - others.logsumexp(2)


def cross_entropy(logits: Float[Tensor, "batch outputs"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Of one logit, or of one for each class."""
    if logits.shape[1] > 1:
        return functional.cross_entropy(logits, labels, reduction="none")
    return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")


def class_of(logits: Float[Tensor, "batch outputs"]) -> Int[Tensor, " batch"]:
    """The likelier side of one logit, or the likeliest of several classes."""
    return logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
