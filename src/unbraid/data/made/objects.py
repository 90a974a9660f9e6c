"""`objects` and `solids`: things with a handle, seen by a camera that can be moved around them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.core.errors import DataError
from unbraid.data.dataset import Device, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.data.viewpoints import Viewpoints, Views
from unbraid.ops.pose import about, multiply, rotate, signed

_VERSION, _CHUNK, _SUPERSAMPLE = 1, 256, 2
Shape = dict[str, Float[Tensor, " n"]]


class HandledObjects(Views):
    """Instances of one category, each seen from poses of its own, rendered when first asked for, and kept.

    What a camera would see from anywhere else is known, too: see `environment`.

    Attributes:
        shapes: Name -> least and largest value of what tells instances apart.
        around: What tells how far the camera went around.
        elsewhere: Name -> the same of what else tells poses apart.
        places: Name -> the same of all that does.
        shape: The values of every instance.

    Args:
        instances: How many there are, the unseen ones included.
        views: Of each.
        unseen: How many of the last instances are for testing.
        turn: How far the camera goes around either way, in degrees.
        size: Height and width.
        seed: Of instances and poses.
    """

    kind: ClassVar[str]
    channels: ClassVar[int]
    shapes: ClassVar[Mapping[str, tuple[float, float]]]
    around: ClassVar[str]
    elsewhere: ClassVar[Mapping[str, tuple[float, float]]]
    free = True

    def __init__(
        self,
        instances: int = 50,
        views: int = 60,
        unseen: int = 10,
        turn: float = 180.0,
        size: int = 24,
        seed: int = 0,
    ) -> None:
        options = {"instances": instances, "views": views, "unseen": unseen, "turn": turn, "size": size}
        if instances < 1 or views < 1 or size < 8 or not 0 <= unseen < instances or not 0 <= turn <= 180:
            expected = "an instance that is seen, a view, 8 pixels, and a turn of 0 to 180 degrees"
            got = ", ".join(f"{name}={value:g}" for name, value in options.items())
            raise DataError(expected, got=got, where=f"--data {self.kind}")
        options["seed"] = seed
        most = math.radians(turn)
        self.places: Mapping[str, tuple[float, float]] = {self.around: (-most, most), **self.elsewhere}
        self.instances, self.side, self._options = instances, size, options
        chance = torch.Generator().manual_seed(key_of(seed, self.kind))
        self.shape: Shape = {name: _drawn((instances,), limits, chance) for name, limits in self.shapes.items()}
        place = {name: _drawn((instances * views,), limits, chance) for name, limits in self.places.items()}
        instance = torch.arange(instances).repeat_interleave(views)
        table = _table(instance, unseen, {name: value[instance] for name, value in self.shape.items()} | place)
        self._made = torch.zeros(len(instance), dtype=torch.bool)
        x = torch.zeros((len(instance), self.channels, size, size), dtype=torch.uint8)
        name = f"{self.kind}:{','.join(f'{k}={v:g}' for k, v in options.items())}"
        super().__init__(name, x, self.pose_of(place), instance, table)
        self.environment = Viewpoints(self.kind, self)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        self._make(indices.flatten().cpu())
        return super().take(indices, device)

    def with_factors(self, more: FactorTable) -> Views:
        self._make(torch.arange(len(self)))
        return super().with_factors(more)

    def _make(self, indices: Int[Tensor, " n"]) -> None:
        """Render what is asked for and not there yet."""
        wanted = torch.zeros_like(self._made).index_fill(0, indices, True)
        rows = (wanted & ~self._made).nonzero()[:, 0]
        if len(rows):
            image = (self.seen(self.instance[rows], self.pose[rows]) * 255).round().to(torch.uint8)
            self._x[rows.to(self._x.device)] = image.to(self._x.device)
            self._made[rows] = True

    def seen(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        """The views of instances from any poses."""
        parts = zip(torch.split(instance, _CHUNK), torch.split(pose, _CHUNK), strict=True)
        return torch.cat([self.drawn({k: v[i] for k, v in self.shape.items()}, p) for i, p in parts])

    def poses(self, instance: Int[Tensor, " n"], count: int, generator: torch.Generator) -> Float[Tensor, "n count 7"]:
        place = {name: _drawn((len(instance), count), limits, generator) for name, limits in self.places.items()}
        return self.pose_of(place)

    def settled(self, instance: Int[Tensor, " n"], pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n 7"]:
        return pose

    @property
    def hash(self) -> str:
        return content_hash({"world": self.kind, "version": _VERSION, **self._options})

    @abstractmethod
    def pose_of(self, place: Shape) -> Float[Tensor, "*n 7"]:
        """Where the camera stands for the places of these values."""

    @abstractmethod
    def drawn(self, shape: Shape, pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        """The images of shapes from poses."""


class Objects(HandledObjects):
    """A flat ellipse with a bright handle at the end of one axis, which a camera above it slides over and turns.

    `angle`, `x` and `y` say how the object lies in the image, the camera's frame: counter-clockwise from the right, and
    in halves of the image's side, to the right and up.

    >>> data = Objects(instances=3, views=2, unseen=1)
    >>> data.take(torch.tensor([4]))["x"].shape, [f.name for f in data.factors][:5]
    (torch.Size([1, 1, 24, 24]), ['split', 'instance', 'aspect', 'size', 'handle'])
    """

    kind = "objects"
    channels = 1
    shapes = {"aspect": (0.6, 1.7), "size": (0.25, 0.4), "handle": (0.12, 0.35)}
    around, elsewhere = "angle", {"x": (-0.25, 0.25), "y": (-0.25, 0.25)}

    def pose_of(self, place: Shape) -> Float[Tensor, "*n 7"]:
        turn = about(2, -place["angle"])
        here = torch.stack([-place["x"], -place["y"], torch.zeros_like(place["x"])], -1)
        return torch.cat([rotate(turn, here), turn], -1)

    def drawn(self, shape: Shape, pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n 1 h w"]:
        u, v = _grid(self.side)
        ray = torch.stack([u, v, torch.zeros_like(u)], -1).expand(len(pose), *u.shape, 3)
        at = rotate(pose[:, None, None, 3:].expand(*ray.shape[:3], 4), ray) + pose[:, None, None, :3]
        x, y = at[..., 0], at[..., 1]
        long, short = (_wide(a) for a in _axes(shape))
        body = (1 - ((x / long).square() + (y / short).square()).sqrt()) * torch.minimum(long, short)
        beyond = x - long - _wide(shape["handle"]) * ((x - long) / _wide(shape["handle"])).clamp(0, 1)
        handle = 0.07 - (beyond.square() + y.square()).sqrt()
        cover = [(edge * self.side / 2 + 0.5).clamp(0, 1) for edge in (body, handle)]
        return (cover[1] + (1 - cover[1]) * 0.6 * cover[0])[:, None]


class Solids(HandledObjects):
    """An ellipsoid with a handle at one side and a knob on top, lit from above, which a camera goes around.

    The camera looks at the object's middle from an azimuth, a height and a distance, its own y axis up; between two
    views it turns and moves in space, and nothing of its motion is always 0.

    >>> Solids(instances=2, views=2, unseen=0, size=16).take(torch.tensor([0]))["x"].shape
    torch.Size([1, 3, 16, 16])
    """

    kind = "solids"
    channels = 3
    shapes = {"aspect": (0.6, 1.7), "size": (0.3, 0.45), "handle": (0.2, 0.5), "hue": (0.0, 1.0)}
    around, elsewhere = "azimuth", {"elevation": (0.1, 1.1), "distance": (2.2, 3.2)}

    def pose_of(self, place: Shape) -> Float[Tensor, "*n 7"]:
        turn = signed(multiply(about(1, place["azimuth"]), about(0, -place["elevation"])))
        back = torch.tensor([0.0, 0.0, 1.0]).expand(*turn.shape[:-1], 3) * place["distance"][..., None]
        return torch.cat([rotate(turn, back), turn], -1)

    def drawn(self, shape: Shape, pose: Float[Tensor, "n 7"]) -> Float[Tensor, "n 3 h w"]:
        u, v = (0.4 * t for t in _grid(self.side * _SUPERSAMPLE))
        ray = normalize(torch.stack([u, v, -torch.ones_like(u)], -1), dim=-1).flatten(0, 1).expand(len(pose), -1, 3)
        way = rotate(pose[:, None, 3:].expand(*ray.shape[:2], 4), ray)
        found = _first(_ellipsoids(shape), pose[:, None, :3].expand_as(way), way)
        lit = 0.45 + 0.55 * (found.normal @ normalize(torch.tensor([0.3, 1.0, 0.4]), dim=0)).clamp(min=0)
        colours = torch.stack([_hue(shape["hue"]), torch.full((len(pose), 3), 0.95), _hue(shape["hue"] + 0.4)], 1)
        colour = colours.gather(1, found.part.clamp(min=0)[..., None].expand(*found.part.shape, 3)) * lit[..., None]
        sky = torch.tensor([0.12, 0.13, 0.16])
        image = torch.where((found.part >= 0)[..., None], colour, sky)
        blocks = image.reshape(len(pose), self.side, _SUPERSAMPLE, self.side, _SUPERSAMPLE, 3)
        return blocks.mean((2, 4)).permute(0, 3, 1, 2).contiguous()


# ------------------------------------------------------------------------------------------------------------ geometry


@dataclass(frozen=True)
class _Hit:
    """The part that each ray meets first (-1 for none), and the normal there."""

    part: Int[Tensor, "n s"]
    normal: Float[Tensor, "n s 3"]


def _ellipsoids(shape: Shape) -> list[tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]]:
    """Middles and half axes of body, handle and knob."""
    wide, high = _axes(shape)
    nought, handle = torch.zeros_like(wide), shape["handle"]
    return [
        (torch.stack([nought, nought, nought], 1), torch.stack([wide, high, wide], 1)),
        (
            torch.stack([wide + 0.3 * handle, nought, nought], 1),
            torch.stack([0.7 * handle, 0.12 + nought, 0.08 + nought], 1),
        ),
        (torch.stack([nought, high, nought], 1), torch.full((len(wide), 3), 0.12)),
    ]


def _first(
    ellipsoids: list[tuple[Tensor, Tensor]], origin: Float[Tensor, "n s 3"], way: Float[Tensor, "n s 3"]
) -> _Hit:
    part = torch.full(way.shape[:2], -1)
    near, normal = torch.full(way.shape[:2], torch.inf), torch.zeros_like(way)
    for k, (middle, axes) in enumerate(ellipsoids):
        q, e = (origin - middle[:, None]) / axes[:, None], way / axes[:, None]
        a, b, rest = e.square().sum(2), (q * e).sum(2), q.square().sum(2) - 1
        root = b.square() - a * rest
        far = (-b - root.clamp(min=0).sqrt()) / a
        first = (root > 0) & (far > 0) & (far < near)
        slope = normalize((q + far[..., None] * e) / axes[:, None], dim=2)
        part, near = torch.where(first, k, part), torch.where(first, far, near)
        normal = torch.where(first[..., None], slope, normal)
    return _Hit(part, normal)


def _axes(shape: Shape) -> tuple[Tensor, Tensor]:
    """Half axes along the handle and across it."""
    stretch = shape["aspect"].sqrt()
    return shape["size"] * stretch, shape["size"] / stretch


def _grid(side: int) -> tuple[Float[Tensor, "side side"], Float[Tensor, "side side"]]:
    """How far each pixel's middle is to the right and up, from -1 to 1."""
    middle = (torch.arange(side) + 0.5) / side * 2 - 1
    return middle.expand(side, side), (-middle[:, None]).expand(side, side)


def _wide(value: Tensor) -> Tensor:
    return value[:, None, None]


def _hue(hue: Float[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """A colour of the wheel, half saturated."""
    k = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6
    return 0.9 * (1 - 0.6 * torch.minimum(k, 4 - k).clamp(0, 1))


def _drawn(shape: tuple[int, ...], limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator)


def _table(instance: Int[Tensor, " n"], unseen: int, values: Shape) -> FactorTable:
    count = int(instance.max()) + 1
    test = (instance >= count - unseen).long()
    factors = [
        Factor("split", "categorical", ("train", "test")),
        Factor("instance", "categorical", tuple(str(i) for i in range(count))),
        *(Factor(name, "continuous") for name in values),
    ]
    columns = [column.double().numpy() for column in (test, instance, *values.values())]
    return FactorTable(factors, np.stack(columns, 1))
