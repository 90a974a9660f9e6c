"""The three axes on which a dictionary is judged: standing in for activations, controlling them, explaining them.

Everything is measured at one place of one network. What the network says is its likeliest next token (or class); the
gap is what its logit for `label` is above that for `negative`, where the data name both, and otherwise for the class
that it says above the one that it says next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.fields import Batch
from unbraid.core.outcome import Findings, Table
from unbraid.data.counterfactuals import counterfactuals
from unbraid.data.dataset import Dataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of, shuffled
from unbraid.methods.inside.dictionaries.subject import Subject
from unbraid.metrics.dictionary import Effect, agreement, best, match, necessity, sufficiency, union
from unbraid.ops.dictionary import by_rank, shares

ITEMS, KS, THRESHOLDS = 1000, (2, 4, 6), 6
FOUND, MEANT = 0.9, 0.8
_MOST_PAIRS = 512


class Features(NamedTuple):
    """What activations are made of.

    Attributes:
        code: (n, W): the value of each feature.
        vectors: (W, D): what each adds to an activation for each unit of its value.
    """

    code: Float[Tensor, "n width"]
    vectors: Float[Tensor, "width dim"]


class Judged(Protocol):
    """What is asked of a dictionary."""

    @property
    def subject(self) -> Subject:
        """The network, and the place in it."""

    def stand_in(self, a: Float[Tensor, "n dim"], table: FactorTable) -> Float[Tensor, "n dim"]:
        """The reconstruction of activations whose factors are known."""

    def edited(self, source: Side, target: Side, k: int) -> Float[Tensor, "n dim"]:
        """The source's activations, changed by k features so that they come to what the target's are."""

    def features(self, a: Float[Tensor, "n dim"]) -> Features | None:
        """The features of activations; None where there are none but the attributes themselves."""


@dataclass(frozen=True)
class Side:
    """Items seen from the place where a network is read.

    Attributes:
        batch: As the network takes them.
        a: (n, places, D): their activations.
        table: Their factors.
    """

    batch: Batch
    a: Float[Tensor, "n places dim"]
    table: FactorTable

    @classmethod
    def of(cls, subject: Subject, data: Dataset, indices: Int[Tensor, " n"]) -> Side:
        """Some items of a data set."""
        batch = data.take(indices)
        return cls(batch, subject.activations(batch).cpu(), data.table(indices))

    @property
    def rows(self) -> Float[Tensor, "rows dim"]:
        """All places of all items, one after the other."""
        return self.a.flatten(0, 1)

    @property
    def row_table(self) -> FactorTable:
        """The factors of `rows`."""
        items = torch.arange(len(self.a)).repeat_interleave(self.a.shape[1])
        return self.table.rows(items)


@torch.no_grad()
def judge(judged: Judged, data: Dataset, attributes: Sequence[str] = (), items: int = ITEMS) -> Findings:
    """Judge a dictionary on a data set.

    Args:
        judged: The dictionary.
        data: Items with factors.
        attributes: The factors that are edited and looked for; none for all that take listed values.
        items: How many are looked at, at most.
    """
    indices = shuffled(len(data), key_of("judge"), torch.arange(min(items, len(data))))
    side = Side.of(judged.subject, data, indices)
    listed = [f for f in side.table.factors if f.size > 1 and (not attributes or f.name in attributes)]
    numbers, tables, notes = dict(_fit(judged, side)), {}, []
    found = explained(judged, side, listed) if listed else None
    if found is not None:
        numbers |= found.numbers
    effects = approximation(judged, side, found)
    numbers |= effects.numbers
    if side.a.shape[1] == 1:
        rows = [row for f in listed for row in control(judged, data, indices, f.name, found)]
        if rows:
            tables["control"] = Table({key: [row[key] for row in rows] for key in rows[0]})
            numbers |= {f"{row['attribute']}, {row['edit']}": row["agreement"] for row in rows}
    else:
        notes.append("edits are judged at one place only: set position")
    arrays = {**(found.arrays if found else {}), **effects.arrays}
    return Findings(numbers, arrays, {}, (*notes, *effects.notes), tables)


def _fit(judged: Judged, side: Side) -> Iterator[tuple[str, float]]:
    """How much of the activations is reconstructed, with how many features."""
    a = side.rows
    error = (judged.stand_in(a, side.row_table) - a).square().sum()
    yield "explained variance", float(1 - error / (a - a.mean(0)).square().sum())
    features = judged.features(a)
    if features is not None:
        active = features.code != 0
        yield "active features", float(active.sum(1).float().mean())
        yield "dead features", float((~active.any(0)).float().mean())
        weight = shares(features.code, features.vectors)
        yield "negative weights", float((weight[active] < 0).float().mean())


# ------------------------------------------------------------------------------------------------------- explanation


@dataclass(frozen=True)
class Explained:
    """What the features mean.

    Attributes:
        numbers: For the report.
        arrays: Factor -> F1 of every feature for every value, as "f1 of NAME", 0 where it is 0/0.
        score: (W,): F1 of the best predicate of each feature.
    """

    numbers: Mapping[str, float]
    arrays: Mapping[str, Tensor]
    score: Float[np.ndarray, " width"]


def explained(judged: Judged, side: Side, factors: Sequence[Factor]) -> Explained | None:
    """Each feature's best predicate: a value, several values of a factor, or values of two factors at once."""
    features = judged.features(side.rows)
    if features is None:
        return None
    active = (features.code > 0).view(*side.a.shape[:2], -1).any(1).numpy()
    labels = {f.name: labels_of(side.table, f.name).numpy() for f in factors}
    score, arrays, numbers = np.zeros(active.shape[1]), {}, {}
    for factor in factors:
        f1 = match(active, labels[factor.name][:, None] == np.arange(factor.size)).f1
        plain = np.nan_to_num(f1)
        arrays[f"f1 of {factor.name}"] = torch.from_numpy(plain).float()
        numbers[f"values of {factor.name} found"] = float((plain.max(0) >= FOUND).mean())
        score = np.maximum(score, np.maximum(plain.max(1), union(active, labels[factor.name], f1, _few(factor))[1]))
    for holds in _joint(factors, labels):
        score = np.maximum(score, best(match(active, holds).f1)[1])
    alive = active.any(0)
    numbers["features that mean something"] = float((score[alive] >= MEANT).mean()) if alive.any() else 0.0
    return Explained(numbers, arrays, score)


