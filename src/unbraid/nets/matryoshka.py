"""Heads that tell clusters from fewer and more numbers of an embedding, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.errors import ConfigError

Nested = Literal["prefix", "projection"]
"""What a level sees: the first numbers of an embedding, or as many that a linear layer makes of all of them."""


class Scaled(nn.Module):
    """A linear layer without biases whose rows have lengths that are learned apart, 1 at the start.

    Args:
        before: Width of the input.
        count: Rows.
    """

    def __init__(self, before: int, count: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, before), std=0.02))
        self.length = nn.Parameter(torch.ones(count, 1))

    def forward(self, x: Float[Tensor, "*batch before"], *, frozen: bool = False) -> Float[Tensor, "*batch count"]:
        """The scores; nothing moves directions and lengths where they are frozen."""
        weight = self.length * functional.normalize(self.direction, dim=1)
        return functional.linear(x, weight.detach() if frozen else weight)


class MatryoshkaHead(nn.Module):
    """One perceptron and some prototypes for each of several widths (Venkataramanan et al., 2025).

    A level that sees a share of the numbers has that share of the prototypes. Unlike in DINO's head what prototypes
    are compared with is not brought to length 1, and goes through a GELU.

    Args:
        before: Width of the embedding.
        prototypes: Of a level that sees all of it.
        shares: Of the numbers, for each level.
        hidden: Width of the hidden layers.
        bottleneck: Width of what is compared with prototypes.
        layers: Of a perceptron.
        nested: What a level sees.
        std: Of the weights at the start; 0.02 suits layers of some thousand numbers, narrow ones need more.

    Attributes:
        widths: Numbers that each level sees.
        counts: Prototypes of each level.

    Raises:
        ConfigError: A level would see nothing or have less than two prototypes.

    >>> head = MatryoshkaHead(8, 16, (0.25, 0.5, 1.0), hidden=6, bottleneck=4)
    >>> [scores.shape[-1] for scores in head(torch.zeros(2, 8))]
    [4, 8, 16]
    """

    def __init__(
        self,
        before: int,
        prototypes: int,
        shares: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0),
        hidden: int = 2048,
        bottleneck: int = 384,
        layers: int = 3,
        nested: Nested = "projection",
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.widths = [int(before * share) for share in shares]
        self.counts = [prototypes * width // before for width in self.widths]
        if min(self.widths, default=0) < 1 or min(self.counts, default=0) < 2:
            got = f"{self.widths} numbers and {self.counts} prototypes"
            raise ConfigError("levels of a number and two prototypes or more", got=got, where="shares")
        project = nested == "projection"
        self.projections = nn.ModuleList(nn.Linear(before, width) for width in self.widths if project)
        self.mlps = nn.ModuleList(_perceptron((w, *[hidden] * (layers - 1), bottleneck)) for w in self.widths)
        self.prototypes = nn.ModuleList(Scaled(bottleneck, count) for count in self.counts)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "*batch before"], *, frozen: bool = False) -> list[Float[Tensor, "*batch k"]]:
        """The scores of every level, coarse to fine; prototypes do not move where they are frozen."""
        seen = [p(x) for p in self.projections] or [x[..., :width] for width in self.widths]
        levels = zip(self.mlps, self.prototypes, seen, strict=True)
        return [prototypes(mlp(z), frozen=frozen) for mlp, prototypes, z in levels]


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*[layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.GELU())])
