"""Data sets seen another way: some of their items, or factors in the roles of batch fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset, Device, content_hash
from unbraid.data.factors import Factor, FactorTable

ROLES = ("label", "group", "domain", "instance")
"""Batch fields that a factor can fill, by its codes."""


class Wrapped(Dataset):
    """Another data set, unless a subclass says otherwise.

    Args:
        data: The data set.
    """

    def __init__(self, data: Dataset) -> None:
        self.inner = data
        self.name, self.fields, self.factors = data.name, data.fields, data.factors
        self.slow, self.notes, self.roles, self.rate = data.slow, data.notes, data.roles, data.rate

    def __len__(self) -> int:
        return len(self.inner)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        return self.inner.take(indices, device)

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self.inner.table(indices)

    @property
    def hash(self) -> str:
        return self.inner.hash

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return self.inner.ids(indices)


class Subset(Wrapped):
    """Some items of a data set, in a given order.

    The field `index` counts within the subset.

    Args:
        data: The data set.
        indices: Positions in it.

    >>> import torch
    >>> from unbraid.data.made.discs import Discs
    >>> few = Subset(Discs(), torch.tensor([5, 3]))
    >>> len(few), few.take(torch.tensor([1]))["x"].shape
    (2, torch.Size([1, 1, 16, 16]))
    """

    def __init__(self, data: Dataset, indices: Int[Tensor, " n"]) -> None:
        super().__init__(data)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        batch = self.inner.take(self.indices[indices.cpu()], device)
        return {**batch, "index": indices.to(batch["index"].device)}

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self.inner.table(self.indices[indices.cpu()])

    @property
    def hash(self) -> str:
        return content_hash({"of": self.inner.hash, "indices": self.indices})

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        return self.inner.ids(self.indices[indices.cpu()])


class InRoles(Wrapped):
    """A data set whose factors also come as the fields `label`, `group`, `domain` or `instance`.

    Args:
        data: The data set.
        roles: Field -> factor; its values must be listed and known for every item.
    """

    def __init__(self, data: Dataset, roles: Mapping[str, str]) -> None:
        super().__init__(data)
        names = [f.name for f in data.factors]
        self._columns = {role: names.index(name) for role, name in roles.items()}
        new = {role: Field((), "int64", classes=data.factors[k].size) for role, k in self._columns.items()}
        self.fields = Fields(**{**data.fields, **new})
        self.roles = {**data.roles, **roles}

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        batch = self.inner.take(indices, device)
        return {**batch, **{role: batch["factors"][..., k].long() for role, k in self._columns.items()}}

    @property
    def hash(self) -> str:
        return content_hash({"of": self.inner.hash, "roles": sorted(self._columns.items())})


def in_roles(data: Dataset, needs: Sequence[str], asked: Mapping[str, str], wants: Sequence[str] = ()) -> Dataset:
    """The data set with the fields that a method needs taken from factors.

    A role goes to the factor that was asked for, else to the one the data set names, else to the one of that name; the
    label also to the only factor without order.

    Args:
        data: The data set.
        needs: Fields that a method reads.
        asked: Role -> factor, as a user said.
        wants: Fields that it reads where some factor can take that role.

    Raises:
        ConfigError: A role or factor that is not there.
        DataError: A needed role that no factor takes, or a factor that cannot take it.

    >>> from unbraid.data.digits import digits
    >>> in_roles(digits(), ["x", "label"], {}).fields["label"].classes
    10
    """
    for role in asked:
        if role not in ROLES:
            raise ConfigError("one of " + ", ".join(ROLES), got=f"'{role}'", fix=nearest(role, ROLES), where="--role")
    could = [r for r in wants if r in ROLES and _can_take(data, r)]
    wanted = [r for r in ROLES if r in asked or (r in (*needs, *could) and r not in data.fields)]
    chosen = {role: _factor(data, role, asked.get(role)).name for role in wanted}
    return InRoles(data, chosen) if chosen else data


def _can_take(data: Dataset, role: str) -> bool:
    """Whether a factor takes the role by itself."""
    factor = next((f for f in data.factors if f.name == _guess(data, role)), None)
    return factor is not None and factor.size > 0 and data.observed(factor.name)


def _guess(data: Dataset, role: str) -> str | None:
    """The name of the factor that takes a role where nobody says which."""
    known = [f.name for f in data.factors]
    unordered = [f.name for f in data.factors if f.kind == "categorical"]
    guesses = [data.roles.get(role), role, unordered[0] if role == "label" and len(unordered) == 1 else None]
    return next((g for g in guesses if g in known), None)


def _factor(data: Dataset, role: str, asked: str | None) -> Factor:
    known = {f.name: f for f in data.factors}
    name = asked or _guess(data, role)
    if name is None:
        fix = f"say which with --role {role}=FACTOR" if known else "give some with --factors FILE"
        raise DataError(f"a factor that is the {role}", got=f"the factors {', '.join(known) or 'none'}", fix=fix)
    if name not in known:
        raise ConfigError("the name of a factor", got=f"'{name}'", fix=nearest(name, known), where=f"--role {role}")
    if not known[name].size:
        raise DataError("a factor with listed values", got=f"'{name}', a number", where=f"--role {role}")
    if not data.observed(name):
        raise DataError(f"the {role} of every item", got=f"'{name}' missing for some", where=f"--role {role}")
    return known[name]