def _few(factor: Factor) -> int:
    """Values in a union at most: ten, as in the paper, and no more than half, for all together mean nothing."""
    return max(1, min(10, factor.size // 2))


def _joint(factors: Sequence[Factor], labels: Mapping[str, np.ndarray]) -> Iterator[Bool[np.ndarray, "n predicates"]]:
    """For two factors: a value of one and a value of the other; where both have the same values, either has it."""
    for one, other in combinations(factors, 2):
        first, second = (labels[f.name][:, None] == np.arange(f.size) for f in (one, other))
        if one.labels == other.labels:
            yield first | second
        if one.size * other.size <= _MOST_PAIRS:
            yield (first[:, :, None] & second[:, None]).reshape(len(first), -1)


def labels_of(table: FactorTable, name: str) -> Int[Tensor, " n"]:
    """The value of a factor as its code, -1 where it is not known."""
    return torch.from_numpy(np.nan_to_num(table.column(name), nan=-1.0)).long()


# ----------------------------------------------------------------------------------------------------- approximation


def approximation(judged: Judged, side: Side, found: Explained | None) -> Findings:
    """Sufficiency and necessity of the reconstruction for what the network says, and of what is understood of it."""
    clean = judged.subject.logits(side.batch)
    if clean is None:
        return Findings(notes=("without what a network says, nothing is known of sufficiency and necessity",))
    a, mean = side.a, side.rows.mean(0)
    made = judged.stand_in(side.rows, side.row_table).view_as(a)
    pair = _pair(side.batch, clean)

    def gap(new: Tensor | None) -> float:
        said = clean if new is None else judged.subject.logits(side.batch, new)
        assert said is not None
        return float((said.gather(1, pair[:, :1]) - said.gather(1, pair[:, 1:])).mean())

    true, ablated = gap(None), gap(mean.expand_as(a))
    enough, missing = Effect(true, gap(made), ablated), Effect(true, gap(mean + a - made), ablated)
    numbers = {"gap": true, "gap, ablated": ablated, "gap, reconstructed": enough.patched}
    if "label" in side.batch:
        numbers["right"] = agreement(clean.argmax(1).numpy(), side.batch["label"].numpy())
    if not enough.matters:
        return Findings(numbers, notes=("this place is inactive: ablation changes less than a tenth of the gap",))
    numbers |= {"sufficiency": sufficiency(enough), "necessity": necessity(missing)}
    features = judged.features(side.rows)
    if found is None or features is None:
        return Findings(numbers)
    curves = [_understood(features, side, found, float(t)) for t in torch.linspace(0, 1, THRESHOLDS)]
    arrays = {
        "sufficiency of features with F1 from 0, 0.2, .. 1 on": torch.tensor(
            [sufficiency(Effect(true, gap(kept), ablated)) for kept, _ in curves]
        ),
        "necessity of features with F1 from 0, 0.2, .. 1 on": torch.tensor(
            [necessity(Effect(true, gap(left), ablated)) for _, left in curves]
        ),
    }
    return Findings(numbers, arrays)


def _understood(features: Features, side: Side, found: Explained, threshold: float) -> tuple[Tensor, Tensor]:
    """The activations less the features that are not understood, and less those that are."""
    known = torch.from_numpy(found.score >= threshold)
    code, vectors = features
    meant, unknown = code * known @ vectors, code * ~known @ vectors
    return side.a - unknown.view_as(side.a), side.a - meant.view_as(side.a)


def _pair(batch: Batch, logits: Float[Tensor, "n classes"]) -> Int[Tensor, "n 2"]:
    """The two classes whose logits are compared."""
    if "label" in batch and "negative" in batch:
        return torch.stack([batch["label"], batch["negative"]], 1)
    return logits.topk(2, dim=1).indices


# ----------------------------------------------------------------------------------------------------------- control


def control(
    judged: Judged, data: Dataset, indices: Int[Tensor, " n"], attribute: str, found: Explained | None
) -> list[dict[str, Any]]:
    """What comes of giving an attribute another value by editing activations, against the activations of a twin that
    has that value and all others unchanged.

    The agreement is how often the network says the same in both; without a network, how much of the squared distance
    to the twin's activations is covered. The magnitude is the edit's length in lengths of the true difference.
    """
    chance = torch.Generator().manual_seed(key_of("judge", attribute))
    one, other = counterfactuals(data, indices, attribute, chance)
    if not len(one):
        return []
    source, target = (Side.of(judged.subject, data, i) for i in (one, other))
    edits = [("none", source.rows), *_edits(judged, source, target)]
    if found is not None:
        edits += _meant(judged, source, target, attribute, found)
    way = (target.rows - source.rows).norm(dim=1).mean()
    return [
        {
            "attribute": attribute,
            "edit": name,
            "agreement": reached(judged.subject, source, target, a),
            "magnitude": float((a - source.rows).norm(dim=1).mean() / way),
        }
        for name, a in edits
    ]


def _edits(judged: Judged, source: Side, target: Side) -> list[tuple[str, Tensor]]:
    if judged.features(source.rows[:1]) is None:
        return [("edited", judged.edited(source, target, 1))]
    return [(f"k={k}", judged.edited(source, target, k)) for k in KS]


def _meant(
    judged: Judged, source: Side, target: Side, attribute: str, found: Explained
) -> Iterator[tuple[str, Float[Tensor, "n dim"]]]:
    """Edits that go by what the features mean: out with those that tell the old value, in with the new one's."""
    ranked = found.arrays[f"f1 of {attribute}"].argsort(0, descending=True).T  # (values, width)
    old, new = (ranked[labels_of(side.table, attribute)] for side in (source, target))
    before, after = judged.features(source.rows), judged.features(target.rows)
    assert before is not None
    assert after is not None
    for k in KS:
        change = by_rank(before.code, after.code, before.vectors, old, new, k)
        yield f"by meaning, k={k}", source.rows + change


def reached(subject: Subject, source: Side, target: Side, a: Float[Tensor, "n dim"]) -> float:
    """How far edited activations do what the twins' do (see `control`)."""
    truth = subject.logits(source.batch, target.a)
    if truth is None:
        left = (a - target.rows).square().sum()
        return float(1 - left / (source.rows - target.rows).square().sum())
    said = subject.logits(source.batch, a[:, None])
    assert said is not None
    return agreement(said.argmax(1).numpy(), truth.argmax(1).numpy())
