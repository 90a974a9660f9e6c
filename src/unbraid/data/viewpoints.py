"""Views of instances by a camera whose pose is known, and the worlds in which the camera can be moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Device, MemoryDataset, content_hash, rows_of
from unbraid.data.environment import Outcome
from unbraid.data.factors import FactorTable
from unbraid.ops.pose import NUMBERS, apart, moved, relative, signed, still

HORIZON = 10
"""Most motions of the camera in an episode."""


class Space(Protocol):
    """What a camera can see of some instances, and from where.

    Attributes:
        instances: How many there are.
        free: Whether every instance can be seen from every pose.
    """

    instances: int
    free: bool

    def seen(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        """The views of instances from poses."""

    def poses(self, instance: Int[Tensor, " n"], count: int, generator: torch.Generator) -> Float[Tensor, "n count 7"]:
        """Poses drawn evenly from those that can be taken."""

    def settled(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n 7"]:
        """The poses at which cameras come to rest that were sent to these."""


class Viewpoints:
    """An environment (see `unbraid.data.environment`) in which the action is a motion of the camera.

    A state is the number of the instance and the pose of the camera; nothing is earned.

    Args:
        name: As it is opened.
        space: What can be seen from where.
        horizon: Most steps of an episode.

    >>> from unbraid.data.made.objects import Objects
    >>> world = Objects(instances=2, views=3, unseen=0).environment
    >>> state = world.reset(4, torch.Generator().manual_seed(0))
    >>> torch.allclose(world.step(state, still(4), torch.Generator()).state, state), world.see(state).shape
    (True, torch.Size([4, 1, 24, 24]))
    """

    def __init__(self, name: str, space: Space, horizon: int = HORIZON) -> None:
        self.name, self.space, self.horizon = name, space, horizon

    def reset(self, n: int, generator: torch.Generator) -> Float[Tensor, "n 8"]:
        """Instances and poses drawn evenly."""
        instance = torch.randint(self.space.instances, (n,), generator=generator)
        return self.at(instance, self.space.poses(instance, 1, generator)[:, 0])

    def at(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n 8"]:
        """The states in which cameras stand there."""
        instance = instance.cpu()
        return torch.cat([instance[:, None].float(), self.space.settled(instance, pose.cpu())], 1)

    def step(self, state: Float[Tensor, "n 8"], action: Float[Tensor, "n 7"], generator: torch.Generator) -> Outcome:
        """Where the motions lead, without chance."""
        nothing = torch.zeros(len(state))
        after = self.at(state[:, 0].long(), moved(state[:, 1:], action.cpu()))
        return Outcome(after, nothing, nothing.bool(), nothing)

    def see(self, state: Float[Tensor, "n 8"]) -> Float[Tensor, "n c h w"]:
        """What the cameras see."""
        return self.space.seen(state[:, 0].long(), state[:, 1:])

    def motions(
        self, state: Float[Tensor, "n 8"], count: int, generator: torch.Generator
    ) -> Float[Tensor, "n count 7"]:
        """Motions to poses drawn evenly; the first of each row is to stay."""
        there = self.space.poses(state[:, 0].long(), count, generator)
        motions = relative(state[:, None, 1:].expand_as(there), there)
        return torch.cat([still(len(state), 1), motions[:, 1:]], 1)


class Views(MemoryDataset):
    """Images that each show one instance from one pose.

    Args:
        name: What it is called in reports.
        x: The images.
        pose: Where the camera stood for each, see `unbraid.ops.pose`.
        instance: Which instance each shows, from 0.
        table: The factors of every row, `instance` among them.
        ids: A name per row, or None.

    Attributes:
        environment: The world in which the camera can be moved.
    """

    environment: Viewpoints

    def __init__(
        self,
        name: str,
        x: Tensor,
        pose: Float[Tensor, "n 7"],
        instance: Int[Tensor, " n"],
        table: FactorTable,
        ids: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, x, table, ids, unit=True)
        self.pose, self.instance = pose, instance
        camera = {"pose": Field((NUMBERS,)), "instance": Field((), "int64", classes=int(instance.max()) + 1)}
        self.fields = Fields(**{**self.fields, **camera})

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        batch = super().take(indices, device)
        where = indices.cpu()
        camera = {"pose": rows_of(self.pose, where), "instance": rows_of(self.instance, where)}
        return {**batch, **{name: t.to(device) for name, t in camera.items()}}

    def with_factors(self, more: FactorTable) -> Views:
        """The same views with more factors."""
        views = Views(self.name, self._x, self.pose, self.instance, self._table.joined(more), self._ids)
        views.environment = self.environment
        return views

    @property
    def hash(self) -> str:
        return content_hash({"views": super().hash, "pose": self.pose, "instance": self.instance})


class Recorded(Views):
    """Views that were recorded: the camera can go to where it once stood, and no further.

    >>> pose = torch.tensor([[0.0, 0, 0, 1, 0, 0, 0], [1.0, 0, 0, 1, 0, 0, 0]])
    >>> table = FactorTable.from_columns({"instance": ["cup", "cup"]})
    >>> two = Recorded("two", torch.zeros(2, 1, 4, 4), pose, torch.zeros(2).long(), table)
    >>> two.environment.at(torch.tensor([0]), torch.tensor([[0.7, 0, 0, 1, 0, 0, 0]])).tolist()
    [[0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        name: str,
        x: Tensor,
        pose: Float[Tensor, "n 7"],
        instance: Int[Tensor, " n"],
        table: FactorTable,
        ids: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, x, pose, instance, table, ids)
        self.environment = Viewpoints(name, _Shelf(self))


class _Shelf:
    """The space of recorded views."""

    free = False

    def __init__(self, views: Recorded) -> None:
        self.views, self.instances = views, int(views.instance.max()) + 1
        order = views.instance.argsort(stable=True)
        self.count = torch.bincount(views.instance, minlength=self.instances)
        first = self.count.cumsum(0) - self.count
        place = torch.arange(int(self.count.max()))
        self.rows = order[(first[:, None] + place % self.count[:, None].clamp(min=1)).clamp(max=len(order) - 1)]
        # How a turn weighs against a way: the widest ways of a recording are worth half a turn.
        ways = (views.pose[:, :3] - views.pose[:, :3].mean(0)).norm(dim=1)
        self.scale = max(float(ways.max()), 1e-6) / 180

    def seen(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        return self.views.take(self._nearest(instance, pose))["x"]

    def poses(self, instance: Int[Tensor, " n"], count: int, generator: torch.Generator) -> Float[Tensor, "n count 7"]:
        lots = torch.rand(len(instance), count, generator=generator)
        chosen = (lots * self.count[instance][:, None]).long()
        return self.views.pose[self.rows[instance].gather(1, chosen)]

    def settled(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n 7"]:
        return self.views.pose[self._nearest(instance, pose)]

    def _nearest(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Int[Tensor, " n"]:
        rows = self.rows[instance]
        there = self.views.pose[rows]
        angle, way = apart(pose[:, None].expand_as(there), there)
        return rows.gather(1, (angle * self.scale + way).argmin(1, keepdim=True))[:, 0]


def check_poses(pose: Tensor, where: str) -> Float[Tensor, "n 7"]:
    """Poses as they are kept: quaternions of length 1 with w >= 0.

    Raises:
        DataError: A quaternion is far from that length.
    """
    length = pose[:, 3:].norm(dim=1, keepdim=True)
    off = (length[:, 0] - 1).abs() > 0.01
    if off.any():
        row = int(off.nonzero()[0, 0])
        got = f"length {float(length[row, 0]):.4g} in row {row}"
        fix = "poses are a translation and then a quaternion, qw qx qy qz; say order=xyzw if w comes last"
        raise DataError("unit quaternions", got=got, fix=fix, where=where)
    return torch.cat([pose[:, :3], signed(pose[:, 3:] / length)], 1)
