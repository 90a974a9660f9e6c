"""Classification by angle: softmax over scaled cosines, with a margin for the true class."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def cosines(z: Float[Tensor, "batch dim"], weight: Float[Tensor, "classes dim"]) -> Float[Tensor, "batch classes"]:
    """Cosine of each item to each class.

    >>> cosines(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return functional.linear(functional.normalize(z), functional.normalize(weight))


def margin_logits(
    z: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "classes dim"],
    labels: Int[Tensor, " batch"],
    scale: float = 10.0,
    margin: float = 0.0,
) -> Float[Tensor, "batch classes"]:
    """Logits `scale` cos(angle), the angle to the true class enlarged by `margin` radians (ArcFace; Deng et al., 2019).

    Without a margin this is softmax on the sphere. Where the enlarged angle would pass pi, the cosine is lowered by
    `margin` sin(margin) instead, so that the logit still falls as the angle grows.

    Args:
        z: Embeddings of any length.
        weight: One direction per class.
        labels: The true classes.
        scale: Of all logits.
        margin: In radians.

    >>> z = torch.tensor([[1.0, 0.0]])
    >>> margin_logits(z, torch.eye(2), torch.tensor([0]), scale=1.0, margin=math.pi / 3)
    tensor([[0.5000, 0.0000]])
    """
    cosine = cosines(z, weight)
    if not margin:
        return scale * cosine
    sine = (1 - cosine.square()).clamp(min=1e-12).sqrt()  # the square root has no slope at 0
    enlarged = cosine * math.cos(margin) - sine * math.sin(margin)
    enlarged = torch.where(cosine > -math.cos(margin), enlarged, cosine - margin * math.sin(margin))
    true = functional.one_hot(labels, len(weight)).bool()
    return scale * torch.where(true, enlarged, cosine)


def rarity_margins(counts: Float[Tensor, " classes"], most: float = 0.5) -> Float[Tensor, " classes"]:
    """Margins that grow with the rarity of a class, as its number of items to the power of -1/4 (Cao et al., 2019).

    Args:
        counts: Items of each class; a class without any is taken to have one.
        most: Margin of the rarest class.

    >>> rarity_margins(torch.tensor([16.0, 1.0]))
    tensor([0.2500, 0.5000])
    """
    margins = counts.clamp(min=1) ** -0.25
    return most * margins / margins.max()


def lowered(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], margins: Float[Tensor, " classes"]
) -> Float[Tensor, "batch classes"]:
    """Logits, that of the true class less its margin.

    >>> lowered(torch.ones(1, 2), torch.tensor([1]), torch.tensor([0.25, 0.5]))
    tensor([[1.0000, 0.5000]])
    """
    return logits.scatter_add(1, labels[:, None], -margins[labels][:, None])
