"""Which items of a data set are meant by "digit=3", "random=0.4" or "noisy"."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from unbraid.core.errors import ConfigError, nearest
from unbraid.core.method import Source
from unbraid.data.dataset import Dataset
from unbraid.data.factors import FactorTable
from unbraid.data.order import key_of
from unbraid.data.wrapped import Subset

_NOISY = "wrong=yes"


def split(data: Source, spec: str, seed: int = 0) -> tuple[Subset, Subset]:
    """The items that are meant, and the others.

    Args:
        data: All items.
        spec: Conditions joined by commas: FACTOR=VALUE, FACTOR=VALUE|VALUE, random=SHARE of those that meet the rest,
            or noisy for wrong=yes.
        seed: Of random=SHARE.

    Raises:
        ConfigError: A condition is not understood, or leaves nothing on one side.

    >>> from unbraid.data.digits import digits
    >>> [len(side) for side in split(digits(8), "digit=3|4,random=0.5")]
    [182, 1615]
    """
    if not isinstance(data, Dataset):
        raise ConfigError("a data set with factors", got=type(data).__name__, where="forget")
    meant = matching(data.table(torch.arange(len(data))), spec)
    share = dict(_conditions(spec)).get("random")
    if share is not None:
        candidates = np.flatnonzero(meant)
        count = round(_share(share) * len(candidates))
        generator = np.random.default_rng(key_of(seed, "forget"))
        meant = np.isin(np.arange(len(meant)), generator.choice(candidates, count, replace=False))
    if not meant.any() or meant.all():
        raise ConfigError(
            "some items to forget and some that remain", got=f"{int(meant.sum())} of {len(meant)}", where="forget"
        )
    mine, others = (torch.from_numpy(np.flatnonzero(side)) for side in (meant, ~meant))
    return Subset(data, mine), Subset(data, others)


def matching(table: FactorTable, spec: str) -> Bool[np.ndarray, " n"]:
    """Whether each row meets the conditions other than random=SHARE.

    Raises:
        ConfigError: A condition is not understood.
    """
    meant = np.ones(len(table), dtype=bool)
    for name, value in _conditions(spec):
        if name == "random":
            continue
        factor = table.factor(name)
        codes = [_code(factor.labels, text, name) for text in value.split("|")]
        meant &= np.isin(table.column(name), codes)
    return meant


def is_group(spec: str) -> bool:
    """Whether the conditions mean all items of a kind, so that there may be such items among others too."""
    return "random" not in dict(_conditions(spec))


def _conditions(spec: str) -> list[tuple[str, str]]:
    words = [_NOISY if word.strip() == "noisy" else word.strip() for word in spec.split(",")]
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            fix = "say FACTOR=VALUE, random=SHARE or noisy"
            raise ConfigError("what to forget", got=f"'{word}'", fix=fix, where="forget")
    return [(name.strip(), value.strip()) for name, _, value in (word.partition("=") for word in words)]


def _code(labels: tuple[str, ...], text: str, name: str) -> int:
    if text not in labels:
        fix = nearest(text, labels) if labels else "it is a number; give one with listed values"
        raise ConfigError(f"a value of '{name}'", got=f"'{text}'", fix=fix, where="forget")
    return labels.index(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ConfigError("a share between 0 and 1", got=f"'{text}'", where="forget: random")
    return share
