"""`scenes`: the factor structure of Shapes3D, ray-cast once and coloured on demand."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.factors import Factor
from unbraid.data.made.grid import FactorGrid
from unbraid.data.made.hues import hues

SIZES = (16, 32, 64)
_HUES, _SCALES, _ORIENTATIONS, _SHAPES = 10, 8, 15, ("cube", "cylinder", "sphere", "capsule")

# Lengths in units of the cube's side at scale 1. The room's axes: x to the right, y up, z towards the camera; the
# object stands in the middle of the floor, and the camera goes around it.
_ROOM, _AWAY, _EYE, _AIM, _VIEW = 2.3, 3.7, 1.7, 0.68, 0.42
_SMALLEST, _LARGEST, _TURN = 0.75, 1.25, 30.0
_LIGHT, _SPREAD, _AMBIENT, _SHINE, _MATTE = (-0.3, 1.0, 0.8), 0.07, 0.5, 0.45, 0.88
_RAYS = 3
"""A pixel is the mean of so many rays squared."""


class Scenes(FactorGrid):
    """A solid in a room: 10 floor, 10 wall and 10 object hues x 8 scales x 4 shapes x 15 orientations = 480,000 images.

    The order is that of Shapes3D (Burgess & Kim, 2018): floor, wall and object hue, scale, shape, orientation, the last
    one fastest. As there, the camera goes around the room, so that walls and object turn together and every
    orientation can be read from the walls behind any shape.

    The 480 views without colour are drawn at first use, which takes a second; an image is one of them, coloured.

    Args:
        size: Height and width of an image in pixels: 16, 32 or 64.

    >>> data = Scenes(size=16)
    >>> len(data), data.take(torch.tensor([[0, 5]]))["x"].shape
    (480000, torch.Size([1, 2, 3, 16, 16]))
    >>> data.factors_of(torch.tensor(479999)).tolist()
    [9, 9, 9, 7, 3, 14]
    """

    def __init__(self, size: int = 32) -> None:
        if size not in SIZES:
            raise DataError(f"one of {', '.join(map(str, SIZES))}", got=str(size), where="scenes: size")
        self.size = size
        super().__init__(f"scenes:size={size}", _factors(), (3, size, size), version=1)
        self._hues = hues(_HUES)
        self._views: Tensor | None = None

    def render(self, factors: Int[Tensor, "*index k"]) -> Float[Tensor, "*index c h w"]:
        flat = factors.reshape(-1, len(self.sizes))
        views = self._drawn(flat.device)[self.index_of(flat) % (_SCALES * len(_SHAPES) * _ORIENTATIONS)]
        colours = self._hues[flat[:, :3]][..., None, None]
        # One product and one sum at a time: a fused or a matrix product may round otherwise from batch to batch.
        image = views[:, None, 0] * colours[:, 0]
        for surface in (1, 2):
            image += views[:, None, surface] * colours[:, surface]
        image += views[:, None, 3]
        return image.reshape(*factors.shape[:-1], *self.fields["x"].shape)

    def _drawn(self, device: torch.device) -> Float[Tensor, "views 4 h w"]:
        if self._views is None:
            self._views = _draw(self.size)
        if self._views.device != device:
            self._views, self._hues = self._views.to(device), self._hues.to(device)
        return self._views


def _factors() -> tuple[Factor, ...]:
    hue = tuple(f"{i * 360 // _HUES}°" for i in range(_HUES))
    scales = torch.linspace(_SMALLEST, _LARGEST, _SCALES).tolist()
    angles = torch.linspace(-_TURN, _TURN, _ORIENTATIONS).tolist()
    return (
        *(Factor(f"{surface}_hue", "circular", hue) for surface in ("floor", "wall", "object")),
        Factor("scale", "ordinal", tuple(f"{v:.2f}" for v in scales)),
        Factor("shape", "categorical", _SHAPES),
        Factor("orientation", "ordinal", tuple(f"{v:.1f}°" for v in angles)),
    )


def _draw(size: int) -> Float[Tensor, "views 4 h w"]:
    """How much of the floor's, the wall's and the object's colour, and of white, is in each pixel of each view."""
    views = torch.empty(_SCALES, len(_SHAPES), _ORIENTATIONS, 4, size, size)
    for i, angle in enumerate(torch.linspace(-_TURN, _TURN, _ORIENTATIONS, dtype=torch.float64).tolist()):
        eye, rays = _camera(size, math.radians(angle))
        room = _room(eye, rays)
        for j, solid in enumerate(_SOLIDS):
            views[:, j, i] = _pixels(_shaded(eye, rays, room, solid), size)
    return views.flatten(0, 2)


