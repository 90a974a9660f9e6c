"""Trajectories as data: an item is one step of an episode with the window of steps around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Dataset, Device, content_hash, rows_of
from unbraid.data.environment import Episodes
from unbraid.data.factors import Factor, FactorTable

LABELLED = 256
"""Most states or actions that become a factor."""

LONGEST = 10_000
"""Most steps of either half of a window."""


class Trajectories(Dataset):
    """Every step of some episodes, each with the steps before and after it.

    A window has T = past + future steps; the present one is at past - 1. Where an episode starts later or ends earlier
    the window is padded: `valid` is False there and the other fields are 0. Drawing items evenly draws episodes by
    their length, and starts evenly within them.

    Args:
        name: What it is called in reports.
        episodes: The steps.
        past: Steps up to the present one, at least 1.
        future: Steps after it, at least 1: the last of them only tells where the last action led.
        states: Number of states where `episodes.state` are ids.
        actions: Number of actions where `episodes.action` are ids.
        table: A factor row for each step, besides those that are told from the steps.

    >>> steps = torch.arange(5)
    >>> three_and_two = torch.tensor([0, 3, 5])
    >>> episodes = Episodes(steps, steps % 2, steps / 2, steps > 9, three_and_two, {})
    >>> batch = Trajectories("five steps", episodes, past=2, future=1, states=5, actions=2).take(torch.tensor([0, 4]))
    >>> batch["state"].tolist(), batch["valid"].tolist(), batch["time"].tolist(), batch["length"].tolist()
    ([[0, 0, 1], [3, 4, 0]], [[False, True, True], [True, True, False]], [[0, 0, 1], [0, 1, 0]], [1, 2])
    """

    def __init__(
        self,
        name: str,
        episodes: Episodes,
        past: int = 20,
        future: int = 20,
        *,
        states: int | None = None,
        actions: int | None = None,
        table: FactorTable | None = None,
    ) -> None:
        if not (1 <= past <= LONGEST and 1 <= future <= LONGEST):
            raise DataError(f"windows of 1 to {LONGEST} steps before and after", got=f"{past} and {future}", where=name)
        self.name, self.episodes, self.past, self.future = name, episodes, past, future
        self._table = _told(episodes, states, actions)
        self._table = self._table if table is None else self._table.joined(table)
        self.factors = self._table.factors
        codes, known = self._table.codes()
        index = torch.arange(len(episodes.reward))
        self._first = episodes.offsets[:-1][episodes.episode]
        self._end = episodes.offsets[1:][episodes.episode]
        self._steps: dict[str, Tensor] = {
            "state": episodes.state,
            "action": episodes.action,
            "reward": episodes.reward,
            "togo": episodes.togo,
            "done": episodes.done,
            "time": index - self._first,
        }
        self._rows: dict[str, Tensor] = {"factors": codes, "known": known}
        window, longest = past + future, int(episodes.lengths.max())
        self.fields = Fields(
            state=_field(episodes.state, window, states),
            action=_field(episodes.action, window, actions),
            reward=Field((window,)),
            togo=Field((window,)),
            done=Field((window,), "bool"),
            time=Field((window,), "int64", classes=longest),
            valid=Field((window,), "bool"),
            length=Field((), "int64", classes=past + 1),
            index=Field((), "int64"),
            factors=Field((len(self.factors),)),
            known=Field((len(self.factors),), "bool"),
        )
        self._around = torch.arange(-past + 1, future + 1)
        self._hash: str | None = None

    def __len__(self) -> int:
        return len(self.episodes.reward)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        self._move(torch.device(device))
        here = indices.to(device)
        where = here[..., None] + self._around
        first, end = self._first[here][..., None], self._end[here][..., None]
        valid = (where >= first) & (where < end)
        where = where.clamp(0, len(self) - 1)
        batch = {name: _masked(rows_of(steps, where), valid) for name, steps in self._steps.items()}
        length = (here - first[..., 0] + 1).clamp(max=self.past)
        rows = {name: rows_of(rows, here) for name, rows in self._rows.items()}
        return {**batch, "valid": valid, "length": length, "index": here, **rows}

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        return self._table.rows(indices.cpu())

    @property
    def hash(self) -> str:
        if self._hash is None:
            steps: Mapping[str, Tensor] = {name: steps.cpu() for name, steps in self._steps.items()}
            facts = {"offsets": self.episodes.offsets, "window": (self.past, self.future)}
            self._hash = content_hash({**steps, **facts, "known": self._rows["known"].cpu(), "factors": self.factors})
        return self._hash

    def ids(self, indices: Int[Tensor, " n"]) -> list[str]:
        episode, time = self.episodes.episode[indices.cpu()], self._steps["time"].cpu()[indices.cpu()]
        return [f"{e}:{t}" for e, t in zip(episode.tolist(), time.tolist(), strict=True)]

    def _move(self, device: torch.device) -> None:
        if self._around.device != device:
            self._steps = {name: t.to(device) for name, t in self._steps.items()}
            self._rows = {name: t.to(device) for name, t in self._rows.items()}
            self._around, self._first, self._end = (t.to(device) for t in (self._around, self._first, self._end))


def past_of(fields: Fields) -> int:
    """Steps of a window up to the present one, which `length` counts.

    >>> past_of(Fields(length=Field((), "int64", classes=21)))
    20
    """
    classes = fields["length"].classes
    if classes is None or classes < 2:
        raise DataError("windows that say where the present is", got=f"{classes} classes", where="field 'length'")
    return classes - 1


def _masked(steps: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid.reshape(*valid.shape, *[1] * (steps.ndim - valid.ndim)), steps, torch.zeros_like(steps))


def _field(steps: Tensor, window: int, classes: int | None) -> Field:
    if classes is None:
        return Field((window, steps.shape[1]))
    return Field((window,), "int64", classes=classes)


def _told(episodes: Episodes, states: int | None, actions: int | None) -> FactorTable:
    """Action and state where they are few, reward, return to go, and the further columns, of each step."""
    factors: list[Factor] = []
    columns: list[Tensor] = []
    for name, steps, classes in (("action", episodes.action, actions), ("state", episodes.state, states)):
        if classes is not None and classes <= LABELLED:
            factors.append(Factor(name, "categorical", tuple(str(i) for i in range(classes))))
            columns.append(steps)
    for name, steps in {"reward": episodes.reward, "return_to_go": episodes.togo, **episodes.more}.items():
        factors.append(Factor(name, "continuous"))
        columns.append(steps)
    return FactorTable(factors, np.stack([c.double().numpy() for c in columns], 1))
