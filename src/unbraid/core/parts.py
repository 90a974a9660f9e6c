"""A representation as named parts, and what each part is declared to know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError, ContractError, nearest

Kind = Literal["vec", "sca", "fam", "ids", "seq", "map", "sig", "vol"]
"""vector, scalar, family of columns that are parts one by one, discrete, (T, D), (D, H, W), (C, T), volume."""

_RANK: Mapping[Kind, tuple[int, ...]] = {
    "vec": (1,),
    "sca": (0,),
    "fam": (1,),
    "ids": (0, 1, 2),
    "seq": (2,),
    "map": (3,),
    "sig": (2,),
    "vol": (3, 4),
}
_COLUMN = re.compile(r"^(\w+)\[(\d+)\]$")


@dataclass(frozen=True)
class PartSpec:
    """Declares one part: its shape and the roles that it should and should not know.

    Attributes:
        name: An identifier, as used in `Parts`.
        kind: What the axes mean, see `Kind`.
        shape: Shape of one item.
        carries: Roles the part should know; a run maps roles to factor columns.
        free_of: Roles the part should not know.
        one: Each column should know one factor, whichever.
        classes: Values a discrete part or column can take; None when continuous.
        rides: Other parts that must travel with this one when it is swapped.
        of: The part this read-only one is derived from; derived parts are audited, never decoded.

    >>> PartSpec("latents", "fam", (10,), one=True).columns
    ('latents[0]', 'latents[1]', 'latents[2]', 'latents[3]', 'latents[4]', 'latents[5]', 'latents[6]', \
'latents[7]', 'latents[8]', 'latents[9]')
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    carries: tuple[str, ...] = ()
    free_of: tuple[str, ...] = ()
    one: bool = False
    classes: int | None = None
    rides: tuple[str, ...] = ()
    of: str | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ContractError("a part name that is an identifier", got=f"'{self.name}'")
        if len(self.shape) not in _RANK[self.kind]:
            raise ContractError(f"a shape of rank {_RANK[self.kind]}", got=f"{self.shape}", where=f"part '{self.name}'")
        if clash := set(self.carries) & set(self.free_of):
            raise ContractError("roles either carried or absent", got=f"both: {sorted(clash)}", where=self.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a family; empty for the other kinds."""
        return tuple(f"{self.name}[{i}]" for i in range(self.shape[0])) if self.kind == "fam" else ()


class Parts(Mapping[str, Tensor]):
    """Immutable, ordered mapping of part name to tensor, the batch first.

    >>> parts = Parts(content=torch.zeros(2, 3), latents=torch.arange(8.0).reshape(2, 4))
    >>> parts["latents[1]"], list(parts), parts.rows(slice(1)).size
    (tensor([1., 5.]), ['content', 'latents'], 1)
    """

    def __init__(self, items: Mapping[str, Tensor] | None = None, /, **parts: Tensor) -> None:
        self._parts: dict[str, Tensor] = {**(items or {}), **parts}
        sizes = {name: len(t) if t.ndim else -1 for name, t in self._parts.items()}
        if len(set(sizes.values())) > 1 or -1 in sizes.values():
            raise ContractError("parts with the same batch size in front", got=f"{sizes}")

    def __getitem__(self, name: str) -> Tensor:
        if name in self._parts:
            return self._parts[name]
        column = _COLUMN.match(name)
        if column and column[1] in self._parts and int(column[2]) < self._parts[column[1]].shape[1]:
            return self._parts[column[1]][:, int(column[2])]
        raise ConfigError("the name of a part", got=f"'{name}'", fix=nearest(name, self._parts))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Parts({', '.join(f'{k}={tuple(v.shape)}' for k, v in self._parts.items())})"

    @property
    def size(self) -> int:
        """Number of items in the batch."""
        return len(next(iter(self._parts.values()))) if self._parts else 0

    def _map(self, change: Callable[[Tensor], Tensor]) -> Parts:
        return Parts({name: change(t) for name, t in self._parts.items()})

    def rows(self, index: slice | Tensor) -> Parts:
        """Some items of the batch."""
        return self._map(lambda t: t[index])

    def to(self, device: torch.device | str) -> Parts:
        """The same parts on another device."""
        return self._map(lambda t: t.to(device))

    def detach(self) -> Parts:
        """The same parts without their graph."""
        return self._map(Tensor.detach)

    def select(self, *names: str) -> Parts:
        """Only the named parts, in the given order."""
        return Parts({name: self[name] for name in names})

    def replace(self, items: Mapping[str, Tensor] | None = None, /, **new: Tensor) -> Parts:
        """These parts with some replaced, each by a tensor of the same shape; a key may be a column "latents[3]"."""
        parts = dict(self._parts)
        for name, value in {**(items or {}), **new}.items():
            if value.shape != self[name].shape:
                raise ConfigError(f"shape {tuple(self[name].shape)}", got=f"{tuple(value.shape)}", where=name)
            column = _COLUMN.match(name)
            if column and name not in parts:
                owner = parts[column[1]].clone()
                owner[:, int(column[2])] = value
                parts[column[1]] = owner
            else:
                parts[name] = value
        return Parts(parts)

    def swap(self, other: Parts, *names: str) -> tuple[Parts, Parts]:
        """Both with the named parts (or columns) exchanged; twice is the identity."""
        mine, theirs = {n: self[n] for n in names}, {n: other[n] for n in names}
        return self.replace(theirs), other.replace(mine)

    def matrix(self, name: str) -> Float[Tensor, "batch width"]:
        """The part (or column) as one row of numbers per item."""
        part = self[name]
        return part.reshape(len(part), -1) if part.ndim != 1 else part[:, None]

    @staticmethod
    def cat(several: Sequence[Parts]) -> Parts:
        """One `Parts` of all batches, one after the other."""
        return Parts({name: torch.cat([p[name] for p in several]) for name in several[0]})


def check_parts(specs: Iterable[PartSpec], parts: Parts) -> None:
    """Refuse parts that are not those declared.

    Raises:
        ContractError: Naming the part, its declared and its actual shape.
    """
    declared = {s.name: s for s in specs}
    if list(declared) != list(parts):
        raise ContractError(f"the declared parts {list(declared)}", got=f"{list(parts)}")
    for name, spec in declared.items():
        if tuple(parts[name].shape[1:]) != spec.shape:
            raise ContractError(f"shape {spec.shape}", got=f"{tuple(parts[name].shape[1:])}", where=f"part '{name}'")
