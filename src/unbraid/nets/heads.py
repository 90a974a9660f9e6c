"""Heads of joint-embedding methods: what stands between an encoder and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.nets.norm import BatchNorm


def projector(
    before: int,
    widths: Sequence[int],
    *,
    bias: bool = False,
    affine: bool = True,
    last_bias: bool = False,
    last_norm: bool = False,
) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them; the last is plain.

    Args:
        before: Width of the input.
        widths: Width of each layer.
        bias: Whether the hidden layers have biases; the normalisation takes them out again.
        affine: Whether the normalisation has a scale and a shift.
        last_bias: Whether the last layer has a bias.
        last_norm: Whether its output is normalised, too, without scale and shift.

    >>> [type(layer).__name__ for layer in projector(8, (16, 4))]
    ['Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    *hidden, last = pairwise((before, *widths))
    for a, b in hidden:
        layers += [nn.Linear(a, b, bias=bias), BatchNorm(b, affine=affine), nn.ReLU()]
    layers.append(nn.Linear(*last, bias=last_bias))
    return nn.Sequential(*layers, *([BatchNorm(last[1], affine=False)] if last_norm else []))


def predictor(width: int, hidden: int) -> nn.Sequential:
    """The predictor of BYOL and SimSiam: a hidden layer with batch normalisation, back to the width it came from.

    >>> [type(layer).__name__ for layer in predictor(8, 16)]
    ['Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    return projector(width, (hidden, width), bias=True, last_bias=True)


class Prototypes(nn.Module):
    """Cosines of rows with directions that are learned.

    Args:
        width: Numbers in a row.
        count: Directions.
        unit: Whether the weights are divided by their length where they are used, or only by `unit_`, as in SwAV.

    >>> Prototypes(4, 3)(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, width: int, count: int, *, unit: bool = True) -> None:
        super().__init__()
        self.unit = unit
        self.weight = nn.Parameter(functional.normalize(torch.randn(count, width), dim=1))

    def forward(self, z: Float[Tensor, "*batch width"], *, frozen: bool = False) -> Float[Tensor, "*batch count"]:
        """The cosines; nothing moves the directions where they are frozen."""
        weight = self.weight.detach() if frozen else self.weight
        weight = functional.normalize(weight, dim=1) if self.unit else weight
        return functional.linear(functional.normalize(z, dim=-1), weight)

    @torch.no_grad()
    def unit_(self) -> None:
        """Bring the weights to length 1."""
        self.weight.copy_(functional.normalize(self.weight, dim=1))


class PrototypeHead(nn.Module):
    """The head of DINO and iBOT: a perceptron down to a bottleneck, and its cosines with prototypes.

    Args:
        before: Width of the input.
        prototypes: How many.
        hidden: Width of the hidden layers, or of each of them.
        bottleneck: Width of what is compared.
        layers: Of the perceptron; does not count where each width is given.
        unit: Whether prototypes have length 1.

    >>> PrototypeHead(8, 5, hidden=16, bottleneck=4)(torch.randn(2, 3, 8)).shape
    torch.Size([2, 3, 5])
    """

    def __init__(
        self,
        before: int,
        prototypes: int,
        hidden: int | Sequence[int] = 2048,
        bottleneck: int = 256,
        layers: int = 3,
        *,
        unit: bool = True,
    ) -> None:
        super().__init__()
        widths = (before, *([hidden] * (layers - 1) if isinstance(hidden, int) else hidden), bottleneck)
        steps = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.GELU())]
        self.mlp = nn.Sequential(*steps[:-1])
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = Prototypes(bottleneck, prototypes, unit=unit)

    def forward(self, x: Float[Tensor, "*batch before"], *, frozen: bool = False) -> Float[Tensor, "*batch count"]:
        """The logits; prototypes do not move where they are frozen."""
        scores: Tensor = self.prototypes(self.mlp(x), frozen=frozen)
        return scores


class Centre(nn.Module):
    """The running mean of a teacher's logits, taken out of them before they are sharpened.

    Args:
        width: Logits.
        keep: Share of the old mean that is kept at each step.

    >>> centre = Centre(2, keep=0.5)
    >>> centre.follow(torch.tensor([4.0, 0.0]))
    >>> centre.mean.tolist(), centre(torch.tensor([[2.0, 0.0]]), 1.0).tolist()
    ([2.0, 0.0], [[0.5, 0.5]])
    """

    mean: Tensor

    def __init__(self, width: int, keep: float = 0.9) -> None:
        super().__init__()
        self.keep = keep
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, logits: Float[Tensor, "*batch width"], temperature: float) -> Float[Tensor, "*batch width"]:
        """Probabilities of the centred logits."""
        return ((logits.detach().float() - self.mean) / temperature).softmax(-1)

    @torch.no_grad()
    def follow(self, mean: Float[Tensor, " width"]) -> None:
        """Move towards the mean of a batch of raw logits, over all processes."""
        self.mean.lerp_(mean.float(), 1 - self.keep)


class Queue(nn.Module):
    """The newest rows of the batches so far, at first random directions.

    Args:
        size: Rows.
        width: Numbers in a row.

    >>> queue = Queue(3, 1)
    >>> for rows in ([[1.0], [2.0]], [[3.0], [4.0]]):
    ...     queue.push(torch.tensor(rows))
    >>> queue.rows.flatten().tolist()
    [4.0, 2.0, 3.0]
    """

    rows: Tensor
    seen: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", functional.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Float[Tensor, "all width"]) -> None:
        """Put the rows of a batch, those of all processes, in the place of the oldest."""
        size = len(self.rows)
        rows = rows[-size:]
        place = (self.seen + torch.arange(len(rows), device=rows.device)) % size
        self.rows.index_copy_(0, place, rows.to(self.rows.dtype))
        self.seen += len(rows)
