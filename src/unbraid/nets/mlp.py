"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def mlp(
    widths: Sequence[int],
    act: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] | None = None,
    last: bool = False,
) -> nn.Sequential:
    """Linear layers with an activation between them: (..., widths[0]) -> (..., widths[-1]).

    Args:
        widths: Width of the input, of each hidden layer and of the output.
        act: Makes the activation.
        norm: Makes a normalisation of a given width, placed before the activation.
        last: Whether the output is normalised and activated too.

    >>> mlp((4, 8, 2))
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=2, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths), start=2):
        layers.append(nn.Linear(before, after))
        if i < len(widths) or last:
            layers += [norm(after)] if norm else []
            layers.append(act())
    return nn.Sequential(*layers)
