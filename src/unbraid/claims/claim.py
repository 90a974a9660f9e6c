"""What a claim is, as plain data: arms that are trained, contrasts between them, gates that need no training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from unbraid.claims.scoring import Trained
    from unbraid.core.method import Method
    from unbraid.metrics.stats import Verdict

Expect = Literal["better", "worse", "same", "report"]
"""What is expected of ours against the baseline; "report" expects nothing and never counts."""

SEEDS = (11, 12, 13)
"""The seeds that are reported. Fixed beforehand: whatever was chosen, was chosen on seeds 1 and 2."""

SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "network": "mlp",
        "width": 128,
        "batch": 64,
        "steps": 2000,
        "optim.lr": 2e-3,
        "optim.schedule.kind": "cosine",
    }
)
"""Options of the autoencoders on `discs`: a few seconds for each arm and seed. Claims that share them share arms."""


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: As contrasts call it.
        method: A name of the catalog.
        changes: Options that differ from the defaults, on top of the claim's.
        data: What `open_data` takes, instead of the claim's. Where these are not there, the contrasts of this arm are
            left out.
    """

    name: str
    method: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""


@dataclass(frozen=True)
class Contrast:
    """Ours against a baseline in one metric, seed by seed.

    Attributes:
        claim: What is compared, and what is expected, in one sentence.
        metric: A name of `scoring.METRICS` or of the claim's own; says whether more is better.
        ours: Name of an arm.
        baseline: Name of an arm, a number that needs no training, or several arms of which `match` chooses one.
        expect: What is expected of ours against the baseline.
        margin: By how much at least; within how much at most for "same".
        match: A metric of which more is better. For each seed the baseline is, among its arms that do no better in
            it than ours, the one that does best (where all do better: the one that does worst), so that ours never
            owes its lead to giving more of it away.
    """

    claim: str
    metric: str
    ours: str
    baseline: str | float | tuple[str, ...]
    expect: Expect = "better"
    margin: float = 0.0
    match: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms it needs, ours first."""
        if isinstance(self.baseline, str):
            return (self.ours, self.baseline)
        return (self.ours, *self.baseline) if isinstance(self.baseline, tuple) else (self.ours,)


@dataclass(frozen=True)
class Gate:
    """An algebraic fact, checked once and exactly; missing where the key idea is missing.

    Attributes:
        claim: The fact.
        metric: What was looked at.
        ours: What was found.
        demanded: What it is held against.
        expect: "same", within the margin; "better": above by more than the margin; "worse": below.
        margin: Room for rounding.
    """

    claim: str
    metric: str
    ours: float
    demanded: float
    expect: Expect = "same"
    margin: float = 0.0


@dataclass(frozen=True)
class Metric:
    """A number of one trained arm.

    Attributes:
        meaning: In plain words.
        of: Computes it.
        more: Whether more of it is better.
    """

    meaning: str
    of: Callable[[Trained], float]
    more: bool = True


@dataclass(frozen=True)
class Claim:
    """What a method is known for, as something that can fail.

    Attributes:
        method: Its name in the catalog.
        task: World, network and training, in one sentence.
        data: What `open_data` takes.
        arms: Everything that is trained. The arms of `method` itself follow its aliases.
        contrasts: What is asserted or reported of them.
        settings: Options of all arms.
        gates: The facts of the method's class that need next to no training.
        seeds: Of the arms.
        metrics: Metrics that no other claim needs.
        note: What a reader must know to judge it.
        aliases: Other names of the method's catalog entry that claim the same; their options then apply to its arms.
    """

    method: str
    task: str
    data: str
    arms: tuple[Arm, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    gates: Callable[[type[Method[Any]]], Sequence[Gate]] | None = None
    seeds: tuple[int, ...] = SEEDS
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    note: str = ""
    aliases: tuple[str, ...] = ()

    def arm(self, name: str) -> Arm:
        """The arm of a name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes:
        method: The name that was verified.
        claim: What was compared, and what was expected.
        metric: In which number.
        ours: Mean over the seeds.
        baseline: Mean over the seeds, or what a gate demands.
        expect: What was expected of ours.
        margin: By how much.
        interval: 95 % paired-t interval of ours less baseline over the seeds; None for gates and single seeds.
        seeds: Empty for gates.
        minutes: Spent on training and measuring the arms of this row, which other rows may share.
        verdict: "not decided" for rows that are only reported.
    """

    method: str
    claim: str
    metric: str
    ours: float
    baseline: float
    expect: Expect
    margin: float
    interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    minutes: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_json`; null stands for a number that was not finite."""
        interval = None if data["interval"] is None else tuple(data["interval"])
        numbers = {name: math.nan if data[name] is None else data[name] for name in ("ours", "baseline")}
        return cls(**{**data, **numbers, "interval": interval, "seeds": tuple(data["seeds"])})
