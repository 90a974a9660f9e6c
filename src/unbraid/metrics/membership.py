"""Whether a classifier's answers give away what it was trained on (Shokri et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import DataError
from unbraid.metrics.dci import booster

MOST = 5000
"""Most items of either kind that the attacker learns from."""


@dataclass(frozen=True)
class Membership:
    """What an attacker finds out who was told of some members and some strangers.

    Attributes:
        success: Share of right guesses about suspects, who are members, and further strangers, each side counting half;
            0.5 is chance.
        taken: Share of the suspects that are taken for members.
        known: Share of right guesses about those it was told of.
    """

    success: float
    taken: float
    known: float


def membership(
    members: Float[np.ndarray, "n classes"],
    strangers: Float[np.ndarray, "m classes"],
    suspects: Float[np.ndarray, "k classes"],
    others: Float[np.ndarray, "l classes"],
    seed: int = 0,
) -> Membership:
    """Attack a classifier through its predicted probabilities, sorted within each item, by 100 boosted trees.

    Of members and strangers equally many are learnt from, at most `MOST`. Two classifiers are compared with the same
    items: after successful forgetting the suspects are found out as often as by a classifier that never saw them.

    Args:
        members: Probabilities of items it was trained on.
        strangers: Of items it was not trained on.
        suspects: Of the items in question.
        others: Of further items it was not trained on.
        seed: Of the choice and of ties.

    Raises:
        DataError: One of the four is empty, or not finite.

    >>> rng = np.random.default_rng(0)
    >>> sure, unsure = np.eye(3)[rng.integers(0, 3, 60)], rng.dirichlet(np.ones(3), 60)
    >>> found = membership(sure[:40], unsure[:40], sure[40:], unsure[40:])
    >>> found.success > 0.9, membership(sure[:40], unsure[:40], unsure[40:], unsure[40:]).taken < 0.2
    (True, True)
    """
    sides = {"members": members, "strangers": strangers, "suspects": suspects, "others": others}
    for name, side in sides.items():
        if side.ndim != 2 or not len(side) or not np.isfinite(side).all():
            raise DataError("finite probabilities (items, classes), some at least", got=f"{side.shape}", where=name)
    generator = np.random.default_rng(seed)
    count = min(len(members), len(strangers), MOST)
    told = [_sorted(side[generator.permutation(len(side))[:count]]) for side in (members, strangers)]
    asked = [_sorted(side) for side in (suspects, others)]
    labels = np.repeat(np.array([1, 0]), count)
    _, again, guessed = booster()(np.concatenate(told), labels, np.concatenate(asked), seed)
    of_suspects, of_others = guessed[: len(suspects)], guessed[len(suspects) :]
    taken = float((of_suspects == 1).mean())
    return Membership((taken + float((of_others == 0).mean())) / 2, taken, float((again == labels).mean()))


def _sorted(side: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    return np.ascontiguousarray(np.sort(side, axis=1).astype(np.float32))
