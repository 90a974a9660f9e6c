"""Heads made of ellipsoids: 34 numbers become an image, a label of each pixel, depth and landmarks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "identity": (
            "face_width",
            "face_length",
            "jaw_width",
            "eye_spacing",
            "eye_size",
            "eye_height",
            "nose_length",
            "nose_width",
            "mouth_width",
            "lip_thickness",
            "brow_thickness",
            "iris_hue",
        ),
        "pose": ("yaw", "pitch", "roll"),
        "expression": ("mouth_open", "smile", "eye_open", "brow_raise", "brow_slant", "gaze"),
        "hair": ("hair_length", "fringe", "hair_tone"),
        "skin": ("skin_tone",),
        "light": ("light_azimuth", "light_elevation", "ambient"),
        "background": ("bg_hue", "bg_angle", "bg_freq", "cloth_hue"),
        "accessory": ("glasses", "beard"),
    }
)
"""Group -> its factors."""

NAMES = tuple(name for names in GROUPS.values() for name in names)
"""The factors in the order of the columns."""

UNIT = (
    *("iris_hue", "mouth_open", "eye_open", "hair_length", "fringe", "hair_tone", "skin_tone", "ambient"),
    *("bg_hue", "bg_freq", "cloth_hue", "glasses", "beard"),
)
"""Those from 0 to 1 (glasses are there or not); all others are from -1 to 1."""

LABELS = ("background", "face", "ear", "hair", "neck", "body", "eye", "brow", "mouth", "glasses")
"""What the labels of pixels mean."""

HEAD = frozenset({1, 2, 3, 6, 7, 8, 9})
"""The labels of a head."""
FACE = frozenset({1, 6, 7, 8, 9})
"""The labels of a face."""

_HAIR = ((0.08, 0.06, 0.05), (0.30, 0.18, 0.09), (0.80, 0.62, 0.30), (0.60, 0.22, 0.08), (0.75, 0.75, 0.75))
_SKIN = ((0.98, 0.84, 0.74), (0.90, 0.70, 0.56), (0.72, 0.50, 0.36), (0.42, 0.27, 0.19))
_PIVOT, _SHIFT = (0.0, -0.45, -0.10), (0.0, 0.06, 0.0)
_TURNING = 7  # the parts before this one are the head's


@dataclass(frozen=True)
class Rendered:
    """What a camera sees.

    Attributes:
        image: In [0, 1].
        label: See `LABELS`.
        depth: How near each pixel is, in scene units; -1 for the background.
    """

    image: Float[Tensor, "n 3 size size"]
    label: Int[Tensor, "n size size"]
    depth: Float[Tensor, "n size size"]


def neutral(n: int = 1) -> Float[Tensor, "n 34"]:
    """Heads all of whose factors are 0, but for open eyes and half of the light from everywhere."""
    x = torch.zeros(n, len(NAMES))
    x[:, NAMES.index("eye_open")] = 1.0
    x[:, NAMES.index("ambient")] = 0.5
    return x


def rotation(x: Float[Tensor, "n 34"]) -> Float[Tensor, "n 3 3"]:
    """How each head is turned: yaw first, about the vertical axis, then pitch, then roll."""
    f = _named(x)
    yaw, pitch, roll = (math.radians(most) * f[name] for name, most in (("yaw", 45), ("pitch", 20), ("roll", 15)))
    return _turn(2, -roll) @ _turn(0, -pitch) @ _turn(1, yaw)


def render(
    x: Float[Tensor, "n 34"],
    size: int = 64,
    supersample: int = 2,
    half: float = 0.8,
    *,
    unlit: bool = False,
    keep: frozenset[int] | None = None,
    backdrop: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Rendered:
    """Cast a ray through every sample of every pixel.

    Args:
        x: Factors in the order of `NAMES`.
        size: Height and width.
        supersample: Samples of a pixel in either direction.
        half: Half of what the camera sees, in scene units.
        unlit: Leaves colours as they are, so that a turned head is the same head seen from elsewhere.
        keep: Labels to show; all others get the colour of the backdrop.
        backdrop: That colour.

    >>> seen = render(neutral(), size=16)
    >>> seen.image.shape, seen.label[0, 8, 8].item()
    (torch.Size([1, 3, 16, 16]), 1)
    """
    side = size * supersample
    t = ((torch.arange(side, device=x.device) + 0.5) / side * 2 - 1) * half
    u, v = t.repeat(side), (-t).repeat_interleave(side)
    scene = _Scene(x)
    part, point, normal, near = scene.hits(u, v)
    colour, label = _paint(scene, part, point, u, v)
    if not unlit:
        colour = torch.where((part >= 0)[..., None], colour * scene.light(normal)[..., None], colour).clamp(0, 1)
    if keep is not None:
        kept = torch.isin(label, torch.tensor(sorted(keep), device=x.device))
        colour = torch.where(kept[..., None], colour, torch.tensor(backdrop, device=x.device))
    blocks = colour.reshape(len(x), size, supersample, size, supersample, 3)
    middle = slice(supersample // 2, None, supersample)
    label, depth = (a.reshape(len(x), side, side)[:, middle, middle] for a in (label, near))
    return Rendered(blocks.mean((2, 4)).permute(0, 3, 1, 2).contiguous(), label, depth)


def landmarks(x: Float[Tensor, "n 34"], half: float = 0.8) -> Float[Tensor, "n 16 3"]:
    """Points of each face: x to the right and y down, from -1 to 1 within the image, and z towards the camera.

    For the eye at the left and then the right of the image its centre, inner and outer corner, inner and outer end of
    the brow; the mouth's left and right corner, top and bottom; the tip of the nose and the chin.
    """
    scene, f, m = _Scene(x), _named(x), _marks(_named(x))
    zero = torch.zeros_like(m.ex)
    flat = []
    for s in (-1, 1):
        flat += [(s * (m.ex + side * 0.085 * m.es), m.ey) for side in (0, -1, 1)]
        flat += [(s * (m.ex + 0.095 * q), m.brow(f, torch.full_like(zero, q))) for q in (-1.0, 1.0)]
    flat += [(s * m.mw, m.my + 0.048 * f["smile"]) for s in (-1, 1)]
    lips = m.my - 0.032 * f["smile"]
    flat += [(zero, lips + 0.035 * f["mouth_open"]), (zero, lips - 0.14 * f["mouth_open"])]
    xy = torch.stack([torch.stack(point, 1) for point in flat], 1)
    inside = [1 - ((xy - scene.centre[:, None, k, :2]) / scene.axes[:, None, k, :2]).square().sum(2) for k in (0, 1)]
    surface = [
        torch.where(r >= 0, scene.centre[:, k, 2:] + scene.axes[:, k, 2:] * r.clamp(min=0).sqrt(), -1.0)
        for k, r in enumerate(inside)
    ]
    points = torch.cat([xy, torch.maximum(*surface)[..., None]], 2)
    nose = scene.centre[:, 2] + scene.axes[:, 2] * torch.tensor([0.0, -0.3, 1.0], device=x.device)
    chin = scene.centre[:, 1] + scene.axes[:, 1] * torch.tensor([0.0, -0.97, 0.24], device=x.device)
    points = torch.cat([points, nose[:, None], chin[:, None]], 1)
    world = (points - scene.pivot) @ scene.rotation.mT + scene.pivot + scene.shift
    return world / torch.tensor([half, -half, 1.0], device=x.device)


# ----------------------------------------------------------------------------------------------------------- geometry


class _Scene:
    """Nine ellipsoids for each row of factors: cranium, jaw, nose, two ears, hair cap, long hair, neck, body."""

    def __init__(self, x: Float[Tensor, "n 34"]) -> None:
        self.factors = f = _named(x)
        self.rotation = rotation(x)
        self.pivot, self.shift = (torch.tensor(v, device=x.device) for v in (_PIVOT, _SHIFT))
        w, self.long, j = 1 + 0.18 * f["face_width"], 1 + 0.12 * f["face_length"], 1 + 0.25 * f["jaw_width"]
        long, mo, hl, nl, nw = self.long, f["mouth_open"], f["hair_length"], f["nose_length"], f["nose_width"]
        ear = (0.05, 0.10, 0.07)
        parts: list[tuple[Sequence[Tensor | float], Sequence[Tensor | float]]] = [
            ((0, 0.10, -0.05), (0.40 * w, 0.46 * long, 0.45)),
            ((0, -0.20 * long - 0.06 * mo, 0.05), (0.29 * j, 0.30 * long, 0.33)),
            ((0, -0.04 - 0.04 * nl, 0.38), (0.06 * (1 + 0.5 * nw), 0.11 * (1 + 0.5 * nl), 0.10 * (1 + 0.3 * nl))),
            ((-0.40 * w, 0, -0.05), ear),
            ((0.40 * w, 0, -0.05), ear),
            ((0, 0.16, -0.10), (0.46 * w, 0.48 * long, 0.49)),
            ((0, 0.12 - 0.36 * hl, -0.22), (0.44 * w, 0.16 + 0.58 * hl, 0.24)),
            ((0, -0.55, -0.12), (0.18, 0.40, 0.18)),
            ((0, -1.02, -0.15), (0.80, 0.40, 0.40)),
        ]
        self.centre, self.axes = (torch.stack([_row(part[i], w) for part in parts], 1) for i in (0, 1))

    def hits(self, u: Float[Tensor, " s"], v: Float[Tensor, " s"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each ray the part it meets first (-1 for none), where in the part's frame, the normal and the depth."""
        n, s = len(self.rotation), len(u)
        world = torch.stack([u, v, torch.full_like(u, 3.0)], 1).expand(n, s, 3)
        ahead = torch.tensor([0.0, 0.0, -1.0], device=u.device).expand(n, 1, 3)
        head = (world - self.pivot - self.shift) @ self.rotation + self.pivot, ahead @ self.rotation
        part = torch.full((n, s), -1, device=u.device)
        way = torch.full((n, s), torch.inf, device=u.device)
        point, normal = torch.zeros_like(head[0]), torch.zeros_like(head[0])
        for k in range(self.centre.shape[1]):
            origin, direction = head if k < _TURNING else (world, ahead)
            c, axes = self.centre[:, None, k], self.axes[:, None, k]
            q, e = (origin - c) / axes, direction / axes
            a, b, rest = e.square().sum(2), (q * e).sum(2), q.square().sum(2) - 1
            root = b.square() - a * rest
            far = (-b - root.clamp(min=0).sqrt()) / a
            at = origin + far[..., None] * direction
            first = (root > 0) & (far < way)
            if k == 5:
                first &= self._capped(at)
            slope = torch.nn.functional.normalize((at - c) / axes.square(), dim=2)
            slope = slope @ self.rotation.mT if k < _TURNING else slope
            part, way = torch.where(first, k, part), torch.where(first, far, way)
            point, normal = (torch.where(first[..., None], *pair) for pair in ((at, point), (slope, normal)))
        return part, point, normal, torch.where(part >= 0, 3 - way, -1.0)

    def _capped(self, at: Float[Tensor, "n s 3"]) -> Bool[Tensor, "n s"]:
        """Whether hair grows there."""
        f = {name: value[:, None] for name, value in self.factors.items()}
        x, y, z = at.unbind(2)
        front = (0.46 - 0.24 * f["fringe"]) * self.long[:, None] - 0.9 * x.square() * (1 - 0.5 * f["fringe"])
        return torch.where(z > 0.05, y > front, y > 0.02 - 0.30 * f["hair_length"])

    def light(self, normal: Float[Tensor, "n s 3"]) -> Float[Tensor, "n s"]:
        """How bright the sun and everything else make a surface."""
        f = self.factors
        azimuth, elevation = math.radians(70) * f["light_azimuth"], math.radians(40) * f["light_elevation"]
        sun = [azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()]
        ambient = (0.25 + 0.35 * f["ambient"])[:, None]
        return ambient + 1.1 * (1 - ambient) * (normal @ torch.stack(sun, 1)[..., None])[..., 0].clamp(min=0)


