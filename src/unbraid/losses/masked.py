"""Guessing what was masked: pixels, tokens, features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from unbraid.core.method import World


def over_masked(each: Float[Tensor, "batch *place"], mask: Bool[Tensor, "batch *place"], world: World) -> Tensor:
    """The mean over what is masked, in all processes together; 0 where nothing is."""
    return world.mean((each * mask).sum()) / world.mean(mask.sum().float()).clamp(min=1)


def normalised(patches: Float[Tensor, "batch patches pixels"], eps: float = 1e-6) -> Tensor:
    """Each patch with mean 0 and variance 1; the variance is the unbiased one, as in MAE."""
    mean, var = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    return (patches - mean) / (var + eps).sqrt()


def masked_square(
    guess: Float[Tensor, "batch patches pixels"],
    target: Float[Tensor, "batch patches pixels"],
    mask: Bool[Tensor, "batch patches"],
    world: World,
) -> Float[Tensor, ""]:
    """The mean squared error of the pixels of masked patches (MAE)."""
    return over_masked((guess - target).square().mean(-1), mask, world)


def masked_distance(
    guess: Float[Tensor, "batch c h w"],
    target: Float[Tensor, "batch c h w"],
    mask: Bool[Tensor, "batch h w"],
    world: World,
) -> Float[Tensor, ""]:
    """The mean absolute error of masked pixels (SimMIM), divided by their number and 1e-5."""
    total = world.mean(((guess - target).abs() * mask[:, None]).sum())
    return total / (world.mean(mask.sum().float()) + 1e-5) / guess.shape[1]


def masked_tokens(
    logits: Float[Tensor, "batch patches k"],
    tokens: Int[Tensor, "batch patches"],
    mask: Bool[Tensor, "batch patches"],
    world: World,
) -> Float[Tensor, ""]:
    """The mean cross-entropy of the tokens of masked patches (BEiT)."""
    each = functional.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
    return over_masked(each.view_as(tokens), mask, world)


def masked_features(
    guess: Float[Tensor, "batch patches d"],
    target: Float[Tensor, "batch patches d"],
    mask: Bool[Tensor, "batch patches"],
    world: World,
    beta: float = 2.0,
) -> Float[Tensor, ""]:
    """The mean smooth absolute error of the features of masked patches (data2vec); a plain square where beta is 0."""
    if beta == 0:
        each = (guess - target.detach()).square()
    else:
        each = functional.smooth_l1_loss(guess.float(), target.detach().float(), reduction="none", beta=beta)
    return over_masked(each.mean(-1), mask, world)


def layers_mean(
    layers: Sequence[Float[Tensor, "batch tokens d"]], over: Literal["layer", "instance"] = "layer"
) -> Float[Tensor, "batch tokens d"]:
    """The mean over layers that were each normalised, without scale and shift.

    Args:
        layers: The tokens behind each.
        over: Over the channels of a token ("layer"), or for each channel over the tokens of an image ("instance").
    """
    if over == "layer":
        each = [functional.layer_norm(layer.float(), layer.shape[-1:]) for layer in layers]
    else:
        each = [functional.instance_norm(layer.float().mT).mT for layer in layers]
    return torch.stack(each).mean(0)
