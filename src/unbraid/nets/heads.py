"""Heads of joint-embedding methods: what stands between an encoder and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from unbraid.nets.norm import BatchNorm


def projector(
    before: int, widths: Sequence[int], *, bias: bool = False, affine: bool = True, last_bias: bool = False
) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them; the last is plain.

    Args:
        before: Width of the input.
        widths: Width of each layer.
        bias: Whether the hidden layers have biases; the normalisation takes them out again.
        affine: Whether the normalisation has a scale and a shift.
        last_bias: Whether the last layer has a bias.

    >>> [type(layer).__name__ for layer in projector(8, (16, 4))]
    ['Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    *hidden, last = pairwise((before, *widths))
    for a, b in hidden:
        layers += [nn.Linear(a, b, bias=bias), BatchNorm(b, affine=affine), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*last, bias=last_bias))


def predictor(width: int, hidden: int) -> nn.Sequential:
    """The predictor of BYOL and SimSiam: a hidden layer with batch normalisation, back to the width it came from.

    >>> [type(layer).__name__ for layer in predictor(8, 16)]
    ['Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    return projector(width, (hidden, width), bias=True, last_bias=True)