@dataclass(frozen=True)
class _Marks:
    """Where the features of each face are: eyes, how large and how open they are, height and width of the mouth."""

    ex: Tensor
    ey: Tensor
    es: Tensor
    eo: Tensor
    my: Tensor
    mw: Tensor

    def brow(self, f: Mapping[str, Tensor], q: Tensor) -> Tensor:
        """Height of the brow at -1 (inner end) to 1."""
        return self.ey + 0.115 + 0.05 * f["brow_raise"] + 0.05 * f["brow_slant"] * q - 0.012 * q.square()


def _marks(f: Mapping[str, Tensor]) -> _Marks:
    return _Marks(
        ex=0.155 * (1 + 0.25 * f["eye_spacing"]),
        ey=0.09 + 0.045 * f["eye_height"],
        es=1 + 0.3 * f["eye_size"],
        eo=0.12 + 0.88 * f["eye_open"],
        my=-0.28 * (1 + 0.12 * f["face_length"]) - 0.04 * f["mouth_open"],
        mw=0.145 * (1 + 0.3 * f["mouth_width"]) * (1 + 0.15 * f["smile"]),
    )


# ----------------------------------------------------------------------------------------------------------- painting


class _Canvas:
    """Colour and label of every sample; what is painted later covers what was there."""

    def __init__(self, colour: Float[Tensor, "n s 3"]) -> None:
        self.colour = colour
        self.label = torch.zeros(colour.shape[:2], dtype=torch.int64, device=colour.device)

    def paint(self, where: Bool[Tensor, "n s"], colour: Tensor | tuple[float, float, float], label: int) -> None:
        """Cover some samples."""
        colour = torch.tensor(colour, device=self.colour.device) if isinstance(colour, tuple) else colour[:, None]
        self.colour = torch.where(where[..., None], colour, self.colour)
        self.label = torch.where(where, label, self.label)


