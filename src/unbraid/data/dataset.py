"""`Dataset.take(indices)`: a whole batch at once, an index tensor of any shape in front of every field."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.factors import Factor, FactorTable

Device = torch.device | str


class Dataset(ABC):
    """Items addressed by index.

    Attributes:
        name: The name or path it was opened by.
        fields: What `take` returns, apart from the index shape.
        factors: What is known about each item; empty when nothing is.
        slow: Whether `take` reads a disk, so that a loader should run ahead of it.
        notes: What a reader of results should know of these data, a sentence each.
        roles: Batch field -> the factor that fills it, where these data have a natural one (see `wrapped.in_roles`).
        rate: Samples a second of the field `wave`, where there is one.
    """

    name: str
    fields: Fields
    factors: tuple[Factor, ...] = ()
    slow: bool = False
    notes: tuple[str, ...] = ()
    roles: Mapping[str, str] = {}
    rate: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        """One batch.

        Args:
            indices: Positions in 0..len-1, of any shape; every field comes back with that shape in front.
            device: Where the batch shall lie.
        """

    @abstractmethod
    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        """The factor rows of these items (see `FactorTable`)."""

    @property
    @abstractmethod
    def hash(self) -> str:
        """16 hex digits: of the content, or of name, version and options where the content is computed."""

    @property
    def audited(self) -> Dataset:
        """The items that are encoded and audited, where they are not those that training draws."""
        return self

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        """A name for each item: its file, its id column, or its number."""
        return [str(int(i)) for i in indices]

    def observed(self, factor: str) -> bool:
        """Whether a factor is known of every item."""
        return True


class MemoryDataset(Dataset):
    """A data set held as one tensor per field, on whatever device training moves it to.

    Args:
        name: What it is called in reports.
        x: Observations, float32 or uint8 (uint8 is divided by 255 on the way out).
        table: The factors of every row, or None.
        ids: A name per row, or None.
        unit: Whether the values of `x` lie in [0, 1]; uint8 always does.

    >>> data = MemoryDataset("two", torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8))
    >>> data.take(torch.tensor([[1, 0]]))["x"].shape, data.fields["x"].unit
    (torch.Size([1, 2, 2]), True)
    """

    def __init__(
        self,
        name: str,
        x: Tensor,
        table: FactorTable | None = None,
        ids: Sequence[str] | None = None,
        *,
        unit: bool = False,
    ) -> None:
        self.name = name
        self._x = x
        self._table = table if table is not None else FactorTable.empty(len(x))
        self._ids = list(ids) if ids is not None else None
        if len(self._table) != len(x):
            raise DataError(f"one factor row for each of {len(x)} items", got=f"{len(self._table)} rows", where=name)
        self.factors = self._table.factors
        self.fields = describe(x.shape[1:], self.factors, unit=unit or x.dtype == torch.uint8)
        self._codes, self._known = self._table.codes()
        self._hash: str | None = None

    def __len__(self) -> int:
        return len(self._x)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        device = torch.device(device)
        if self._x.device != device:
            self._x, self._codes, self._known = (t.to(device) for t in (self._x, self._codes, self._known))
        where = indices.to(device)
        x = rows_of(self._x, where)
        batch = {"x": x.float().div_(255) if x.dtype == torch.uint8 else x, "index": where}
        if self.factors:
            batch |= {"factors": rows_of(self._codes, where), "known": rows_of(self._known, where)}
        return batch

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    def observed(self, factor: str) -> bool:
        return not np.isnan(self._table.column(factor)).any()

    @property
    def own_ids(self) -> list[str] | None:
        """The rows' names where they have any of their own."""
        return self._ids

    def with_factors(self, more: FactorTable) -> MemoryDataset:
        """The same items with more factors, which replace those of the same name."""
        return MemoryDataset(self.name, self._x, self._table.joined(more), self._ids, unit=self.fields["x"].unit)

    @property
    def hash(self) -> str:
        if self._hash is None:
            content = {"x": self._x, "factors": self._codes, "known": self._known}
            self._hash = content_hash({**{k: t.cpu() for k, t in content.items()}, "described": self.factors})
        return self._hash

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return [self._ids[int(i)] for i in indices] if self._ids is not None else super().ids(indices)


def rows_of(x: Tensor, where: Int[Tensor, "*index"]) -> Tensor:
    """`x[where]` for whole numbers, several times as fast on a CPU, where rows are copied one by one as they lie.

    >>> rows_of(torch.arange(6).reshape(3, 2), torch.tensor([[2], [0]])).tolist()
    [[[4, 5]], [[0, 1]]]
    """
    return x.index_select(0, where.flatten()).reshape(*where.shape, *x.shape[1:])


def describe(shape: Sequence[int], factors: Sequence[Factor], *, unit: bool) -> Fields:
    """The `Fields` of a data set with observations of this shape and these factors."""
    fields: dict[str, Field] = {"x": Field(tuple(shape), unit=unit), "index": Field((), "int64")}
    if factors:
        names = tuple(f.name for f in factors)
        fields |= {"factors": Field((len(factors),), names=names), "known": Field((len(factors),), "bool", names=names)}
    return Fields(**fields)


def content_hash(content: Mapping[str, Any]) -> str:
    """16 hex digits of the names, shapes, dtypes and bytes of some tensors, and of plain values."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in content.items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(f"{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.contiguous().numpy().data)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()
