"""What the tabular methods share: states, actions and bins of returns as indices into tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.card import told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Optim, Source, Stage, Stream, Update
from unbraid.methods.decision.acting import Actor


@dataclass(frozen=True)
class TableOptions:
    """The choices that every tabular method here has.

    Attributes:
        bins: Bins of equal width for the returns to go.
        batch: Steps of trajectories per step of training.
        steps: Steps of training.
        optim: How the tables move.
    """

    bins: int = told(2, by="ours")
    batch: int = told(64, by="code")
    steps: int = told(10_000, by="code")
    optim: Optim = told(Optim("adam", lr=1e-2), by="code")

    counts: ClassVar[tuple[str, ...]] = ("bins", "batch", "steps")

    def __post_init__(self) -> None:
        for name in self.counts:
            if getattr(self, name) < 1:
                raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)


C = TypeVar("C", bound=TableOptions)


class TableActor(Actor[C]):
    """A policy that looks at the present state only, of few.

    Attributes:
        low: The least return to go in the training data.
        high: The highest.
        rho: How often each bin comes.
        centre: The mean return to go within each bin.
        joint: How often state, action and bin come together.
    """

    low: Tensor
    high: Tensor
    rho: Tensor
    centre: Tensor
    joint: Tensor

    def __init__(self, config: C, fields: Fields) -> None:
        super().__init__(config, fields)
        self.states, self.actions = (_few(fields, name) for name in ("state", "action"))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.ones(()))
        self.register_buffer("rho", torch.full((config.bins,), 1 / config.bins))
        self.register_buffer("centre", torch.zeros(config.bins))
        self.register_buffer("joint", torch.zeros(self.states, self.actions, config.bins))

    def stage(self, *updates: Update) -> Stage:
        """The one stage of training."""
        budget, feed = Budget(steps=self.config.steps), {"": Stream(self.config.batch)}
        return Stage("fit", updates, budget, feed, solve=self.measure)

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """Count states, actions and bins in the training data."""
        train = sources["train"]
        blocks = torch.split(torch.arange(len(train)), 4096)
        columns = zip(*(self._now(train.take(rows, at.device)) for rows in blocks), strict=True)
        state, action, togo = map(torch.cat, columns)
        self.low.copy_(togo.min())
        self.high.copy_(togo.max())
        bins = self.binned(togo)
        where = (state * self.actions + action) * self.config.bins + bins
        self.joint.copy_(torch.bincount(where, minlength=self.joint.numel()).view_as(self.joint) / len(togo))
        self.rho.copy_(self.joint.sum((0, 1)))
        total = torch.zeros_like(self.centre).index_add_(0, bins, togo)
        self.centre.copy_(total / torch.bincount(bins, minlength=self.config.bins).clamp(min=1))

    def binned(self, togo: Float[Tensor, "*some"]) -> Int[Tensor, "*some"]:
        """The bin of each return to go; those beyond the training data go to the first or the last."""
        share = (togo - self.low) / (self.high - self.low).clamp(min=1e-12)
        return (share * self.config.bins).floor().long().clamp(0, self.config.bins - 1)

    def samples(self, batch: Batch) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """State, action and bin at the present step."""
        state, action, togo = self._now(batch)
        return state, action, self.binned(togo)

    @property
    def likely(self) -> tuple[float, float]:
        return float(self.low), float(self.high)

    def _now(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        state, action, togo = (batch[name][:, self.past - 1] for name in ("state", "action", "togo"))
        return state, action, togo


def table(*shape: int) -> nn.Parameter:
    """Logits drawn from a normal distribution cut off at two deviations, as the authors start them."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), a=-2.0, b=2.0))


def _few(fields: Fields, name: str) -> int:
    classes = fields[name].classes
    if classes is None:
        fix = "choose the neural variant, or give whole numbers"
        raise DataError("ids of finitely many values", got="numbers", fix=fix, where=f"field '{name}'")
    return classes
