"""Return-conditioned behaviour cloning: the policy that is asked by the return itself, luck included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.card import Card
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Stage, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.methods.decision.acting import Choice
from unbraid.methods.decision.reading import STATE
from unbraid.methods.decision.sequence import QUICK, SequenceActor, SequenceOptions, some
from unbraid.methods.decision.tables import TableActor, TableOptions, table
from unbraid.nets.mlp import mlp


class ReturnBC(SequenceActor["ReturnBC.Config"]):
    """Descends -sum_t log pi(a_t | history, R_t), R_t the return from t on (Chen et al., 2021, algorithm 1).

    To act, R is what one asks for, less what was earned so far. The best that it can be asked for is the highest
    return in the data: what happened to whoever was luckiest.
    """

    card = Card(
        name="return-bc",
        title="Decision Transformer: Reinforcement Learning via Sequence Modeling",
        paper="arXiv:2106.01345",
        year=2021,
        modality=("trajectory",),
        example="gamble-chain",
        tiny="gamble-chain:length=3,episodes=20",
        needs=("state", "action", "reward", "togo", "time", "valid", "length"),
        summary="A policy asked by the return one wants, as those acted who got it, whether by skill or by luck.",
    )
    presets = {"tiny": {"width": 8, "layers": 1, "hidden": 8, "batch": 8, "steps": 3}, "quick": QUICK}

    @dataclass(frozen=True)
    class Config(SequenceOptions):
        """Options of the neural baseline."""

    def __init__(self, config: ReturnBC.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        self.history = self.reader()
        self.policy_head = mlp((config.width, config.hidden, config.hidden, self.numbers["action"]))

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("controllable", "vec", (1,), carries=("action",), free_of=("luck",)),)

    def stages(self) -> Sequence[Stage]:
        return [self.stage(Update("imitate", self.loss, lambda: [self.history, self.policy_head], self.config.optim))]

    def loss(self, batch: Batch, at: At) -> Terms:
        """What everything descends."""
        every = slice(self.past + self.ahead - 1)
        steps = some(self.numbers_of(batch), every)
        output = self.policy_head(self.history(steps, steps["togo"] * steps["valid"])[:, :, STATE])
        return {"action": self.action_loss(output, batch, every).sum(1)}

    def encode(self, batch: Batch) -> Parts:
        """The return to go: what it takes to be in one's control."""
        return Parts(controllable=self.scaled(batch["togo"][:, self.past - 1, None]))

    @property
    def best(self) -> float:
        return float(self.most)

    def choose(self, history: Batch, ask: Float[Tensor, " batch"] | None, generator: torch.Generator) -> Choice:
        left = torch.full_like(history["reward"][:, 0], self.best) if ask is None else ask
        steps = self.numbers_of(history)
        earned = history["reward"].flip(1).cumsum(1).flip(1)  # from each step on, up to the present
        given = self.scaled(left[:, None] + earned) * steps["valid"]
        output = self.policy_head(self.history(steps, given)[:, -1, STATE])
        return Choice(self.drawn(output, generator), left)


class TabularReturnBC(TableActor["TabularReturnBC.Config"]):
    """Descends -log pi(a | s, R) with a table, R a bin of the return to go.

    A return that was never got from a state is taken for the nearest one that was.
    """

    card = Card(
        name="return-bc-tabular",
        title="Decision Transformer: Reinforcement Learning via Sequence Modeling",
        paper="arXiv:2106.01345",
        year=2021,
        modality=("trajectory",),
        example="gamble-chain",
        tiny="gamble-chain:length=3,episodes=20",
        needs=("state", "action", "reward", "togo", "length"),
        summary="A table of how those acted in each state who got a return, whether by skill or by luck.",
        claim="Asked for the highest return where luck decides it gambles, and earns far less than it was asked for.",
    )
    presets = {"tiny": {"batch": 8, "steps": 3}, "quick": {"batch": 1000, "steps": 500, "optim.lr": 0.05}}

    @dataclass(frozen=True)
    class Config(TableOptions):
        """Options of the tabular baseline."""

    def __init__(self, config: TabularReturnBC.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        self.policy_logits = table(self.states, config.bins, self.actions)

    def parts(self) -> tuple[PartSpec, ...]:
        bins = self.config.bins
        return (PartSpec("controllable", "ids", carries=("action",), free_of=("luck",), classes=bins),)

    def stages(self) -> Sequence[Stage]:
        return [self.stage(Update("imitate", self.loss, lambda: [self.policy_logits], self.config.optim))]

    def loss(self, batch: Batch, at: At) -> Terms:
        """What the table descends."""
        state, action, bins = self.samples(batch)
        return {"action": -self.policy_logits.log_softmax(-1)[state, bins, action]}

    def encode(self, batch: Batch) -> Parts:
        """The bin of the return to go: what it takes to be in one's control."""
        return Parts(controllable=self.samples(batch)[2])

    @property
    def best(self) -> float:
        return float(self.high)

    def chosen(self, ask: Float[Tensor, " s"] | None = None) -> tuple[Float[Tensor, "s a"], Float[Tensor, " s"]]:
        """The policy in each state, and what it promises; None asks for the highest return of the data everywhere."""
        return self._chosen(torch.arange(self.states), ask)

    def choose(self, history: Batch, ask: Float[Tensor, " batch"] | None, generator: torch.Generator) -> Choice:
        policy, promised = self._chosen(history["state"][:, -1], ask)
        return Choice(torch.multinomial(policy.cpu(), 1, generator=generator)[:, 0], promised)

    def _chosen(self, state: Tensor, ask: Tensor | None) -> tuple[Tensor, Tensor]:
        wanted = torch.full(state.shape, self.best, device=state.device) if ask is None else ask
        far = (torch.arange(self.config.bins, device=state.device) - self.binned(wanted)[:, None]).abs()
        nearest = far.masked_fill(self.joint.sum(1)[state] == 0, self.config.bins).argmin(1)
        return self.policy_logits.detach().softmax(-1)[state, nearest], wanted
