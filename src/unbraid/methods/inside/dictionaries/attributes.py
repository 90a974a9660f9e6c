"""A dictionary of activations in closed form, from attributes that are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Method, Source, Stage
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset
from unbraid.data.factors import FactorTable
from unbraid.data.order import key_of, shuffled
from unbraid.methods.inside.dictionaries.actions import collected, edit_attribute
from unbraid.methods.inside.dictionaries.judging import Side, judge
from unbraid.methods.inside.dictionaries.subject import PORT, Subject
from unbraid.nets.site import Site
from unbraid.ops.dictionary import Codes, contribution, least_squares_codes, mean_codes

_SEVERAL = "+"


class AttributeDictionary(Method["AttributeDictionary.Config"]):
    """For each value of each attribute one vector; an activation is their sum, a bias, and a rest.

    An attribute's vectors are the means of the activations of each value less the mean of all, or come from least
    squares over all attributes at once. Codes look the values up: what is asked of the parts is whether vectors tell
    values apart, whether the network does what they say, and what the rest still knows. To swap an attribute between
    two items is the paper's edit: the vector of the old value out, that of the new one in.

    Source:
        Makelov et al., 2024, section 3; sae, circuit_utils.py.
    """

    card = Card(
        name="attribute-dictionary",
        title="Towards Principled Evaluations of Sparse Autoencoders for Interpretability and Control",
        paper="arXiv:2405.08366",
        year=2024,
        number=23,
        summary="Vectors for the known attributes of a network's inputs, which add up to its activations.",
        modality=("vector", "text", "image"),
        needs=("factors", "known"),
        ports=(PORT,),
        claim="Its vectors stand in for activations and control what the network says; shuffled labels' do not.",
        example="ioi",
        tiny="directions:values=8,width=12",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"attributes": ("u", "v"), "items": 64},
        "quick": {"items": 4000},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the dictionary of attributes.

        Attributes:
            attributes: Factors, each a part; "io+pos" is one attribute of all combinations of both.
            codes: "mean", or "least-squares", for attributes that depend on each other.
            at: The network's module whose output is read; its last one called `mid` where empty.
            position: Which token of a sequence, from the end where negative; none for all.
            columns: From which to before which number of the activation, for one head of several; none for all.
            items: Items that the vectors are computed from, at most.
            shuffled: Whether values are dealt to items at random: the least that a dictionary must beat.
        """

        attributes: tuple[str, ...] = told(("io", "s", "pos"), by="paper")
        codes: Literal["mean", "least-squares"] = told("mean", by="paper")
        at: str = told("", by="ours")
        position: int | None = told(-1, by="ours")
        columns: tuple[int, int] | None = told(None, by="ours")
        items: int = told(20_000, by="paper")
        shuffled: bool = told(False, by="ours")

        def __post_init__(self) -> None:
            if self.items < 1:
                raise ConfigError("a whole number above 0", got=str(self.items), where="items")
            names = [part_name(a) for a in self.attributes]
            if not names or len({*names, "bias", "rest"}) < len(names) + 2:
                got = ", ".join(self.attributes) or "none"
                raise ConfigError("attributes of different names, none called bias or rest", got=got)

    columns: Tensor
    sizes: Tensor
    bias: Tensor
    library: Tensor

    def __init__(self, config: AttributeDictionary.Config, fields: Fields, given: Given) -> None:
        super().__init__(config, fields, given)
        self.subject = Subject(given, Site(config.at, config.position, config.columns), fields)
        self.register_buffer("bias", torch.zeros(self.subject.width))
        self.slot("columns", torch.int64)  # (attributes, 2): the columns of the factor row that make an attribute
        self.slot("sizes", torch.int64)  # (attributes, 2): and how many values each has
        self.slot("library")  # (all values of all attributes, D)

    def parts(self) -> tuple[PartSpec, ...]:
        width = (self.subject.width,)
        single = [a for a in self.config.attributes if _SEVERAL not in a]
        attributes = [
            PartSpec(part_name(a), "vec", width, carries=(a,) if a in single else ()) for a in self.config.attributes
        ]
        return (*attributes, PartSpec("bias", "vec", width), PartSpec("rest", "vec", width, free_of=tuple(single)))

    def stages(self) -> Sequence[Stage]:
        return [Stage("solve", solve=self.solve)]

    def solve(self, sources: Mapping[str, Source], at: At) -> None:
        """The vectors, from at most `items` items."""
        data = cast("Dataset", sources["train"])
        names = [f.name for f in data.factors]
        self.columns, self.sizes = _columns(self.config.attributes, names, [f.size for f in data.factors])
        count = min(len(data), self.config.items)
        chosen = shuffled(len(data), key_of("attribute-dictionary"), torch.arange(count))
        batches = [data.take(rows, at.device) for rows in torch.split(chosen, 1024)]
        a = torch.cat([self.subject.activations(batch) for batch in batches])
        labels = torch.cat([self.labels(batch["factors"], batch["known"]) for batch in batches])
        if self.config.shuffled:
            labels = labels[at.permutation(len(labels))]
        solved = mean_codes if self.config.codes == "mean" else least_squares_codes
        codes = solved(a.flatten(0, 1), labels.repeat_interleave(a.shape[1], 0), self._counts)
        self.bias.copy_(codes.bias)
        self.library = torch.cat(codes.vectors)

    @property
    def _counts(self) -> list[int]:
        """Values of each attribute."""
        counts: list[int] = self.sizes.prod(1).tolist()
        return counts

    def labels(self, factors: Float[Tensor, "batch k"], known: Tensor) -> Int[Tensor, "batch attributes"]:
        """The value of each attribute, -1 where not known."""
        columns, sizes = self.columns, self.sizes  # a second column of 0..0 stands for none
        first, second = (factors[:, columns[:, i].clamp(min=0)].long() for i in (0, 1))
        alone = columns[:, 1] < 0
        there = known[:, columns[:, 0]] & (known[:, columns[:, 1].clamp(min=0)] | alone)
        return torch.where(there, first * sizes[:, 1] + torch.where(alone, 0, second), -1)

    def codes(self) -> Codes:
        """The vectors by attribute."""
        return Codes(self.bias, tuple(torch.split(self.library, self._counts)))

    def encode(self, batch: Batch) -> Parts:
        """The vectors of each item's values, the bias and what is left; of several places the mean."""
        a = self.subject.activations(batch).mean(1)
        names = [part_name(attribute) for attribute in self.config.attributes]
        if self.library.numel():
            labels = self.labels(batch["factors"], batch["known"])
            columns = zip(self.codes().vectors, labels.unbind(1), strict=True)
            found = dict(zip(names, (contribution(v, label) for v, label in columns), strict=True))
        else:
            found = {name: torch.zeros_like(a) for name in names}
        bias = self.bias.expand_as(a)
        rest = a - bias - sum(found.values(), torch.zeros_like(a))
        return Parts({**found, "bias": bias, "rest": rest})

    def decode(self, parts: Parts) -> Float[Tensor, "batch dim"]:
        """Activations: the sum of the parts."""
        return torch.stack(list(parts.values())).sum(0)

    # ------------------------------------------------------------------------------------------------ judging it

    def examine(self, data: Source) -> Findings:
        """How well the vectors stand in for the activations and control what the network says."""
        names = [name for attribute in self.config.attributes for name in attribute.split(_SEVERAL)]
        return judge(self, cast("Dataset", data), names)

    def stand_in(self, a: Float[Tensor, "n dim"], table: FactorTable) -> Float[Tensor, "n dim"]:
        """What the attributes stand for, whatever the activations are."""
        factors, known = (t.to(self.bias.device) for t in table.codes())
        columns = zip(self.codes().vectors, self.labels(factors, known).unbind(1), strict=True)
        made = self.bias + sum((contribution(v, label) for v, label in columns), torch.zeros_like(self.bias))
        return made.to(a.device)

    def edited(self, source: Side, target: Side, k: int) -> Float[Tensor, "n dim"]:
        """The source's activations less the vectors of its values, plus those of the target's."""
        old, new = (self.stand_in(side.rows, side.row_table) for side in (source, target))
        return source.rows - old + new

    def features(self, a: Float[Tensor, "n dim"]) -> None:
        """None: the features are the attributes."""

    @action
    def edit_attribute(self, data: Source, attribute: str, value: str) -> Findings:
        """Give an attribute of all items another value, and see what the network says.

        Args:
            data: Items with factors.
            attribute: The factor to change.
            value: The value it shall have, as the factor's labels call it.
        """
        return edit_attribute(self, cast("Dataset", data), attribute, value, 1)

    @action
    def activations(self, data: Source) -> Dataset:
        """The activations that are read, with the factors of their items, as data for whoever wants vectors.

        Args:
            data: What the network is given.
        """
        return collected(self.subject, cast("Dataset", data))


def part_name(attribute: str) -> str:
    """The part of an attribute.

    >>> part_name("io+pos"), part_name("2nd name")
    ('io_pos', '_2nd_name')
    """
    plain = re.sub(r"\W", "_", attribute)
    return plain if plain.isidentifier() else f"_{plain}"


def _columns(attributes: Sequence[str], names: Sequence[str], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The factors that make each attribute, one or two, and their sizes; -1 and 1 where there is no second."""
    columns = np.full((len(attributes), 2), -1)
    counts = np.ones((len(attributes), 2), int)
    for i, attribute in enumerate(attributes):
        wanted = attribute.split(_SEVERAL)
        if len(wanted) > 2:
            raise ConfigError("one factor, or two with a plus between them", got=f"'{attribute}'", where="attributes")
        for j, name in enumerate(wanted):
            if name not in names:
                fix = f"set attributes; {nearest(name, names)}"
                raise ConfigError("the name of a factor", got=f"'{name}'", fix=fix, where="attributes")
            columns[i, j], counts[i, j] = names.index(name), sizes[names.index(name)]
            if counts[i, j] < 2:
                raise ConfigError("a factor of two listed values or more", got=f"'{name}'", where="attributes")
    return torch.from_numpy(columns), torch.from_numpy(counts)
