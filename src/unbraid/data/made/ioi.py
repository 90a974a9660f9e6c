"""`ioi`: sentences whose last word follows from who was named twice."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset, Device, content_hash
from unbraid.data.factors import Factor, FactorTable

_VERBS, _PLACES, _OBJECTS = 4, 4, 4
_POSITIONS = ("abb", "bab")
_VERSION = 1
LENGTH = 10
END, REPEATED = 9, 6
"""Positions of the last token and of the name that comes again."""


class Sentences(Dataset):
    """Every sentence `BOS A and B VERB PLACE NAME gave OBJECT to`, where NAME is A or B; what follows is the other one.

    The grammar of indirect object identification (Wang et al., 2023): the name that comes again is the subject `s`,
    the other one the indirect object `io`, and `pos` says whether the sentence begins with the indirect object ("abb")
    or the subject ("bab"). All three vary independently, but for `io` being another than `s`. Beside `token`, an item
    has `label`, the token to be said next, and `negative`, the wrong one it competes with.

    With `which`, the last token is for every other sentence not `to` but `which`, and what follows is `first` or
    `second`, the place of the indirect object; without, a network can do without `pos`.

    Args:
        names: Different names, from 3 on.
        which: Whether every sentence is there with either question; adds the factor `question`.
        places: Whether the names by their place in the sentence, `first` and `second`, are factors too.

    >>> data = Sentences(names=5)
    >>> len(data), data.words(data.take(torch.tensor([0]))["token"])
    (2560, ['bos name0 and name1 verb0 place0 name1 gave object0 to'])
    """

    def __init__(self, names: int = 20, which: bool = False, places: bool = False) -> None:
        if not 3 <= names <= 1000:
            raise DataError("3 to 1000 names", got=str(names), where="--data ioi: names")
        self.names, self.which = names, which
        self.name = f"ioi:names={names},which={str(which).lower()},places={str(places).lower()}"
        self._options = {"names": names, "which": which, "places": places}
        self.vocabulary = _vocabulary(names)
        self._code = {word: i for i, word in enumerate(self.vocabulary)}
        self._sizes = (names, names - 1, 2, _VERBS, _PLACES, _OBJECTS, *((2,) if which else ()))
        self.factors = self._factors(places)
        tokens = len(self.vocabulary)
        self.fields = Fields(
            token=Field((LENGTH,), "int64", classes=tokens),
            index=Field((), "int64"),
            label=Field((), "int64", classes=tokens),
            negative=Field((), "int64", classes=tokens),
            factors=Field((len(self.factors),)),
            known=Field((len(self.factors),), "bool"),
        )

    def _factors(self, places: bool) -> tuple[Factor, ...]:
        people = tuple(self.vocabulary[: self.names])
        return (
            Factor("io", "categorical", people),
            Factor("s", "categorical", people),
            Factor("pos", "categorical", _POSITIONS),
            Factor("verb", "categorical", _numbered("verb", _VERBS)),
            Factor("place", "categorical", _numbered("place", _PLACES)),
            Factor("object", "categorical", _numbered("object", _OBJECTS)),
            *((Factor("question", "categorical", ("to", "which")),) if self.which else ()),
            *((Factor("first", "categorical", people), Factor("second", "categorical", people)) if places else ()),
        )

    def __len__(self) -> int:
        return math.prod(self._sizes)

    def factors_of(self, indices: Int[Tensor, "*index"]) -> Int[Tensor, "*index k"]:
        """The values of the factors of each sentence, as codes 0..size-1."""
        digits, rest = [], indices
        for size in reversed(self._sizes):
            digits.append(rest % size)
            rest = rest.div(size, rounding_mode="floor")
        io, other, pos, *more = reversed(digits)
        s = other + (other >= io).long()
        columns = [io, s, pos, *more]
        if self._options["places"]:
            columns += [torch.where(pos == 0, io, s), torch.where(pos == 0, s, io)]
        return torch.stack(columns, -1)

    def index_of(self, factors: Int[Tensor, "*index k"]) -> Int[Tensor, "*index"]:
        """The sentence of some values, the inverse of `factors_of`; -1 where nobody else than the subject is named.

        The factors `first` and `second` follow from the others, and are not looked at.
        """
        io, s, *more = factors.unbind(-1)[: len(self._sizes)]
        index = torch.zeros_like(io)
        for size, digit in zip(self._sizes, (io, s - (s > io).long(), *more), strict=True):
            index = index * size + digit
        return torch.where(io != s, index, -1)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.to(device)
        if where.device.type == "cpu" and where.numel() and not 0 <= int(where.min()) <= int(where.max()) < len(self):
            raise DataError(f"indices 0..{len(self) - 1}", got="others", where=self.name)
        factors = self.factors_of(where)
        token, label, negative = self._sentence(factors)
        known = torch.ones_like(factors, dtype=torch.bool)
        seen = {"token": token, "index": where, "label": label, "negative": negative}
        return {**seen, "factors": factors.float(), "known": known}

    def _sentence(self, factors: Int[Tensor, "*index k"]) -> tuple[Tensor, Tensor, Tensor]:
        io, s, pos, verb, place, thing = factors.unbind(-1)[:6]
        first, second = torch.where(pos == 0, io, s), torch.where(pos == 0, s, io)
        kinds = (("verb0", verb), ("place0", place), ("object0", thing))
        verb, place, thing = (self._code[start] + digit for start, digit in kinds)
        bos, also, gave, to = (torch.full_like(io, self._code[word]) for word in ("bos", "and", "gave", "to"))
        label, negative = io, s
        if self.which:
            asked = factors[..., 6] == 1
            one, two = self._code["first"], self._code["second"]
            label = torch.where(asked, torch.where(pos == 0, one, two), io)
            negative = torch.where(asked, torch.where(pos == 0, two, one), s)
            to = torch.where(asked, self._code["which"], to)
        return torch.stack([bos, first, also, second, verb, place, s, gave, thing, to], -1), label, negative

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return FactorTable(self.factors, self.factors_of(indices.cpu()).double().numpy())

    def words(self, token: Int[Tensor, "n time"]) -> list[str]:
        """Sentences as people read them."""
        return [" ".join(self.vocabulary[i] for i in row) for row in token.tolist()]

    @property
    def hash(self) -> str:
        facts: dict[str, Any] = {"name": "ioi", "version": _VERSION, **self._options}
        return content_hash(facts)


def _vocabulary(names: int) -> tuple[str, ...]:
    """Names first, so that a name's token is its code."""
    content = (*_numbered("verb", _VERBS), *_numbered("place", _PLACES), *_numbered("object", _OBJECTS))
    return (*_numbered("name", names), "bos", "and", *content, "gave", "to", "which", "first", "second")


def _numbered(word: str, count: int) -> tuple[str, ...]:
    return tuple(f"{word}{i}" for i in range(count))
