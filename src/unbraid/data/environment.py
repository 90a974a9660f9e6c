"""Worlds that answer actions: drawn in batches, and computed exactly where they are finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import DataError


@dataclass(frozen=True)
class Outcome:
    """What a batch of actions led to.

    Attributes:
        state: The states after it.
        reward: What was earned.
        done: Whether the episode is over.
        luck: The uniform draw that decided: higher is luckier, and it tells nothing of state or action.
    """

    state: Tensor
    reward: Float[Tensor, " batch"]
    done: Bool[Tensor, " batch"]
    luck: Float[Tensor, " batch"]


class Environment(Protocol):
    """A world that a policy can act in, many copies at once.

    Attributes:
        name: As it is opened.
        horizon: Most steps of an episode.
    """

    name: str
    horizon: int

    def reset(self, n: int, generator: torch.Generator) -> Tensor:
        """The first states of `n` episodes."""

    def step(self, state: Tensor, action: Tensor, generator: torch.Generator) -> Outcome:
        """What the actions lead to, one row for each copy."""


class Finite:
    """A world of few states and actions, each pair of which has K possible outcomes.

    Args:
        name: As it is opened.
        start: The chance of each first state (S,).
        chance: Of each outcome (S, A, K); outcomes are sorted so that `luck` has an order.
        after: The state that follows (S, A, K).
        reward: What it earns (S, A, K).
        done: Whether it ends the episode (S, A, K).
        horizon: Most steps of an episode.

    >>> coin = torch.tensor([[[0.5, 0.5]]])
    >>> world = Finite("coin", torch.ones(1), coin, torch.zeros(1, 1, 2).long(), torch.tensor([[[0.0, 1.0]]]),
    ...                torch.ones(1, 1, 2).bool(), horizon=1)
    >>> world.expected(torch.ones(1, 1)), world.returns(torch.ones(1, 1))
    (0.5, {0.0: 0.5, 1.0: 0.5})
    """

    def __init__(
        self,
        name: str,
        start: Float[Tensor, " s"],
        chance: Float[Tensor, "s a k"],
        after: Int[Tensor, "s a k"],
        reward: Float[Tensor, "s a k"],
        done: Bool[Tensor, "s a k"],
        horizon: int,
    ) -> None:
        self.name, self.horizon, self.start = name, horizon, start.double()
        self.states, self.actions, _ = chance.shape
        if not torch.allclose(chance.double().sum(-1), torch.ones(self.states, self.actions).double(), atol=1e-6):
            raise DataError("chances that sum to 1 for every state and action", got="others", where=name)
        order = _from_bad_to_good(reward, done, after)
        self.chance, self.after, self.reward, self.done = (
            t.gather(-1, order) for t in (chance.double(), after, reward.double(), done)
        )
        self._edges = self.chance.cumsum(-1)[..., :-1]

    def reset(self, n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        return torch.multinomial(self.start, n, replacement=True, generator=generator)

    def step(self, state: Int[Tensor, " n"], action: Int[Tensor, " n"], generator: torch.Generator) -> Outcome:
        luck = torch.rand(len(state), dtype=torch.float64, generator=generator)
        k = (luck[:, None] >= self._edges[state, action]).sum(-1)
        reward = self.reward[state, action, k].float()
        return Outcome(self.after[state, action, k], reward, self.done[state, action, k], luck.float())

    def expected(self, policy: Float[Tensor, "s a"] | Float[Tensor, "t s a"]) -> float:
        """The expected return of a policy, one for all steps or one for each, by backward induction."""
        value = torch.zeros(self.states, dtype=torch.float64)
        for t in reversed(range(self.horizon)):
            now = (policy if policy.ndim == 2 else policy[t]).double()
            value = (now * self._worth(value)).sum(-1)
        return float(self.start @ value)

    def best(self) -> tuple[float, Float[Tensor, "t s a"]]:
        """The highest expected return, and a policy for each step that reaches it."""
        value = torch.zeros(self.states, dtype=torch.float64)
        steps = []
        for _ in range(self.horizon):
            worth = self._worth(value)
            value = worth.max(-1).values
            steps.append(torch.nn.functional.one_hot(worth.argmax(-1), self.actions).double())
        return float(self.start @ value), torch.stack(steps[::-1])

    def returns(self, policy: Float[Tensor, "s a"]) -> dict[float, float]:
        """The distribution of the return of a policy, every outcome enumerated: return -> chance."""
        alive = {(s, 0.0): float(p) for s, p in enumerate(self.start.tolist()) if p > 0}
        ended: dict[float, float] = {}
        for t in range(self.horizon):
            onward: dict[tuple[int, float], float] = {}
            for (state, earned), mass in alive.items():
                for chance, after, reward, done in self._outcomes(state, policy[state]):
                    total = round(earned + reward, 9)
                    if done or t + 1 == self.horizon:
                        ended[total] = ended.get(total, 0.0) + mass * chance
                    else:
                        onward[after, total] = onward.get((after, total), 0.0) + mass * chance
            alive = onward
        return dict(sorted(ended.items()))

    def _worth(self, value: Float[Tensor, " s"]) -> Float[Tensor, "s a"]:
        onward = torch.where(self.done, 0.0, value[self.after])
        return (self.chance * (self.reward + onward)).sum(-1)

    def _outcomes(self, state: int, policy: Float[Tensor, " a"]) -> list[tuple[float, int, float, bool]]:
        chance = policy.double()[:, None] * self.chance[state]
        columns = (chance, self.after[state], self.reward[state], self.done[state])
        rows = zip(*(column.flatten().tolist() for column in columns), strict=True)
        return [row for row in rows if row[0] > 0]


def _from_bad_to_good(
    reward: Float[Tensor, "s a k"], done: Bool[Tensor, "s a k"], after: Int[Tensor, "s a k"]
) -> Int[Tensor, "s a k"]:
    """The outcomes by reward; where it is equal, ends before others, then by the state that follows."""
    order = after.argsort(dim=-1, stable=True)
    for key in (~done, reward):
        order = order.gather(-1, key.gather(-1, order).float().argsort(dim=-1, stable=True))
    return order


# ------------------------------------------------------------------------------------------------------------ acting


@dataclass(frozen=True)
class Episodes:
    """Steps of several episodes, one episode after the other.

    Attributes:
        state: Where each action was taken: (N, S) numbers, or (N,) ids.
        action: What was done: (N, A) numbers, or (N,) ids.
        reward: What it earned.
        done: Whether the episode ended there by itself, not for want of time.
        offsets: Where each episode starts; the last entry is N.
        more: Further columns with one entry for each step.
    """

    state: Tensor
    action: Tensor
    reward: Float[Tensor, " n"]
    done: Bool[Tensor, " n"]
    offsets: Int[Tensor, " e_plus_1"]
    more: Mapping[str, Float[Tensor, " n"]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int[Tensor, " e"]:
        """Steps of each episode."""
        return self.offsets.diff()

    @property
    def episode(self) -> Int[Tensor, " n"]:
        """The episode that each step belongs to."""
        return torch.repeat_interleave(torch.arange(len(self)), self.lengths)

    @property
    def togo(self) -> Float[Tensor, " n"]:
        """What was still earned from each step on, its own reward included.

        >>> steps = torch.zeros(3).long()
        >>> ends = torch.tensor([False, True, True])
        >>> Episodes(steps, steps, torch.tensor([1.0, 2.0, 4.0]), ends, torch.tensor([0, 2, 3]), {}).togo
        tensor([3., 2., 4.])
        """
        before = torch.cat([torch.zeros(1, dtype=torch.float64), self.reward.double().cumsum(0)])
        return (before[self.offsets[1:]][self.episode] - before[:-1]).float()

    @property
    def returns(self) -> Float[Tensor, " e"]:
        """What each episode earned in all."""
        return self.togo[self.offsets[:-1]]


Policy = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
"""(states, actions, rewards so far (B, t, ...), generator) -> actions (B, ...). The last state is the present one; its
action and reward are not known yet."""


def play(environment: Environment, act: Policy, n: int, generator: torch.Generator, action: Tensor) -> Episodes:
    """Act until every one of `n` episodes is over.

    Args:
        environment: Where.
        act: States, actions and rewards so far -> the next actions.
        n: Episodes, side by side; one that is over waits for the others.
        generator: The only source of chance.
        action: What stands for an action that is not known yet, one entry without the batch.
    """
    states = [environment.reset(n, generator)]
    actions, rewards, ends, lucks, lasting = (list[Tensor]() for _ in range(5))
    alive = torch.ones(n, dtype=torch.bool)
    unknown = action.expand(n, *action.shape)
    while alive.any() and len(actions) < environment.horizon:
        seen = torch.stack(states, 1), torch.stack([*actions, unknown], 1), torch.stack([*rewards, torch.zeros(n)], 1)
        actions.append(act(*seen, generator))
        outcome = environment.step(states[-1], actions[-1], generator)
        rewards.append(outcome.reward)
        ends.append(outcome.done)
        lucks.append(outcome.luck)
        lasting.append(alive)
        states.append(outcome.state)
        alive = alive & ~outcome.done
    valid = torch.stack(lasting, 1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), valid.sum(1).cumsum(0)])
    columns = (torch.stack(column, 1)[valid] for column in (states[:-1], actions, rewards, ends, lucks))
    state, done_what, reward, done, luck = columns
    return Episodes(state, done_what, reward, done, offsets, {"luck": luck})


def by_table(policy: Float[Tensor, "s a"]) -> Policy:
    """A policy that only looks at the present state, from its table of chances."""

    def act(state: Tensor, _action: Tensor, _reward: Tensor, generator: torch.Generator) -> Tensor:
        return torch.multinomial(policy[state[:, -1]], 1, generator=generator)[:, 0]

    return act