def _camera(size: int, angle: float) -> tuple[Float[Tensor, "3 1"], Float[Tensor, "3 rays"]]:
    """Where the camera stands, and the direction of each ray, row by row from the upper left."""
    eye = torch.tensor([_AWAY * math.sin(angle), _EYE, _AWAY * math.cos(angle)])
    ahead = _unit(torch.tensor([0.0, _AIM, 0.0]) - eye)
    right = torch.tensor([math.cos(angle), 0.0, -math.sin(angle)])
    up = torch.linalg.cross(right, ahead)
    across = ((torch.arange(size * _RAYS) + 0.5) / (size * _RAYS) * 2 - 1) * _VIEW
    grid = ahead + across[:, None] * right - across[:, None, None] * up
    return eye[:, None], _unit(grid.flatten(0, 1).T)


def _unit(vectors: Float[Tensor, "3 *n"]) -> Float[Tensor, "3 *n"]:
    return vectors / vectors.square().sum(0).sqrt()


def _room(eye: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where each ray ends when nothing stands in the room, what lies there, and how it is lit.

    Returns:
        The points (3, n), the surfaces (2, n): how much of floor and wall there is, and how directly they face the
        light (n,).
    """
    x, y, z = rays
    light = _unit(torch.tensor(_LIGHT))
    # The floor, the wall at the back, and the one of the two at the sides that the ray goes towards.
    far = torch.stack([-eye[1] / y, (-_ROOM - eye[2]) / z, (x.sign() * _ROOM - eye[0]) / x])
    distance, which = torch.where(far > 0, far, math.inf).min(0)
    facing = torch.stack([light[1].expand_as(x), light[2].expand_as(x), -x.sign() * light[0]])
    surfaces = torch.stack([which == 0, which > 0]) * torch.tensor([[1.0], [_MATTE]])
    return eye + distance * rays, surfaces, facing.gather(0, which[None])[0].clamp(min=0)


def _shaded(eye: Tensor, rays: Tensor, room: tuple[Tensor, Tensor, Tensor], solid: Solid) -> Float[Tensor, "4 s rays"]:
    """How much of each surface's colour, and of white, each ray sees, for each of the scales."""
    points, surfaces, facing = room
    scale = torch.linspace(_SMALLEST, _LARGEST, _SCALES)[:, None]
    lights = _lights(rays.shape[1])
    dark = _near(points, lights)
    lit = facing.repeat(_SCALES, 1)
    lit[:, dark] *= solid(points[:, None, dark] / scale, lights[:, None, dark] / scale)[0].isinf()
    maps = torch.zeros(4, *lit.shape)
    maps[:2] = surfaces[:, None] * (_AMBIENT + (1 - _AMBIENT) * lit) * _corner(points)
    middle = _near(eye, rays)
    distance, normal = solid(eye[..., None] / scale, rays[:, None, middle] / scale)
    maps[:, :, middle] = torch.where(distance.isfinite(), _gloss(normal, rays[:, middle]), maps[:, :, middle])
    return maps


def _gloss(normal: Float[Tensor, "3 s rays"], rays: Float[Tensor, "3 rays"]) -> Float[Tensor, "4 s rays"]:
    """The object's own colour and its highlight where it has these normals."""
    light = _unit(torch.tensor(_LIGHT))[:, None]
    shade = _AMBIENT + (1 - _AMBIENT) * (normal * light[..., None]).sum(0).clamp(min=0)
    white = (normal * _unit(light - rays)[:, None]).sum(0).clamp(min=0)
    for _ in range(5):  # to the 32nd power; powers are not rounded alike everywhere
        white = white.square()
    white = _SHINE * white
    nothing = torch.zeros_like(white)
    return torch.stack([nothing, nothing, shade * (1 - white), white])


def _near(origin: Tensor, rays: Float[Tensor, "3 n"]) -> Int[Tensor, " near"]:
    """The rays that come so near to the object's place that they may meet it."""
    centre = torch.tensor([0.0, 0.6 * _LARGEST, 0.0])[:, None]
    return _roots(origin - centre, rays, 0.95 * _LARGEST)[0].isfinite().nonzero()[:, 0]


def _lights(rays: int) -> Float[Tensor, "3 rays"]:
    """Towards the light, which is as wide as the rays of a pixel are many: its shadows have soft edges."""
    side = math.isqrt(rays)
    across = (torch.arange(side) % _RAYS - (_RAYS - 1) / 2) * (_SPREAD * 2 / (_RAYS - 1))
    x, z = across.repeat(side), across.repeat_interleave(side)
    light = torch.tensor(_LIGHT)[:, None]
    return torch.stack([light[0] + x, light[1].expand(rays), light[2] + z])


def _corner(points: Float[Tensor, "3 rays"]) -> Float[Tensor, " rays"]:
    """Less light gets to where walls and floor meet."""
    x, y, z = points
    near = torch.stack([y, z + _ROOM, _ROOM - x.abs()]).sort(0).values[1]
    return 1 - 0.22 / (1 + (near / 0.35).clamp(0, 1e3).square())


def _pixels(maps: Float[Tensor, "4 s rays"], size: int) -> Float[Tensor, "s 4 h w"]:
    return maps.reshape(4, -1, size, _RAYS, size, _RAYS).mean((3, 5)).transpose(0, 1)


Hit = tuple[Tensor, Tensor]
"""How far along each ray the first point of a solid is, infinite where there is none, and its normal (3, ...)."""

Solid = Callable[[Tensor, Tensor], Hit]
"""Origins and directions (3, ...) of rays -> where they meet a solid of scale 1 that stands on the floor."""


def _cube(origin: Tensor, ray: Tensor) -> Hit:
    """Of side 1."""
    centre = torch.tensor([0.0, 0.5, 0.0])[:, None, None]
    one, other = ((side - origin + centre) / ray for side in (-0.5, 0.5))
    near, axis = torch.minimum(one, other).max(0)
    far = torch.maximum(one, other).amin(0)
    normal = torch.zeros_like(ray.expand(3, *near.shape)).scatter_(0, axis[None], 1.0) * -ray.sign()
    return _first(near, far), normal


def _cylinder(origin: Tensor, ray: Tensor) -> Hit:
    """Of radius 0.52 and height 1.1: what an endless cylinder and the space between two planes have in common."""
    radius, height = 0.52, 1.1
    side_near, side_far = _roots(origin[::2], ray[::2], radius)
    floor, top = -origin[1] / ray[1], (height - origin[1]) / ray[1]
    cap_near = torch.minimum(floor, top)
    near, far = torch.maximum(side_near, cap_near), torch.minimum(side_far, torch.maximum(floor, top))
    point = origin + near * ray
    upright = torch.zeros_like(point)
    upright[1] = -ray[1].sign()
    point[1] = 0
    return _first(near, far), torch.where(cap_near > side_near, upright, point / radius)


def _sphere(origin: Tensor, ray: Tensor) -> Hit:
    """Of radius 0.62."""
    return _pill(origin, ray, 0.62, 1.24)


def _capsule(origin: Tensor, ray: Tensor) -> Hit:
    """Of radius 0.4, upright, 1.5 high."""
    return _pill(origin, ray, 0.4, 1.5)


def _pill(origin: Tensor, ray: Tensor, radius: float, height: float) -> Hit:
    """A cylinder with a half sphere on either end."""
    low, high = radius, height - radius
    near, far = _roots(origin[::2], ray[::2], radius)
    at = origin[1] + near * ray[1]
    nearest = torch.where((at >= low) & (at <= high), _first(near, far), math.inf)
    for middle in (low, high):
        centre = torch.tensor([0.0, middle, 0.0])[:, None, None]
        nearest = torch.minimum(nearest, _first(*_roots(origin - centre, ray, radius)))
    point = origin + nearest.nan_to_num(posinf=0.0) * ray
    point[1] -= point[1].clamp(low, high)
    return nearest, point / radius


def _roots(origin: Tensor, ray: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave a circle or a sphere about the origin; the other way round where they miss it."""
    a, b = ray.square().sum(0), (origin * ray).sum(0)
    inside = b * b - a * (origin.square().sum(0) - radius * radius)
    root = inside.clamp(min=0).sqrt()
    missed = inside < 0
    return torch.where(missed, math.inf, (-b - root) / a), torch.where(missed, -math.inf, (root - b) / a)


def _first(near: Tensor, far: Tensor) -> Tensor:
    """The distance of a solid that is entered at `near` and left at `far`; infinite where it is missed or behind."""
    return torch.where((near < far) & (near > 0), near, math.inf)


_SOLIDS: tuple[Solid, ...] = (_cube, _cylinder, _sphere, _capsule)
