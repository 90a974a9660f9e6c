"""What a score is: its value, and what a reader needs to judge it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float, Int

Posterior = tuple[Float[np.ndarray, "n l"], Float[np.ndarray, "n l"]]
"""Means and log variances of a Gaussian posterior over the latents."""


_BIAS = 0.02


class ScoreFunction(Protocol):
    """One score of codes (N, L) against factors (N, K), with no bound on time."""

    def __call__(
        self,
        codes: Float[np.ndarray, "n l"],
        factors: Int[np.ndarray, "n k"],
        *,
        discrete: bool = False,
        seed: int = 0,
        posterior: Posterior | None = None,
    ) -> float: ...


@dataclass(frozen=True)
class Score:
    """One score, with what a reader needs to judge it.

    Attributes:
        name: As in `registry.SCORES`.
        value: The score; None when it was not computed (`note` says why).
        per: One number per latent or per factor (see `ScoreSpec.over`); None when there is none.
        low: Least value: codes that know nothing, or spread everything evenly (where lower is better: the best).
        high: Greatest value; infinite where there is none.
        higher_is_better: Direction.
        meaning: One plain sentence.
        reference: Paper.
        note: What was cut, left out or is in doubt; "" when nothing.
    """

    name: str
    value: float | None
    per: tuple[float, ...] | None
    low: float
    high: float
    higher_is_better: bool
    meaning: str
    reference: str
    note: str = ""


@dataclass(frozen=True)
class Enough:
    """How many items a score needs: the most that any of these asks for.

    Attributes:
        least: So many in any case.
        each_value: So many for each value of the factor that has most.
        each_latent: So many for each latent.
        bins: So many that the bias of a plug-in estimate with these bins, (B - 1)(V - 1) / 2N nats, stays below 2 % of
            log V for every factor of V values.

    >>> Enough(bins=20)([3, 32], 10), Enough(each_value=50, least=1000)([3, 6], 10)
    (4249, 1000)
    """

    least: int = 1
    each_value: int = 0
    each_latent: int = 0
    bins: int = 0

    def __call__(self, values: Sequence[int], latents: int) -> int:
        """The number for factors of so many values each, and so many latents."""
        unbiased = [math.ceil((self.bins - 1) * (v - 1) / (2 * _BIAS * math.log(v))) for v in values if v > 1]
        each = self.each_value * max(values, default=1), self.each_latent * latents
        return max(self.least, *each, *(unbiased if self.bins else ()))


@dataclass(frozen=True)
class ScoreSpec:
    """What is known of a score before it is computed.

    Attributes:
        name: As users call it.
        function: Computes it.
        meaning: One plain sentence.
        reference: Paper.
        enough: Items below which the value is flagged.
        over: What the numbers in `Score.per` stand for; None when there are none.
        low: Least value.
        high: Greatest value.
        higher_is_better: Direction.
        usual: Whether it is among those computed unless others are asked for.
        needs: What it reads besides the codes.
    """

    name: str
    function: ScoreFunction
    meaning: str
    reference: str
    enough: Enough
    over: Literal["latent", "factor"] | None
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    usual: bool = False
    needs: Literal["factors", "posterior", "nothing"] = "factors"
