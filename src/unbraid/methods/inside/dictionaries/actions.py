"""What users do with a dictionary of a network's activations."""

from __future__ import annotations

import torch

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.outcome import Findings
from unbraid.data.counterfactuals import counterfactuals
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.order import key_of, shuffled
from unbraid.methods.inside.dictionaries.judging import ITEMS, Judged, Side, reached
from unbraid.methods.inside.dictionaries.subject import Subject

_BATCH = 1024


@torch.no_grad()
def edit_attribute(judged: Judged, data: Dataset, attribute: str, value: str, k: int) -> Findings:
    """Activations with another value of an attribute, and whether they do what those of items that have it do."""
    factors = {f.name: f for f in data.factors}
    if attribute not in factors:
        raise ConfigError("the name of a factor", got=f"'{attribute}'", fix=nearest(attribute, factors))
    labels = factors[attribute].labels
    if value not in labels:
        raise ConfigError(f"a value of {attribute}", got=f"'{value}'", fix=nearest(value, labels))
    if judged.subject.places != 1:
        raise ConfigError("a dictionary of one place", got=f"{judged.subject.places} places", fix="set position")
    indices = shuffled(len(data), key_of("judge"), torch.arange(min(ITEMS, len(data))))
    chance = torch.Generator().manual_seed(0)
    one, other = counterfactuals(data, indices, attribute, chance, labels.index(value))
    if not len(one):
        raise DataError(f"items that differ in {attribute} alone", got="none", where=data.name)
    source, target = (Side.of(judged.subject, data, i) for i in (one, other))
    edited = judged.edited(source, target, k)
    numbers = {
        "items": float(len(one)),
        "agreement": reached(judged.subject, source, target, edited),
        "agreement without an edit": reached(judged.subject, source, target, source.rows),
    }
    return Findings(numbers, {"index": one, "activation": source.rows, "edited": edited, "meant": target.rows})


def collected(subject: Subject, data: Dataset) -> MemoryDataset:
    """All activations of a data set as vectors, an item's places one after the other."""
    everything = torch.arange(len(data))
    blocks = [subject.activations(data.take(block)).cpu() for block in torch.split(everything, _BATCH)]
    return MemoryDataset(f"activations of {data.name}", torch.cat(blocks).flatten(1), data.table(everything))
