"""Attributes by name: which belong together, and rows with some of them set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError, nearest
from unbraid.core.fields import Fields


@dataclass(frozen=True)
class Attributes:
    """The entries of the field `attributes`.

    Attributes:
        names: Of each entry; `factor=value` for the values of a factor that excludes all but one.
        factors: The factors behind them, in order.
        groups: For each factor, its entries: one that is 0 or 1, or several of which one is 1.

    >>> attributes = Attributes(("smile", "hair=dark", "hair=red"), ("smile", "hair"), ((0,), (1, 2)))
    >>> attributes.set(torch.tensor([[1.0, 1.0, 0.0]]), ["hair=red", "smile=0"]).tolist()
    [[0.0, 0.0, 1.0]]
    """

    names: tuple[str, ...]
    factors: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, fields: Fields) -> Attributes:
        """Those of some data."""
        field = fields["attributes"]
        names = field.names or tuple(f"attribute {i}" for i in range(field.shape[0]))
        known = fields["factors"].names if "factors" in fields else ()
        groups: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            groups.setdefault(_owner(name, known), []).append(i)
        return cls(names, tuple(groups), tuple(tuple(group) for group in groups.values()))

    def labels(self, y: Float[Tensor, "*batch a"]) -> Int[Tensor, "*batch factors"]:
        """The class of each item in each factor: 0 or 1, or which of several values."""
        columns = [y[..., g[0]].round().long() if len(g) == 1 else y[..., list(g)].argmax(-1) for g in self.groups]
        return torch.stack(columns, -1)

    @property
    def classes(self) -> tuple[int, ...]:
        """How many classes each factor has."""
        return tuple(max(2, len(group)) for group in self.groups)

    def set(self, y: Float[Tensor, "batch a"], texts: Sequence[str]) -> Float[Tensor, "batch a"]:
        """The rows with some attributes set.

        Args:
            y: Attributes.
            texts: `name`, `name=0`, `name=1`, or `factor=value`.

        Raises:
            ConfigError: A name that there is not.
        """
        y = y.clone()
        for text in texts:
            i, value = self._read(text)
            group = self._group(i)
            if len(group) > 1:
                y[:, list(group)] = 0
            y[:, i] = value
        return y

    def moved(self, y: Float[Tensor, "batch a"], name: str, amount: float) -> Float[Tensor, "batch a"]:
        """The rows with one attribute moved, no further than 0 or 1; the others of its factor share what is left."""
        if name not in self.names:
            raise ConfigError("the name of an attribute", got=f"'{name}'", fix=nearest(name, self.names))
        i = self.names.index(name)
        new = (y[:, i] + amount).clamp(0, 1)
        rest = [j for j in self._group(i) if j != i]
        y = y.clone()
        if rest:
            others = y[:, rest]
            left = 1 - new[:, None]
            total = others.sum(1, keepdim=True)
            y[:, rest] = left * torch.where(total > 0, others / total.clamp(min=1e-12), 1 / len(rest))
        y[:, i] = new
        return y

    def chosen(
        self, seen: Float[Tensor, "n a"], texts: Sequence[str], items: int, generator: torch.Generator
    ) -> Float[Tensor, "items a"]:
        """Rows that occur, with what was asked for; where it does not occur together, rows with it set."""
        if not len(seen):
            seen = torch.zeros(1, len(self.names), device=seen.device)
        fit = self._fits(seen, texts)
        pool = seen[fit] if fit.any() else seen
        rows = torch.randint(len(pool), (items,), generator=generator, device=generator.device)
        return self.set(pool[rows], texts)

    def told(self, row: Float[Tensor, " a"]) -> str:
        """The attributes of a row that are there, in few words.

        >>> Attributes(("smile", "hair=dark"), ("smile", "hair"), ((0,), (1,))).told(torch.tensor([1.0, 0.0]))
        'smile'
        """
        there = [name for name, value in zip(self.names, row.tolist(), strict=True) if value > 0.5]
        return ", ".join(there[:3]) + (f" and {len(there) - 3} more" if len(there) > 3 else "")

    def _fits(self, seen: Float[Tensor, "n a"], texts: Sequence[str]) -> Bool[Tensor, " n"]:
        asked = [self._read(text) for text in texts]
        fit = torch.ones(len(seen), dtype=torch.bool, device=seen.device)
        for i, value in asked:
            fit &= seen[:, i] == value
        return fit

    def _read(self, text: str) -> tuple[int, float]:
        if text in self.names:
            return self.names.index(text), 1.0
        name, _, value = text.rpartition("=")
        if name not in self.names or value not in ("0", "1") or len(self._group(self.names.index(name))) > 1:
            raise ConfigError("an attribute, or attribute=0 or 1", got=f"'{text}'", fix=nearest(text, self.names))
        return self.names.index(name), float(value)

    def _group(self, i: int) -> tuple[int, ...]:
        return next(group for group in self.groups if i in group)


def _owner(name: str, factors: Sequence[str]) -> str:
    """The factor that an attribute belongs to: its own, or the longest that it begins with."""
    if name in factors:
        return name
    return max((f for f in factors if name.startswith(f"{f}=")), key=len, default=name)
