"""Where in a network an activation is: which module's output, which position, which columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError


@dataclass(frozen=True)
class Site:
    """Where an activation is.

    Attributes:
        module: The dotted name of a module, whose output it is (the first, where there are several).
        position: Which token of a sequence, from the end where negative; None for all. Of vectors there is one, of a
            map all places are meant.
        columns: From which to before which number of it; None for all.

    >>> import torch
    >>> site = Site("post", position=-1, columns=(2, 4))
    >>> site.get(torch.arange(12.0).view(1, 2, 6)).tolist()
    [[[8.0, 9.0]]]
    >>> site.put(torch.zeros(1, 2, 6), torch.ones(1, 1, 2)).tolist()
    [[[0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]]
    """

    module: str
    position: int | None = None
    columns: tuple[int, int] | None = None

    def get(self, output: Any) -> Float[Tensor, "batch places dim"]:
        """The activation in the output of its module."""
        found = _as_places(_first(output), self.module)
        return found[:, self._where(found), self._which(found)]

    def put(self, output: Any, new: Float[Tensor, "batch places dim"]) -> Any:
        """The module's output with another activation in its place."""
        old = _first(output)
        changed = _as_places(old, self.module).clone()
        changed[:, self._where(changed), self._which(changed)] = new.to(changed)
        changed = changed.mT.reshape(old.shape) if old.ndim == 4 else changed.view(old.shape)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def _where(self, x: Float[Tensor, "batch places dim"]) -> slice:
        """The places: all of them, or a slice of one."""
        if self.position is None or x.shape[1] == 1:
            return slice(None)
        if not -x.shape[1] <= self.position < x.shape[1]:
            raise ConfigError(f"a position of {x.shape[1]}", got=str(self.position), where="position")
        start = self.position % x.shape[1]
        return slice(start, start + 1)

    def _which(self, x: Float[Tensor, "batch places dim"]) -> slice:
        if self.columns is None:
            return slice(None)
        first, last = self.columns
        if not 0 <= first < last <= x.shape[2]:
            raise ConfigError(f"columns from 0 to {x.shape[2]}", got=f"{first} to {last}", where="columns")
        return slice(first, last)


def _first(output: Any) -> Tensor:
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first


def _as_places(x: Any, where: str) -> Float[Tensor, "batch places dim"]:
    """A vector, a sequence or a map as places with vectors."""
    if not isinstance(x, Tensor) or x.ndim not in (2, 3, 4):
        got = f"{tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ConfigError("a module that gives (B, D), (B, T, D) or (B, C, H, W)", got=got, where=where)
    if x.ndim == 4:
        return x.flatten(2).mT
    return x[:, None] if x.ndim == 2 else x
