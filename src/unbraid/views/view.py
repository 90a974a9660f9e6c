"""What a view is: numbers drawn for every item of a batch, and a function of the batch and these numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

Draw = Mapping[str, Tensor]
"""What was drawn: name -> numbers with the batch in front. Applied again, it gives the same view."""

_CHUNK = 2**20  # numbers that pass through all views before the next: what a processor keeps at hand


class Chance(Protocol):
    """Where random numbers come from: `unbraid.core.method.At`, whose draws do not depend on the processes."""

    def rand(self, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1)."""

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Normal numbers."""

    def randint(self, high: int, shape: Sequence[int]) -> Tensor:
        """Whole numbers 0..high-1."""


class View(ABC):
    """A random function of the items of a batch; each item has its own draw."""

    @abstractmethod
    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        """What a batch of this shape needs."""

    @abstractmethod
    def apply(self, x: Float[Tensor, "batch *item"], draw: Draw) -> Float[Tensor, "batch *out"]:
        """The view that was drawn; may write into `x`."""

    def after(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the view of a batch of this shape."""
        return tuple(shape)

    def __call__(self, x: Float[Tensor, "batch *item"], at: Chance) -> Float[Tensor, "batch *out"]:
        """A view of every item."""
        return self.again(x, self.draw(x.shape, at))

    def again(self, x: Float[Tensor, "batch *item"], draw: Draw) -> Float[Tensor, "batch *out"]:
        """The view of a draw, also of other items of the same shape; leaves `x` as it is."""
        return self.apply(x.clone(memory_format=torch.contiguous_format), draw)


@dataclass(frozen=True)
class Sometimes(View):
    """A view of some items, the others as they are.

    Attributes:
        view: The view; must keep the shape.
        p: Probability of each item.
    """

    view: View
    p: float

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"on": at.rand(shape[:1]) < self.p, **self.view.draw(shape, at)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        inner = {name: value for name, value in draw.items() if name != "on"}
        if self.p >= 1:
            return self.view.apply(x, inner)
        rows = draw["on"].nonzero()[:, 0]
        if not len(rows):
            return x
        return x.index_copy_(0, rows, self.view.apply(x[rows], {name: v[rows] for name, v in inner.items()}))


@dataclass(frozen=True)
class Composed(View):
    """Views one after the other.

    Attributes:
        views: In order.
    """

    views: tuple[View, ...]

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        drawn: dict[str, Tensor] = {}
        for i, view in enumerate(self.views):
            drawn |= {f"{i}.{name}": value for name, value in view.draw(shape, at).items()}
            shape = view.after(shape)
        return drawn

    def after(self, shape: Sequence[int]) -> tuple[int, ...]:
        for view in self.views:
            shape = view.after(shape)
        return tuple(shape)

    def again(self, x: Tensor, draw: Draw) -> Tensor:
        many = len(x) if x.device.type != "cpu" else max(1, _CHUNK // max(1, x[:1].numel()))
        if len(x) <= many:
            return self.apply(x.clone(memory_format=torch.contiguous_format), draw)
        out = x.new_empty(self.after(x.shape))
        for first in range(0, len(x), many):
            rows = slice(first, first + many)
            out[rows] = self.apply(
                x[rows].clone(memory_format=torch.contiguous_format),
                {name: value[rows] for name, value in draw.items()},
            )
        return out

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        for i, view in enumerate(self.views):
            own = f"{i}."
            x = view.apply(x, {name.removeprefix(own): v for name, v in draw.items() if name.startswith(own)})
        return x


def compose(*views: View) -> Composed:
    """These views one after the other."""
    return Composed(views)


def two_views(
    first: View, second: View | None = None
) -> Callable[[Float[Tensor, "batch *item"], Chance], Float[Tensor, "batch 2 *item"]]:
    """A function from a batch to two views of each item, side by side.

    Args:
        first: Makes the first view.
        second: Makes the second; None for the same as the first.
    """

    def both(x: Tensor, at: Chance) -> Tensor:
        return torch.stack([first(x, at), (second or first)(x, at)], 1)

    return both


@dataclass(frozen=True)
class MultiCrop:
    """A function from a batch to large and small views of each item: `x` (B, G, ...) and `crops` (B, L, ...).

    Attributes:
        large: Makes each of the large views in turn.
        small: Makes the small ones.
        count: Small views; without any there are no `crops`.
    """

    large: tuple[View, ...]
    small: View
    count: int

    def __call__(self, x: Float[Tensor, "batch *item"], at: Chance) -> dict[str, Tensor]:
        """The views of a batch."""
        seen = {"x": torch.stack([view(x, at) for view in self.large], 1)}
        return seen | ({"crops": torch.stack([self.small(x, at) for _ in range(self.count)], 1)} if self.count else {})
