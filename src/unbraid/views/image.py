"""Views of images (B, C, H, W) in [0, 1]: every item its own draw, the whole batch at once.

Crops and blurs are products with small matrices, one for the rows and one for the columns of each image, which any
kernel fits. Colours follow the arithmetic of ITU-R 601 grey and of the hexagonal cone (HSV).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from unbraid.views.view import Chance, Draw, View

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601)."""

Range = tuple[float, float]
Kernel = Literal["bilinear", "bicubic"]

_SMALL = 64 * 64  # pixels up to which matrices are faster than images one by one, on a processor
_AT_HAND = 2**18  # numbers that stay near a processor from one change to the next
_ATTEMPTS = 10  # boxes that are tried before the whole image is taken, as published


def _between(low: float, high: float, u: Tensor) -> Tensor:
    return low + (high - low) * u


def _each(value: Tensor) -> Float[Tensor, "batch 1 1 1"]:
    return value[:, None, None, None]


# ------------------------------------------------------------------------------------------------------- geometry


@dataclass(frozen=True)
class Crop(View):
    """A random box of the image, resized.

    The box has a share of the area drawn from `scale` and a logarithm of the aspect ratio drawn evenly from `ratio`;
    its sides are whole pixels; where none of ten fits, it is the largest in the middle with an allowed ratio.

    Attributes:
        size: Height and width of the view; None keeps those of the image.
        scale: Least and largest share of the area.
        ratio: Least and largest ratio of width to height.
        kernel: "bilinear" or "bicubic" (a = -0.5).
        antialias: Whether the kernel widens where the box shrinks.
    """

    size: int | None = None
    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    kernel: Kernel = "bicubic"
    antialias: bool = True

    def after(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(shape) if self.size is None else (*shape[:2], self.size, self.size)

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        """The boxes: top, left, height, width."""
        (count, _, height, width), (low, high) = shape, self.ratio
        u = at.rand((count, 2, _ATTEMPTS))
        area = height * width * _between(*self.scale, u[:, 0])
        ratio = torch.exp(_between(math.log(low), math.log(high), u[:, 1]))
        w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        first = fits.to(torch.uint8).argmax(1, keepdim=True)
        w, h = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0]
        corner = at.rand((count, 2))
        top = (corner[:, 0] * (height - h + 1)).floor()
        left = (corner[:, 1] * (width - w + 1)).floor()
        fallback = self._middle(height, width)
        box = torch.stack([top, left, h, w], 1)
        return {"box": torch.where(fits.any(1, keepdim=True), box, box.new_tensor(fallback))}

    def _middle(self, height: int, width: int) -> tuple[int, int, int, int]:
        low, high = self.ratio
        h, w = height, width
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        return (height - h) // 2, (width - w) // 2, h, w

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        height, width = self.after(x.shape)[2:]
        if x.device.type == "cpu" and x[0, 0].numel() > _SMALL and (self.antialias or self.kernel == "bilinear"):
            return self._one_by_one(x, draw["box"].long().tolist(), height, width)
        top, left, h, w = draw["box"].unbind(1)
        down = sampling(top, h, x.shape[2], height, self.kernel, self.antialias)
        across = sampling(left, w, x.shape[3], width, self.kernel, self.antialias)
        return _rows_and_columns(x, down, across).clamp_(0, 1)

    def _one_by_one(self, x: Tensor, boxes: list[list[int]], height: int, width: int) -> Tensor:
        """The same for large images, where most entries of the matrices would be 0."""
        out = x.new_empty(len(x), x.shape[1], height, width)
        for i, (top, left, h, w) in enumerate(boxes):
            cut = x[i : i + 1, :, top : top + h, left : left + w]
            out[i] = interpolate(cut, (height, width), mode=self.kernel, antialias=self.antialias)[0]
        return out.clamp_(0, 1)


