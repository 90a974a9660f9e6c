"""Data sets seen another way: some of their items, or factors in the roles of batch fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset, Device, content_hash
from unbraid.data.factors import Factor, FactorTable

ROLES = ("label", "group", "domain", "instance")
"""Batch fields that a factor can fill, by its codes."""

ATTRIBUTES = "attributes"
"""The batch field that several factors fill, see `WithAttributes`."""

SPLIT = "split"
"""The factor whose values say what each row is for: "train", "validation", "test" or others."""


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
        roles: Field -> factor; its values must be listed. An item of which it is not known has -1.
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
        codes = batch["factors"].long().masked_fill(~batch["known"], -1)
        return {**batch, **{role: codes[..., k] for role, k in self._columns.items()}}

    @property
    def hash(self) -> str:
        return content_hash({"of": self.inner.hash, "roles": sorted(self._columns.items())})


class WithAttributes(Wrapped):
    """A data set whose factors also come as the field `attributes`: numbers that are 0 or 1.

    A factor of two values is one attribute, which is 1 for the second; of a factor of more values each is an attribute
    `factor=value`.

    Args:
        data: The data set.
        factors: Names of factors; their values must be listed and known for every item.

    >>> import torch
    >>> from unbraid.data.digits import digits
    >>> data = WithAttributes(digits(), ["digit"])
    >>> data.fields["attributes"].names[:2], data.take(torch.tensor([3]))["attributes"].argmax().item()
    (('digit=0', 'digit=1'), 3)
    """

    def __init__(self, data: Dataset, factors: Sequence[str]) -> None:
        super().__init__(data)
        known = [f.name for f in data.factors]
        chosen = [(known.index(name), data.factors[known.index(name)]) for name in factors]
        pairs = [(k, value) for k, f in chosen for value in ((1,) if f.size == 2 else range(f.size))]
        self._column, self._value = torch.tensor(pairs).T
        names = tuple(
            name for _, f in chosen for name in ((f.name,) if f.size == 2 else (f"{f.name}={v}" for v in f.labels))
        )
        self.fields = Fields(**{**data.fields, ATTRIBUTES: Field((len(names),), names=names)})
        self.roles = {**data.roles, ATTRIBUTES: ",".join(factors)}

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        batch = self.inner.take(indices, device)
        factors = batch["factors"]
        return {**batch, ATTRIBUTES: (factors[..., self._column] == self._value.to(factors.device)).float()}

    @property
    def hash(self) -> str:
        return content_hash({"of": self.inner.hash, ATTRIBUTES: self.fields[ATTRIBUTES].names})


def in_roles(
    data: Dataset,
    needs: Sequence[str],
    asked: Mapping[str, str],
    wants: Sequence[str] = (),
    partly: Sequence[str] = (),
) -> Dataset:
    """The data set with the fields that a method needs taken from factors.

    A role goes to the factor that was asked for, else to the one the data set names, else to the one of that name; the
    label also to the only factor without order. The role `attributes` goes to the factors that were asked for,
    separated by commas, else to those that the data set names, else to all of two values or without order.

    Args:
        data: The data set.
        needs: Fields that a method reads.
        asked: Role -> factor, as a user said.
        wants: Fields that it reads where some factor can take that role.
        partly: Fields that may be -1, for unknown, in some items.

    Raises:
        ConfigError: A role or factor that is not there.
        DataError: A needed role that no factor takes, or a factor that cannot take it.

    >>> from unbraid.data.digits import digits
    >>> in_roles(digits(), ["x", "label"], {}).fields["label"].classes
    10
    """
    for role in asked:
        if role not in (*ROLES, ATTRIBUTES):
            fix = nearest(role, (*ROLES, ATTRIBUTES))
            raise ConfigError("one of " + ", ".join((*ROLES, ATTRIBUTES)), got=f"'{role}'", fix=fix, where="--role")
    if ATTRIBUTES in asked or (ATTRIBUTES in needs and ATTRIBUTES not in data.fields):
        data = WithAttributes(data, _attributes(data, asked.get(ATTRIBUTES)))
    could = [r for r in wants if r in ROLES and _can_take(data, r, r in partly)]
    wanted = [r for r in ROLES if r in asked or (r in (*needs, *could) and r not in data.fields)]
    chosen = {role: _factor(data, role, asked.get(role), role in partly).name for role in wanted}
    return InRoles(data, chosen) if chosen else data


def _attributes(data: Dataset, asked: str | None) -> list[str]:
    """The factors that are attributes."""
    named = asked or data.roles.get(ATTRIBUTES)
    if named is not None:
        names = [named] if named in [f.name for f in data.factors] else named.split(",")
        return [_factor(data, ATTRIBUTES, name).name for name in dict.fromkeys(names)]
    fit = [f for f in data.factors if f.name != SPLIT and (f.size == 2 or (f.kind == "categorical" and f.size > 2))]
    names = [f.name for f in fit if data.observed(f.name)]
    if not names:
        got = f"the factors {', '.join(f.name for f in data.factors) or 'none'}"
        fix = f"say which with --role {ATTRIBUTES}=FACTOR,FACTOR" if data.factors else "give some with --factors FILE"
        raise DataError("factors of two values, or without order, that are known of every item", got=got, fix=fix)
    return names


def _can_take(data: Dataset, role: str, partly: bool) -> bool:
    """Whether a factor takes the role by itself."""
    factor = next((f for f in data.factors if f.name == _guess(data, role)), None)
    return factor is not None and factor.size > 0 and (partly or data.observed(factor.name))


def _guess(data: Dataset, role: str) -> str | None:
    """The name of the factor that takes a role where nobody says which."""
    known = [f.name for f in data.factors]
    unordered = [f.name for f in data.factors if f.kind == "categorical"]
    guesses = [data.roles.get(role), role, unordered[0] if role == "label" and len(unordered) == 1 else None]
    return next((g for g in guesses if g in known), None)


def _factor(data: Dataset, role: str, asked: str | None, partly: bool = False) -> Factor:
    known = {f.name: f for f in data.factors}
    name = asked or _guess(data, role)
    if name is None:
        fix = f"say which with --role {role}=FACTOR" if known else "give some with --factors FILE"
        raise DataError(f"a factor that is the {role}", got=f"the factors {', '.join(known) or 'none'}", fix=fix)
    if name not in known:
        raise ConfigError("the name of a factor", got=f"'{name}'", fix=nearest(name, known), where=f"--role {role}")
    if not known[name].size:
        raise DataError("a factor with listed values", got=f"'{name}', a number", where=f"--role {role}")
    if not partly and not data.observed(name):
        raise DataError(f"the {role} of every item", got=f"'{name}' missing for some", where=f"--role {role}")
    return known[name]
