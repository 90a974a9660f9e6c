"""What the neural methods of this wing share: trajectories as numbers, readers of them, and the head that acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unbraid.core.card import told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Clip, Optim, Schedule, Source, Stage, Stream, Update
from unbraid.methods.decision.acting import Actor
from unbraid.methods.decision.reading import Reader

ADAMW = Optim("adamw", lr=1e-4, weight_decay=1e-4, clip=Clip("norm", 0.25), schedule=Schedule("constant", warmup=1000))

QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "width": 32,
        "layers": 1,
        "hidden": 64,
        "dropout": 0.0,
        "batch": 256,
        "steps": 600,
        "optim.lr": 5e-3,
        "optim.clip": None,
        "optim.schedule.kind": "cosine",
        "optim.schedule.warmup": 50,
    }
)
"""Options for small worlds, under a minute on a processor core or two."""


@dataclass(frozen=True)
class SequenceOptions:
    """The choices that every neural method here has.

    Attributes:
        width: Of what is read of a token.
        layers: Blocks of attention and perceptron.
        heads: Attention heads.
        hidden: Width of the two hidden layers of every head.
        dropout: Share of numbers dropped in training.
        bounded: Whether actions are numbers within -1 and 1, so that the policy's go through a tanh.
        batch: Windows per step.
        steps: Steps of training.
        optim: How everything but f moves.
    """

    width: int = told(128, by="code")
    layers: int = told(3, by="code")
    heads: int = told(1, by="code")
    hidden: int = told(256, by="code")
    dropout: float = told(0.1, by="code")
    bounded: bool = told(False, by="ours")
    batch: int = told(64, by="code")
    steps: int = told(10_000, by="code")
    optim: Optim = told(ADAMW, by="code")

    counts: ClassVar[tuple[str, ...]] = ("width", "layers", "heads", "hidden", "batch", "steps")

    def __post_init__(self) -> None:
        for name in self.counts:
            if getattr(self, name) < 1:
                raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
        if not 0 <= self.dropout < 1:
            raise ConfigError("a share from 0 to below 1", got=f"{self.dropout:g}", where="dropout")


C = TypeVar("C", bound=SequenceOptions)


class SequenceActor(Actor[C]):
    """A policy that reads windows of trajectories.

    Ids enter as one-hot rows; numbers, rewards and returns are standardised by statistics of the training data.

    Attributes:
        state_mean: Mean of each number of a state; with `state_scale` the standard deviation. Not used for ids.
        action_mean: Likewise of actions.
        reward_scale: Standard deviation of the rewards.
        togo_mean: Mean return to go; with `togo_scale` the standard deviation.
        least: The least return to go in the training data.
        most: The highest.
    """

    state_mean: Tensor
    state_scale: Tensor
    action_mean: Tensor
    action_scale: Tensor
    reward_scale: Tensor
    togo_mean: Tensor
    togo_scale: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, config: C, fields: Fields) -> None:
        super().__init__(config, fields)
        self.ahead = fields["reward"].shape[0] - self.past
        self.numbers = {name: fields[name].classes or fields[name].shape[1] for name in ("state", "action")}
        for name, count in self.numbers.items():
            self.register_buffer(f"{name}_mean", torch.zeros(count))
            self.register_buffer(f"{name}_scale", torch.ones(count))
        for name, value in (
            ("reward_scale", 1.0),
            ("togo_mean", 0.0),
            ("togo_scale", 1.0),
            ("least", 0.0),
            ("most", 0.0),
        ):
            self.register_buffer(name, torch.tensor(value))

    def reader(self) -> Reader:
        """A fresh network that reads steps."""
        c, times = self.config, self.fields["time"].classes or 1
        state, action = self.numbers.values()
        return Reader(state, action, times, width=c.width, layers=c.layers, heads=c.heads, dropout=c.dropout)

    def stage(self, *updates: Update) -> Stage:
        """The one stage of training."""
        budget, feed = Budget(steps=self.config.steps), {"": Stream(self.config.batch)}
        return Stage("fit", updates, budget, feed, solve=self.measure)

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """Take means and deviations from the present steps of the training data."""
        train, now = sources["train"], self.past - 1
        names = ("state", "action", "reward", "togo")
        blocks = (train.take(rows, at.device) for rows in torch.split(torch.arange(len(train)), 4096))
        rows = zip(*([block[name][:, now] for name in names] for block in blocks), strict=True)
        steps = dict(zip(names, map(torch.cat, rows), strict=True))
        for name in ("state", "action"):
            if not self.fields[name].classes:
                self._standardise(name, steps[name])
        self._standardise("togo", steps["togo"])
        self.reward_scale.copy_(_spread(steps["reward"]))
        self.least.copy_(steps["togo"].min())
        self.most.copy_(steps["togo"].max())

    def numbers_of(self, batch: Batch) -> dict[str, Tensor]:
        """The steps of a batch as the networks read them."""
        steps = {name: self._number(name, batch[name]) for name in ("state", "action")}
        steps |= {"time": batch["time"], "valid": batch["valid"], "reward": batch["reward"] / self.reward_scale}
        return {**steps, "togo": self.scaled(batch["togo"])} if "togo" in batch else steps

    def scaled(self, togo: Tensor) -> Tensor:
        """Returns to go as the networks read them."""
        return (togo - self.togo_mean) / self.togo_scale

    @property
    def likely(self) -> tuple[float, float]:
        return float(self.least), float(self.most)

    def action_loss(self, output: Float[Tensor, "*some numbers"], batch: Batch, steps: slice) -> Float[Tensor, "*some"]:
        """-log pi of the actions of some steps (half the squared distance, for numbers); 0 for padding.

        Args:
            output: What the policy's head gave.
            batch: Where the actions are.
            steps: Which steps.
        """
        action, valid = batch["action"][:, steps], batch["valid"][:, steps]
        if self.fields["action"].classes:
            loss = functional.cross_entropy(output.flatten(0, 1), action.flatten(), reduction="none").view(valid.shape)
        else:
            loss = 0.5 * (self._mean(output) - self._number("action", action)).square().sum(-1)
        masked: Tensor = loss * valid
        return masked

    def drawn(self, output: Float[Tensor, "batch numbers"], generator: torch.Generator) -> Tensor:
        """An action for each row of what the policy's head gave: drawn among ids, the mean of numbers."""
        if self.fields["action"].classes:
            return torch.multinomial(output.softmax(-1).cpu(), 1, generator=generator)[:, 0]
        mean = self._mean(output)
        return (mean if self.config.bounded else mean * self.action_scale + self.action_mean).cpu()

    def _mean(self, output: Tensor) -> Tensor:
        return output.tanh() if self.config.bounded else output

    def _number(self, name: str, steps: Tensor) -> Tensor:
        if classes := self.fields[name].classes:
            return functional.one_hot(steps, classes).float()
        if name == "action" and self.config.bounded:
            return steps
        mean, scale = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_scale")
        return (steps - mean) / scale

    def _standardise(self, name: str, steps: Tensor) -> None:
        self.get_buffer(f"{name}_mean").copy_(steps.mean(0))
        self.get_buffer(f"{name}_scale").copy_(_spread(steps))


def _spread(steps: Tensor) -> Tensor:
    spread = steps.std(0, unbiased=False)
    return torch.where(spread > 1e-6, spread, torch.ones_like(spread))


def before(reward: Float[Tensor, "batch t"]) -> Float[Tensor, "batch t"]:
    """The reward that was known when each step began: that of the step before, 0 at the first.

    >>> before(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[0., 1., 2.]])
    """
    return functional.pad(reward[:, :-1], (1, 0))


def some(steps: Mapping[str, Tensor], which: slice) -> dict[str, Tensor]:
    """Some steps of every window."""
    return {name: column[:, which] for name, column in steps.items() if column.ndim > 1}
