"""What the methods of this wing share: they are asked for a return, they act, and one sees what was obtained."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from unbraid.core.action import action
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import Method, Source
from unbraid.core.outcome import Findings, Table
from unbraid.data.environment import Environment, Episodes, Finite, play
from unbraid.data.trajectories import past_of

C = TypeVar("C")

STEPS = ("state", "action", "reward", "time", "valid")
"""What a history is made of."""

_EPISODES, _ROWS = 500, 256


@dataclass(frozen=True)
class Choice:
    """What a policy does at the present step of each history.

    Attributes:
        action: The action.
        promised: The return from here on that the policy expects of it.
    """

    action: Tensor
    promised: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Obtained:
    """What came of asking.

    Attributes:
        asked: The return that was asked for; NaN for the best.
        promised: What the policy expected at the first step, mean over episodes.
        obtained: What it earned, mean over episodes.
        error: Standard error of `obtained`.
        episodes: The episodes themselves.
    """

    asked: float
    promised: float
    obtained: float
    error: float
    episodes: Episodes


class Actor(Method[C]):
    """A policy that is asked for a return."""

    def __init__(self, config: C, fields: Fields) -> None:
        super().__init__(config, fields)
        self.past = past_of(fields)
        window = fields["reward"].shape[0]
        if window <= self.past:
            raise DataError("windows with a future", got=f"{self.past} of {window} steps past", where="field 'length'")
        for name in ("state", "action"):
            _check_steps(fields, name, window)

    @abstractmethod
    def choose(self, history: Batch, ask: Float[Tensor, " batch"] | None, generator: torch.Generator) -> Choice:
        """An action for each history, and what is expected of it.

        Args:
            history: The fields `STEPS`, of windows that end with the present step.
            ask: The return that is still wanted of each; None wants the highest that is likely.
            generator: The only source of chance; a CPU generator.
        """

    @property
    def best(self) -> float | None:
        """The return that "best" asks for; None where the policy finds it itself."""
        return None

    @property
    @abstractmethod
    def likely(self) -> tuple[float, float]:
        """The least and the most that was still earned from a step on in the training data."""

    def act(self, history: Batch, ask: str | float = "best") -> Tensor:
        """The next action for each history, windows that end with the present step or go on behind it.

        Args:
            history: The fields `STEPS`; what lies behind the present step is not looked at.
            ask: The return wanted from here on, or "best".
        """
        with torch.no_grad():
            return self._choose(history, ask, torch.Generator().manual_seed(0)).action

    def obtain(self, environment: Environment, ask: str | float, episodes: int, seed: int = 0) -> Obtained:
        """Ask for a return in a world, and see what is obtained.

        Args:
            environment: The world.
            ask: The return of each whole episode; what was earned on the way is taken off. Or "best".
            episodes: How many to play, at least 1.
            seed: Of world and policy.
        """
        if episodes < 1:
            raise ConfigError("a number of episodes above 0", got=str(episodes), where="episodes")
        wanted, promised = self._wanted(ask), list[Tensor]()

        def act(state: Tensor, action: Tensor, reward: Tensor, generator: torch.Generator) -> Tensor:
            left = None if wanted is None else (wanted - reward.sum(1)).to(self._device)
            choice = self.choose(self._window(state, action, reward), left, generator)
            promised.append(choice.promised)
            return choice.action.cpu()

        with torch.no_grad():
            played = play(environment, act, episodes, torch.Generator().manual_seed(seed), self._no_action)
        returns = played.returns.double()
        error = float(returns.std()) / episodes**0.5 if episodes > 1 else float("nan")
        asked = float("nan") if wanted is None else wanted
        return Obtained(asked, float(promised[0].double().mean()), float(returns.mean()), error, played)

    @action
    def rollout(self, data: Source | None = None, ask: str = "best", episodes: int = 1000, seed: int = 0) -> Findings:
        """Ask for a return in the world that the trajectories come from, and see what is obtained.

        Args:
            data: Trajectories of a made world; those of the run where left out.
            ask: The return of an episode, or "best".
            episodes: How many to play.
            seed: Of world and policy.
        """
        got = self.obtain(world_of(data), ask, episodes, seed)
        numbers = {"promised": got.promised, "obtained": got.obtained, "standard error": got.error}
        numbers |= {} if got.asked != got.asked else {"asked": got.asked}
        shares = torch.linspace(0, 1, 11, dtype=torch.float64)
        columns = {
            "share of episodes": shares.tolist(),
            "earned at most": got.episodes.returns.double().quantile(shares).tolist(),
        }
        return Findings(numbers, tables={"returns": Table(columns)})

    @action
    def advise(self, data: Source | None = None, ask: str = "best", steps: int = 1000) -> Table:
        """What to do at the steps of trajectories, which may come from anywhere.

        Args:
            data: Trajectories; those of the run where left out.
            ask: The return wanted from each step on, or "best".
            steps: How many steps at most, from the first.
        """
        if data is None:
            raise ConfigError("trajectories", got="none", where="data")
        generator, columns = torch.Generator().manual_seed(0), dict[str, list[Any]]()
        for rows in torch.split(torch.arange(min(steps, len(data))), _ROWS):
            batch = data.take(rows, self._device)
            with torch.no_grad():
                choice = self._choose(batch, ask, generator)
            said = {"step": rows, "logged": batch["action"][:, self.past - 1], "advised": choice.action}
            for name, column in {**said, "promised": choice.promised}.items():
                columns.setdefault(name, []).extend(column.tolist())
        return Table(columns)

    def examine(self, data: Source) -> Findings:
        """What is obtained where the best is asked for, and a few returns from the least to the most in the data.

        In data whose world is not known nothing can be obtained: then how often the best action is the logged one.
        """
        environment = known_world(data)
        if environment is None:
            return self._agreement(data)
        asks: list[str | float] = ["best", *torch.linspace(*self.likely, 5).tolist()]
        got = [self.obtain(environment, ask, _EPISODES) for ask in asks]
        numbers = {"promised": got[0].promised, "obtained": got[0].obtained}
        numbers["promised less obtained"] = got[0].promised - got[0].obtained
        if isinstance(environment, Finite):
            numbers["highest possible"] = environment.best()[0]
        columns = {"asked": asks, **{n: [getattr(o, n) for o in got] for n in ("promised", "obtained", "error")}}
        return Findings(numbers, tables={"asked and obtained": Table(columns)})

    def _agreement(self, data: Source) -> Findings:
        rows = torch.linspace(0, len(data) - 1, min(len(data), 2000)).long()
        batch = data.take(rows, self._device)
        with torch.no_grad():
            choice = self._choose(batch, "best", torch.Generator().manual_seed(0))
        logged = batch["action"][:, self.past - 1].to(choice.action)
        if self.fields["action"].classes:
            apart = {"share of logged actions that are the best": float((choice.action == logged).float().mean())}
        else:
            apart = {"distance of logged actions from the best": float((choice.action - logged).norm(dim=-1).mean())}
        earned = {"logged return to go": float(batch["togo"][:, self.past - 1].mean())}
        notes = ("The world of these trajectories is not known: what is promised cannot be tried.",)
        return Findings({**apart, **earned, "promised": float(choice.promised.mean())}, notes=notes)

    def _choose(self, batch: Batch, ask: str | float, generator: torch.Generator) -> Choice:
        wanted, history = self._wanted(ask), history_of(batch, self.past)
        left = None if wanted is None else torch.full(history["reward"].shape[:1], wanted, device=self._device)
        return self.choose(history, left, generator)

    def _wanted(self, ask: str | float) -> float | None:
        return self.best if ask == "best" else _number(ask)

    def _window(self, state: Tensor, action: Tensor, reward: Tensor) -> dict[str, Tensor]:
        """Histories as `choose` takes them, from all steps (B, t, ...) so far."""
        batch, t = reward.shape
        steps = {"state": state, "action": action, "reward": reward, "time": torch.arange(t).expand(batch, t)}
        steps["valid"] = torch.ones(batch, t, dtype=torch.bool)
        return {name: _ending(column, self.past).to(self._device) for name, column in steps.items()}

    @property
    def _device(self) -> torch.device:
        return next(self.buffers()).device

    @property
    def _no_action(self) -> Tensor:
        """What stands for an action that is not known."""
        field = self.fields["action"]
        return torch.tensor(0) if field.classes else torch.zeros(field.shape[1:])


def world_of(data: Any) -> Environment:
    """The world that trajectories come from.

    Raises:
        DataError: It is not known.
    """
    environment: Environment | None = known_world(data)
    if environment is None:
        got = f"'{getattr(data, 'name', 'other data')}'"
        raise DataError("trajectories of a made world, to act in it", got=got, fix="use bandit or gamble-chain")
    return environment


def known_world(data: Any) -> Environment | None:
    """The world that trajectories come from, where it is known."""
    while not hasattr(data, "environment") and hasattr(data, "inner"):
        data = data.inner
    environment: Environment | None = getattr(data, "environment", None)
    return environment


def history_of(batch: Batch, past: int) -> dict[str, Tensor]:
    """The windows up to the present, whose action and reward are hidden."""
    history = {name: batch[name][:, :past] for name in STEPS}
    now = torch.arange(past, device=batch["reward"].device) == past - 1
    for name in ("action", "reward"):
        steps = history[name]
        history[name] = steps.masked_fill(now.reshape(-1, *[1] * (steps.ndim - 2)), 0)
    return history


def _number(ask: str | float) -> float:
    try:
        wanted = float(ask)
    except ValueError:
        wanted = math.nan
    if not math.isfinite(wanted):
        raise ConfigError("a return, or 'best'", got=f"'{ask}'", where="ask")
    return wanted


def _ending(steps: Tensor, past: int) -> Tensor:
    """The last `past` steps, zeros in front where there are fewer."""
    missing = past - steps.shape[1]
    return steps[:, -past:] if missing <= 0 else pad(steps, (*[0] * (2 * (steps.ndim - 2)), missing, 0))


def _check_steps(fields: Fields, name: str, window: int) -> None:
    field = fields[name]
    shapes = {(window,)} if field.classes else {(window, *field.shape[1:2])}
    if field.shape not in shapes or (not field.classes and len(field.shape) != 2):
        expected = f"ids ({window},) or numbers ({window}, N)"
        raise DataError(expected, got=f"items of shape {field.shape}", where=f"field '{name}'")