def _paint(
    scene: _Scene, part: Int[Tensor, "n s"], point: Float[Tensor, "n s 3"], u: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Colour and label of every sample."""
    f = {name: value[:, None] for name, value in scene.factors.items()}
    hair, skin = _blend(_HAIR, scene.factors["hair_tone"]), _blend(_SKIN, scene.factors["skin_tone"])
    canvas = _Canvas(_stripes(f, u, v))
    canvas.paint((part >= 0) & (part <= 2), skin, 1)
    canvas.paint((part == 3) | (part == 4), 0.95 * skin, 2)
    canvas.paint((part == 5) | (part == 6), hair, 3)
    canvas.paint(part == 7, 0.9 * skin, 4)
    canvas.paint(part == 8, _hsv(scene.factors["cloth_hue"], 0.6, 0.6), 5)
    x, y, z = point.unbind(2)
    flat = ((part == 0) | (part == 1)) & (z > 0.02)
    marks = _marks(f)
    beard = 0.75 * f["beard"] * ((marks.my + 0.08 - y) / 0.06).clamp(0, 1) * flat
    canvas.colour = canvas.colour + beard[..., None] * (hair[:, None] - canvas.colour)
    for side in (-1, 1):
        _paint_eye(canvas, flat, x, y, side, f, marks, hair, skin)
    _paint_mouth(canvas, flat, x, y, f, marks, skin)
    c, axes = scene.centre[:, None, 2], scene.axes[:, None, 2]
    nostril = (part == 2) & (y < c[..., 1] - 0.55 * axes[..., 1]) & ((x.abs() - 0.5 * axes[..., 0]).abs() < 0.014)
    canvas.paint(nostril, 0.5 * skin, 1)
    worn = (part >= 0) & (part <= 2) & (z > 0) & (f["glasses"] > 0.5)
    for side in (-1, 1):
        ring = ((x - side * marks.ex).square() + (1.1 * (y - marks.ey)).square()).sqrt()
        canvas.paint(worn & ((ring - 0.125).abs() < 0.014), (0.06, 0.06, 0.08), 9)
    beside = (x.abs() < marks.ex - 0.12) | (x.abs() > marks.ex + 0.12)
    canvas.paint(worn & ((y - marks.ey - 0.01).abs() < 0.014) & beside, (0.06, 0.06, 0.08), 9)
    return canvas.colour, canvas.label


def _paint_eye(
    canvas: _Canvas,
    flat: Tensor,
    x: Tensor,
    y: Tensor,
    side: int,
    f: Mapping[str, Tensor],
    marks: _Marks,
    hair: Tensor,
    skin: Tensor,
) -> None:
    """One eye with its lid, iris, pupil and brow."""
    dx, dy = x - side * marks.ex, y - marks.ey
    rx, ry = 0.085 * marks.es, 0.052 * marks.es * marks.eo
    lid = (dx / (1.15 * rx)).square() + (dy / (1.15 * ry + 0.014)).square() < 1
    eye = flat & ((dx / rx).square() + (dy / ry).square() < 1)
    from_pupil = ((dx - 0.035 * f["gaze"]).square() + dy.square()).sqrt()
    canvas.paint(flat & lid, 0.45 * skin, 6)
    canvas.paint(eye, (0.96, 0.96, 0.96), 6)
    canvas.paint(eye & (from_pupil < 0.045 * marks.es), _hsv(f["iris_hue"][:, 0], 0.7, 0.55), 6)
    canvas.paint(eye & (from_pupil < 0.021 * marks.es), (0.02, 0.02, 0.02), 6)
    q = (side * x - marks.ex) / 0.095
    close = (y - marks.brow(f, q)).abs() < 0.020 * (1 + 0.6 * f["brow_thickness"])
    canvas.paint(flat & (q.abs() < 1) & close, 0.55 * hair, 7)


def _paint_mouth(
    canvas: _Canvas, flat: Tensor, x: Tensor, y: Tensor, f: Mapping[str, Tensor], marks: _Marks, skin: Tensor
) -> None:
    """Lips, what is between them, and teeth."""
    q = x / marks.mw
    arc = (1 - q.square()).clamp(min=0).sqrt()
    opening = 0.14 * f["mouth_open"] * arc
    lip = 0.030 * (1 + 0.6 * f["lip_thickness"]) * arc
    dy = y - marks.my - 0.08 * f["smile"] * (q.square() - 0.4)
    mouth, top = flat & (q.abs() < 1), 0.25 * opening
    red = torch.tensor([0.85, 0.42, 0.42], device=x.device)
    canvas.paint(mouth & (dy > -opening - lip) & (dy < lip + top), skin * red, 8)
    canvas.paint(mouth & (dy > -opening) & (dy < top), (0.25, 0.05, 0.06), 8)
    canvas.paint(mouth & (dy > -0.15 * opening) & (dy < top) & (f["mouth_open"] > 0.15), (0.95, 0.95, 0.92), 8)


def _stripes(f: Mapping[str, Tensor], u: Tensor, v: Tensor) -> Float[Tensor, "n s 3"]:
    angle = f["bg_angle"] * math.pi / 2
    wave = torch.sin(2 * (2 + 8 * f["bg_freq"]) * (u * angle.cos() + v * angle.sin()) / 0.80)
    return _hsv(f["bg_hue"], 0.45, 0.45 + 0.40 * (0.5 + 0.5 * wave))


def _hsv(hue: Tensor, saturation: float, value: Tensor | float) -> Float[Tensor, "*batch 3"]:
    """Red, green and blue."""
    k = (torch.tensor([5.0, 3.0, 1.0], device=hue.device) + 6 * hue[..., None]) % 6
    level = value[..., None] if isinstance(value, Tensor) else value
    return level * (1 - saturation * torch.minimum(k, 4 - k).clamp(0, 1))


def _blend(knots: Sequence[tuple[float, float, float]], tone: Float[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """The colour at 0..1 of the way along evenly spaced knots."""
    table = torch.tensor(knots, device=tone.device)
    place = tone.clamp(0, 1) * (len(knots) - 1)
    low = place.long().clamp(max=len(knots) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def _turn(axis: int, angle: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Right-handed rotations about an axis."""
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    turn = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    turn[:, i, i] = turn[:, j, j] = angle.cos()
    turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
    return turn


def _row(values: Sequence[Tensor | float], like: Tensor) -> Float[Tensor, "n 3"]:
    return torch.stack([v if isinstance(v, Tensor) else torch.full_like(like, v) for v in values], 1)


def _named(x: Float[Tensor, "n 34"]) -> dict[str, Float[Tensor, " n"]]:
    return dict(zip(NAMES, x.float().unbind(1), strict=True))