def sampling(
    start: Float[Tensor, " batch"],
    length: Float[Tensor, " batch"],
    before: int,
    after: int,
    kernel: Kernel = "bicubic",
    antialias: bool = True,
) -> Float[Tensor, "batch after before"]:
    """Weights of the pixels of one axis in the resized box; nothing outside the box counts.

    >>> half = sampling(torch.tensor([0.0]), torch.tensor([4.0]), before=4, after=2, kernel="bilinear")
    >>> half[0, 0].tolist()  # a triangle over four pixels, of which the box has three
    [0.4285714328289032, 0.4285714328289032, 0.1428571492433548, 0.0]
    """
    step = (length / after)[:, None, None]
    wide = step.clamp(min=1) if antialias else 1.0
    pixel = torch.arange(before, device=start.device, dtype=start.dtype)
    place = torch.arange(after, device=start.device, dtype=start.dtype)[:, None]
    begin = start[:, None, None]
    off = (pixel - begin - (place + 0.5) * step + 0.5) / wide
    weight = (1 - off.abs()).clamp_(min=0) if kernel == "bilinear" else _cubic(off.abs_())
    weight = weight * ((pixel >= begin) & (pixel < begin + length[:, None, None]))
    return weight / weight.sum(2, keepdim=True)


def _cubic(d: Tensor, a: float = -0.5) -> Tensor:
    """Keys's kernel of distances."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d < 1, near, torch.where(d < 2, far, 0.0))


def _rows_and_columns(
    x: Float[Tensor, "batch c h w"], down: Float[Tensor, "batch oh h"], across: Float[Tensor, "batch ow w"]
) -> Float[Tensor, "batch c oh ow"]:
    wide = torch.bmm(x.flatten(1, 2), across.mT).view(*x.shape[:3], -1)
    return down[:, None] @ wide


@dataclass(frozen=True)
class Flip(View):
    """Mirrors the image, left for right.

    Attributes:
        p: Probability of each image.
    """

    p: float = 0.5

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"on": at.rand(shape[:1]) < self.p}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        rows = draw["on"].nonzero()[:, 0]
        return x.index_copy_(0, rows, x[rows].flip(3)) if len(rows) else x


@dataclass(frozen=True)
class Shift(View):
    """Shifts the image by whole pixels: a random crop of the image with a border around it.

    Attributes:
        pixels: Largest shift either way.
        border: What comes in: black ("constant") or the image mirrored ("reflect").
    """

    pixels: int = 4
    border: Literal["constant", "reflect"] = "constant"

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        """How many pixels of the border are seen above and on the left (B, 2)."""
        return {"corner": at.randint(2 * self.pixels + 1, (shape[0], 2))}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        wide = pad(x, [self.pixels] * 4, mode=self.border)
        rows, columns = (draw["corner"][:, i, None] + torch.arange(x.shape[2 + i], device=x.device) for i in range(2))
        item = torch.arange(len(x), device=x.device)[:, None, None]
        return wide[item, :, rows[:, :, None], columns[:, None]].movedim(3, 1).contiguous()


@dataclass(frozen=True)
class Affine(View):
    """Turns, scales and shifts the image about its middle; bilinear, black beyond the border.

    Attributes:
        turn: Largest angle either way, in degrees.
        scale: Least and largest magnification.
        shift: Largest shift either way, as a share of the side.
    """

    turn: float = 14.0
    scale: Range = (0.8, 1.2)
    shift: float = 0.1

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        """The angle in radians, the magnification, the shifts in half sides."""
        u = at.rand((shape[0], 4))
        angle = math.radians(self.turn) * (2 * u[:, 0] - 1)
        return {"angle": angle, "scale": _between(*self.scale, u[:, 1]), "shift": 2 * self.shift * (2 * u[:, 2:] - 1)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        cos, sin = draw["angle"].cos() / draw["scale"], draw["angle"].sin() / draw["scale"]
        turn = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
        back = -(turn @ draw["shift"][:, :, None])
        grid = affine_grid(torch.cat([turn, back], 2), list(x.shape), align_corners=False)
        seen: Tensor = grid_sample(x, grid, align_corners=False)
        return seen


# --------------------------------------------------------------------------------------------------------- colours


@dataclass(frozen=True)
class Jitter(View):
    """Changes brightness, contrast, saturation and hue, each image in its own order of the four, as published.

    Factors are drawn evenly about 1, shifts of the hue about 0 in turns of the colour circle. Images of one channel
    have neither saturation nor hue.

    Attributes:
        brightness: Largest deviation of its factor from 1.
        contrast: Likewise; about the mean grey of the image.
        saturation: Likewise; about the grey of the pixel.
        hue: Largest shift, at most 0.5.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        """The four amounts (B, 4), and which comes first, second, third and last (B, 4)."""
        most = (self.brightness, self.contrast, self.saturation)
        u = at.rand((shape[0], 4))
        factors = [_between(max(0.0, 1 - m), 1 + m, u[:, i]) for i, m in enumerate(most)]
        shift = _between(-self.hue, self.hue, u[:, 3])
        return {"amount": torch.stack([*factors, shift], 1), "order": at.rand((shape[0], 4)).argsort(1)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous()
        if plain and x.shape[1] == 3 and (kernel := _kernel()):
            kernel(x.numpy().reshape(*x.shape[:2], -1), draw["amount"].numpy(), draw["order"].numpy())
            return x
        many = len(x) if x.device.type != "cpu" else max(1, _AT_HAND // max(1, x[:1].numel()))
        for first in range(0, len(x), many):
            rows = slice(first, first + many)
            self._four_changes(x[rows], draw["amount"][rows], draw["order"][rows])
        return x

    def _four_changes(self, x: Tensor, amount: Tensor, order: Tensor) -> None:
        """The first change of every image, then the second...; all but the hue are one stretch about some grey."""
        for which in order.unbind(1):
            factor = amount.gather(1, which[:, None])[:, 0]
            turned = which == _HUE
            rows = turned.nonzero()[:, 0]
            if len(rows) < len(x):
                about = torch.stack([which == _CONTRAST, which == _SATURATION], 1).to(x.dtype)
                stretch_(x, torch.where(turned, 1.0, factor), about)
            if len(rows) and x.shape[1] == 3:
                x.index_copy_(0, rows, shift_hue(x[rows], factor[rows]))


_CONTRAST, _SATURATION, _HUE = 1, 2, 3


def _kernel() -> Callable[..., None] | None:
    """The four changes as machine code, where numba is there: on a processor some ten times as fast."""
    try:
        from unbraid.views._jitter import jitter_
    except ImportError:
        return None
    return jitter_


def stretch_(x: Float[Tensor, "batch c h w"], factor: Float[Tensor, " batch"], about: Float[Tensor, "batch 2"]) -> None:
    """Multiply distances from a middle, in place, and clamp to [0, 1].

    Args:
        x: Images.
        factor: By how much.
        about: Weights of the image's mean grey and of each pixel's grey in the middle; both 0 for black.
    """
    if x.shape[1] != 3:
        factor = torch.where(about[:, 1] > 0, 1.0, factor)  # every pixel is as grey as it can be
    middle = _each(about[:, 0] * grey(x.mean((2, 3), keepdim=True)).flatten() * (1 - factor))
    if about[:, 1].any():
        middle = grey(x).mul_(_each(about[:, 1] * (1 - factor))).add_(middle)
    x.mul_(_each(factor)).add_(middle).clamp_(0, 1)


def shift_hue(x: Float[Tensor, "batch 3 h w"], shift: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 h w"]:
    """Turn the hue by a share of the circle within -0.5..0.5, value and saturation kept.

    With value V, chroma C and hue in sixths of the circle, a channel is V - C clamp(2 - d, 0, 1), where d is how far
    the hue is from the one opposite to the channel's own: cyan, magenta, yellow.
    """
    r, g, b = x.unbind(1)
    # Sorted, and 1 where a swap was needed; masks by arithmetic, which is many times as fast as `torch.where`.
    high, low = torch.maximum(g, b), torch.minimum(g, b)
    value, middle = torch.maximum(r, high), torch.minimum(r, high)
    blue, other = ((d * 1e30).clamp_(0, 1) for d in (b - g, high - r))
    chroma = value - torch.minimum(middle, low)
    sector = other.mul_(blue * 12 - 2).sub_(blue, alpha=6)
    hue = (middle - low).div_(chroma.clamp(min=1e-30)).add_(sector).abs_().add_((6 * shift)[:, None, None])
    turned = torch.empty_like(x)
    # Distances on a circle of length 6, by folding twice: right for numbers that are at most 9 apart.
    for channel, opposite in zip(turned.unbind(1), (3, 5, 1), strict=True):
        torch.sub(hue, opposite, out=channel)
        channel.abs_().sub_(3).abs_().sub_(3).abs_().neg_().add_(2).clamp_(0, 1)
        torch.addcmul(value, channel, chroma, value=-1, out=channel)
    return turned


def grey(x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch 1 h w"]:
    """Grey of ITU-R 601; images without three channels give the mean of theirs."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    r, g, b = x[:, :1], x[:, 1:2], x[:, 2:]
    return (r * GREY[0]).add_(g, alpha=GREY[1]).add_(b, alpha=GREY[2])


@dataclass(frozen=True)
class Grey(View):
    """Takes the colour away."""

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return grey(x).repeat(1, x.shape[1], 1, 1)


@dataclass(frozen=True)
class Solarise(View):
    """Inverts what is bright.

    Attributes:
        threshold: The least value that is inverted.
    """

    threshold: float = 128 / 255

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return torch.where(x >= self.threshold, 1 - x, x, out=x)


# ----------------------------------------------------------------------------------------------------- blur and noise


@dataclass(frozen=True)
class Blur(View):
    """Gaussian blur; the image is mirrored at its border.

    Attributes:
        sigma: Least and largest standard deviation in pixels.
        radius: Pixels on each side that count; None for 4 of the largest standard deviations.
    """

    sigma: Range = (0.1, 2.0)
    radius: int | None = None

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"sigma": _between(*self.sigma, at.rand(shape[:1]))}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        radius = math.ceil(4 * self.sigma[1]) if self.radius is None else self.radius
        down = gaussian(draw["sigma"], x.shape[2], radius)
        across = down if x.shape[3] == x.shape[2] else gaussian(draw["sigma"], x.shape[3], radius)
        return _rows_and_columns(x, down, across)


def gaussian(sigma: Float[Tensor, " batch"], size: int, radius: int) -> Float[Tensor, "batch size size"]:
    """Weights of the pixels of one axis in the blurred ones, folded back at the border without repeating it."""
    radius = min(radius, size - 1)
    reach = torch.arange(-radius, radius + 1, device=sigma.device)
    weight = torch.exp(-(reach / sigma[:, None]).square() / 2)
    weight = weight / weight.sum(1, keepdim=True)
    place = torch.arange(size, device=sigma.device)
    pixel = (place[:, None] + reach).abs()
    pixel = torch.where(pixel > size - 1, 2 * (size - 1) - pixel, pixel).expand(len(sigma), -1, -1)
    out = weight.new_zeros(len(sigma), size, size)
    return out.scatter_add_(2, pixel, weight[:, None].expand_as(pixel))


@dataclass(frozen=True)
class Noise(View):
    """Multiplies each image by a gain and adds normal noise to every pixel.

    Attributes:
        gain: Least and largest gain.
        sigma: Standard deviation of the noise.
    """

    gain: Range = (0.7, 1.3)
    sigma: float = 0.1

    def draw(self, shape: Sequence[int], at: Chance) -> Draw:
        return {"gain": _between(*self.gain, at.rand(shape[:1])), "noise": at.randn(shape)}

    def apply(self, x: Tensor, draw: Draw) -> Tensor:
        return (x * _each(draw["gain"])).add_(draw["noise"], alpha=self.sigma)
