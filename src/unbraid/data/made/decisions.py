"""Made worlds of decisions under chance, each with trajectories logged from a policy that is far from the best.

`luck`, the factor, is the uniform draw that decided each outcome: with state and action it tells reward and next state,
and without them nothing. A representation of what was *decided* is free of it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import content_hash
from unbraid.data.environment import Finite, by_table, play
from unbraid.data.trajectories import Trajectories

_VERSION = 1
_LAKE = ("SFFF", "FHFH", "FFFH", "HFFG")


class Logged(Trajectories):
    """Trajectories of a known world.

    Args:
        name: The name it was opened by, with options.
        environment: The world.
        behaviour: Chances of the actions in each state, of the policy that was logged.
        episodes: How many.
        past: Steps of a window up to the present one.
        future: Steps of a window after it.
        seed: Of policy and world.

    Attributes:
        environment: The world, for acting in it.
        behaviour: The policy that was logged.
    """

    def __init__(
        self,
        name: str,
        environment: Finite,
        behaviour: Float[Tensor, "s a"],
        *,
        episodes: int,
        past: int,
        future: int,
        seed: int,
    ) -> None:
        if episodes < 1:
            raise DataError("a number of episodes above 0", got=str(episodes), where=name)
        generator = torch.Generator().manual_seed(seed)
        logged = play(environment, by_table(behaviour), episodes, generator, torch.tensor(0))
        super().__init__(name, logged, past, future, states=environment.states, actions=environment.actions)
        self.environment, self.behaviour = environment, behaviour
        self._options = {"world": environment.name, "episodes": episodes, "past": past, "future": future, "seed": seed}

    @property
    def hash(self) -> str:
        return content_hash({"version": _VERSION, **self._options})


def bandit(p: float = 0.1, episodes: int = 1000, seed: int = 0) -> Logged:
    """One step, two arms that pay 1 with chance p and 1 - p; the logged policy pulls the better one with chance p.

    So of those who won half pulled the better arm, whatever p.

    >>> data = bandit(p=0.25)
    >>> len(data), data.environment.best()[0], data.environment.expected(data.behaviour)
    (1000, 0.75, 0.375)
    """
    if not 0 < p < 1:
        raise DataError("a chance between 0 and 1", got=f"{p:g}", where="bandit: p")
    pays = torch.tensor([p, 1 - p], dtype=torch.float64)
    chance = torch.stack([1 - pays, pays], -1)[None]
    nowhere = torch.zeros(1, 2, 2, dtype=torch.long)
    reward = torch.tensor([0.0, 1.0]).expand(1, 2, 2)
    world = Finite(f"bandit:p={p:g}", torch.ones(1), chance, nowhere, reward, nowhere == 0, horizon=1)
    return Logged("bandit", world, pays.flip(0)[None], episodes=episodes, past=1, future=1, seed=seed)


def gamble_chain(length: int = 5, chance: float = 0.1, win: float = 5.0, episodes: int = 1000, seed: int = 0) -> Logged:
    """A walk of a few steps; each is worked (reward 1) or gambled (`win` with a small chance, otherwise -1).

    The logged policy tosses a coin. Whoever earned most gambled, and whoever gambles earns less.

    >>> data = gamble_chain()
    >>> round(data.environment.best()[0], 6), round(data.environment.expected(data.behaviour), 6)
    (5.0, 1.5)
    """
    if length < 1 or not 0 < chance < 1:
        raise DataError(
            "a length above 0 and a chance between 0 and 1", got=f"{length}, {chance:g}", where="gamble-chain"
        )
    odds = torch.tensor([[1.0, 0.0], [1 - chance, chance]], dtype=torch.float64).expand(length, 2, 2)
    reward = torch.tensor([[1.0, 1.0], [-1.0, win]]).expand(length, 2, 2)
    after = torch.arange(1, length + 1).clamp(max=length - 1)[:, None, None].expand(length, 2, 2)
    done = (torch.arange(length) == length - 1)[:, None, None].expand(length, 2, 2)
    start = (torch.arange(length) == 0).float()
    name = f"gamble-chain:length={length},chance={chance:g},win={win:g}"
    world = Finite(name, start, odds, after, reward, done, horizon=length)
    even = torch.full((length, 2), 0.5, dtype=torch.float64)
    return Logged("gamble-chain", world, even, episodes=episodes, past=length, future=length, seed=seed)


def frozen_lake(
    straight: float = 1 / 3,
    noise: float = 0.5,
    episodes: int = 100,
    horizon: int = 100,
    past: int = 20,
    future: int = 20,
    seed: int = 0,
) -> Logged:
    """The 4x4 lake with holes: a step goes where it should with chance `straight`, else to either side of that.

    The logged policy is the best one, mixed with `noise` parts of chance.

    >>> data = frozen_lake(straight=0.9)
    >>> data.fields["state"].classes, data.fields["action"].classes
    (16, 4)
    """
    if not 0 < straight <= 1 or not 0 <= noise <= 1:
        got = f"straight {straight:g}, noise {noise:g}"
        raise DataError("straight in (0, 1] and noise in [0, 1]", got=got, where="frozen-lake")
    lake = "".join(_LAKE)
    after = torch.tensor([[_onto(cell, a) for a in range(4)] for cell in range(16)])
    turns = torch.tensor([[(a + t) % 4 for t in (-1, 0, 1)] for a in range(4)])
    after = after[:, turns]  # (S, A, 3)
    side = (1 - straight) / 2
    chance = torch.tensor([side, straight, side], dtype=torch.float64).expand(16, 4, 3)
    over, goal = (torch.tensor([c in kinds for c in lake]) for kinds in ("HG", "G"))
    start = torch.tensor([float(c == "S") for c in lake])
    world = Finite(
        f"frozen-lake:straight={straight:g}", start, chance, after, goal[after].double(), over[after], horizon=horizon
    )
    best = world.best()[1][0]
    behaviour = (1 - noise) * best + noise / 4
    return Logged("frozen-lake", world, behaviour, episodes=episodes, past=past, future=future, seed=seed)


def _onto(cell: int, action: int) -> int:
    """The cell that a step to the left, down, right or up leads onto."""
    row, column = divmod(cell, 4)
    down, right = ((0, -1), (1, 0), (0, 1), (-1, 0))[action]
    return 4 * min(max(row + down, 0), 3) + min(max(column + right, 0), 3)
