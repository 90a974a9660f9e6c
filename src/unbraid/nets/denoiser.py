"""Networks that say what noise is in an item, given the step and a code of the item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unbraid.ops.diffusion import Noise


def time_embedding(t: Int[Tensor, " batch"], width: int, slowest: float = 10_000.0) -> Float[Tensor, "batch width"]:
    """Cosines and sines of the step, at frequencies from 1 to 1 / `slowest`.

    >>> time_embedding(torch.tensor([0, 5]), 6).shape
    torch.Size([2, 6])
    """
    half = width // 2
    frequency = torch.exp(-math.log(slowest) * torch.arange(half, device=t.device) / half)
    angle = t[:, None].float() * frequency
    return functional.pad(torch.cat([angle.cos(), angle.sin()], 1), (0, width % 2))


class _Conditioned(nn.Module):
    """The step and, where there is one, the code as one vector: an embedding of each, added."""

    def __init__(self, width: int, out: int, code: int) -> None:
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
        self.code = nn.Linear(code, out) if code else None

    def forward(
        self, t: Int[Tensor, " batch"], code: Float[Tensor, "batch code"] | None = None
    ) -> Float[Tensor, "batch out"]:
        joined: Tensor = self.time(time_embedding(t, self.width))
        return joined if self.code is None else joined + self.code(code)


class Half(NamedTuple):
    """A denoiser half way through.

    Attributes:
        x: The noisy items.
        t: Their steps.
        h: What its first half made of them.
        kept: What it kept for the second half to join again, the last first to be joined.
        condition: The embedding of the step.
    """

    x: Float[Tensor, "batch *item"]
    t: Int[Tensor, " batch"]
    h: Tensor
    kept: tuple[Tensor, ...]
    condition: Float[Tensor, "batch width"]


@runtime_checkable
class Denoiser(Protocol):
    """A denoiser in two halves, the second of which can have a double that sees a code as well."""

    def first(self, x: Float[Tensor, "batch *item"], t: Int[Tensor, " batch"]) -> Half:
        """The first half."""

    def rest(self, half: Half) -> Float[Tensor, "batch *item"]:
        """The noise in each item."""

    def shift(self, code: int) -> nn.Module:
        """A new network (half, code) -> what to add to the items, built as the second half; 0 at first."""


class Shift(nn.Module):
    """The double of a second half, after an embedding of the code.

    Args:
        code: Numbers of the code.
        width: Of the embedding.
        second: (half, embedding) -> items.
    """

    def __init__(self, code: int, width: int, second: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Linear(code, width)
        self.second = second

    def forward(self, half: Half, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch *item"]:
        """What the code has to add."""
        added: Tensor = self.second(half, self.embed(code))
        return added


class UNetDenoiser(nn.Module):
    """The U-Net of improved-diffusion: residual blocks that the step scales and shifts, attention on small maps.

    Args:
        channels: Channels of the images.
        size: Height and width of the images.
        code: Numbers of the code; 0 for none.
        width: Channels of the first map.
        factors: Of the channels at each halving of the map.
        blocks: Residual blocks at each size.
        attention: Sides of the maps on which positions attend to each other.
        heads: Of the attention.

    Source:
        Nichol and Dhariwal (2021); improved-diffusion, unet.py, with scale-shift norms.

    >>> net = UNetDenoiser(1, 16, code=8, width=8, factors=(1, 2), blocks=1, attention=(8,), heads=2)
    >>> net(torch.zeros(2, 1, 16, 16), torch.tensor([0, 3]), torch.zeros(2, 8)).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        channels: int,
        size: int,
        code: int,
        width: int = 128,
        factors: Sequence[int] = (1, 2, 2),
        blocks: int = 3,
        attention: Sequence[int] = (16, 8),
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.condition = _Conditioned(width, 4 * width, code)
        self.start = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        kept, here, sides = [width], width, [size]
        for level, factor in enumerate(factors):
            for _ in range(blocks):
                self.down.append(_Stack(here, width * factor, 4 * width, sides[-1] in attention, heads))
                here = width * factor
                kept.append(here)
            if level < len(factors) - 1:
                self.down.append(_Halve(here))
                kept.append(here)
                sides.append(-(-sides[-1] // 2))
        self._second = partial(
            _UNetHalf, channels, width, tuple(factors), blocks, tuple(attention), heads, tuple(kept), tuple(sides)
        )
        self.second = self._second()

    def forward(
        self, x: Float[Tensor, "batch c size size"], t: Int[Tensor, " batch"], code: Float[Tensor, "batch code"]
    ) -> Float[Tensor, "batch c size size"]:
        """The noise in each image."""
        return self.rest(self.first(x, t, code))

    def first(
        self,
        x: Float[Tensor, "batch c size size"],
        t: Int[Tensor, " batch"],
        code: Float[Tensor, "batch code"] | None = None,
    ) -> Half:
        """The way down."""
        condition = self.condition(t, code)
        h = self.start(x)
        kept = [h]
        for module in self.down:
            h = module(h, condition)
            kept.append(h)
        return Half(x, t, h, tuple(kept), condition)

    def rest(self, half: Half) -> Float[Tensor, "batch c size size"]:
        """The noise in each image: the middle, and the way up."""
        noise: Tensor = self.second(half)
        return noise

    def shift(self, code: int) -> Shift:
        """A new middle and way up that see a code in their own scales and shifts."""
        width = 4 * self.condition.width
        return Shift(code, width, self._second(coded=True))


class _UNetHalf(nn.Module):
    """The middle and the way up of a U-Net.

    Args:
        channels: Of the images.
        width: Channels of the first map.
        factors: Of the channels at each size.
        blocks: Residual blocks at each size, less one.
        attention: Sides of the maps with attention.
        heads: Of the attention.
        kept: Channels of what the way down keeps.
        sides: Of the maps.
        coded: Whether an embedded code comes with the embedded step.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        factors: tuple[int, ...],
        blocks: int,
        attention: tuple[int, ...],
        heads: int,
        kept: tuple[int, ...],
        sides: tuple[int, ...],
        *,
        coded: bool = False,
    ) -> None:
        super().__init__()
        joined, here = list(kept), kept[-1]
        stack = partial(_Stack, condition=4 * width, heads=heads, coded=coded)
        self.middle = nn.ModuleList([stack(here, here, attend=True), stack(here, here, attend=False)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(factors))):
            for block in range(blocks + 1):
                self.up.append(stack(here + joined.pop(), width * factors[level], attend=sides[level] in attention))
                here = width * factors[level]
                grow = level > 0 and block == blocks
                self.grow.append(_Double(here, sides[level - 1]) if grow else nn.Identity())
        self.read = nn.Sequential(norm(here), nn.SiLU(), _zero(nn.Conv2d(here, channels, 3, padding=1)))

    def forward(self, half: Half, code: Float[Tensor, "batch width"] | None = None) -> Float[Tensor, "batch c h w"]:
        h, kept = half.h, list(half.kept)
        for module in self.middle:
            h = module(h, half.condition, code)
        for stack, grow in zip(self.up, self.grow, strict=True):
            h = grow(stack(torch.cat([h, kept.pop()], 1), half.condition, code))
        read: Tensor = self.read(h)
        return read


def norm(channels: int) -> nn.GroupNorm:
    """Norm of 32 groups, or as many as go into the channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _zero(module: nn.Conv2d | nn.Linear | nn.Conv1d) -> nn.Module:
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


class _Stack(nn.Module):
    """A residual block, and attention behind it where it is wanted."""

    def __init__(self, before: int, after: int, condition: int, attend: bool, heads: int, coded: bool = False) -> None:
        super().__init__()
        self.enter = nn.Sequential(norm(before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(condition, 2 * after))
        self.norm = norm(after)
        self.leave = nn.Sequential(nn.SiLU(), _zero(nn.Conv2d(after, after, 3, padding=1)))
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.attend = Attention(after, heads) if attend else nn.Identity()
        self.code = nn.Sequential(nn.SiLU(), nn.Linear(condition, 2 * after)) if coded else None

    def forward(self, x: Tensor, condition: Tensor, code: Tensor | None = None) -> Tensor:
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, 1)
        h = self.norm(self.enter(x)) * (1 + scale) + shift
        if self.code is not None:
            scale, shift = self.code(code)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        out: Tensor = self.attend(self.skip(x) + self.leave(h))
        return out


class Attention(nn.Module):
    """Every position of a map attends to every other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = math.gcd(heads, channels)
        self.norm = norm(channels)
        self.ask = nn.Conv1d(channels, 3 * channels, 1)
        self.answer = _zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = self.norm(x).flatten(2)
        q, k, v = self.ask(flat).reshape(len(x), 3, self.heads, -1, flat.shape[2]).mT.unbind(1)
        seen = functional.scaled_dot_product_attention(q, k, v)
        answered: Tensor = self.answer(seen.mT.reshape(flat.shape)).reshape(x.shape)
        return x + answered


class _Halve(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        half: Tensor = self.conv(x)
        return half


class _Double(nn.Module):
    """Stretches a map to a side, which an odd one behind `_Halve` needs, and smooths it."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.interpolate(x, (self.side, self.side), mode="nearest"))
        return out


class MLPDenoiser(nn.Module):
    """Perceptron with residual layers that the step and the code scale and shift; for small images, series and vectors.

    It says what the clean item is, from which the noise follows: noise has as many directions as an item has numbers,
    which do not pass through a narrow layer, while clean items have few.

    Args:
        noise: The schedule.
        shape: Of an item.
        code: Numbers of the code; 0 for none.
        width: Of the hidden layers.
        depth: Residual layers; a third of them are the first half.

    >>> from unbraid.ops.diffusion import linear_betas
    >>> net = MLPDenoiser(Noise.of(linear_betas(50)), (2, 5), code=3, width=16)
    >>> net(torch.zeros(4, 2, 5), torch.zeros(4).long(), torch.zeros(4, 3)).shape
    torch.Size([4, 2, 5])
    """

    def __init__(self, noise: Noise, shape: Sequence[int], code: int, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.noise = noise
        self.condition = _Conditioned(64, width, code)
        self.start = nn.Linear(math.prod(shape), width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth // 3))
        self._second = partial(_MLPHalf, math.prod(shape), width, depth - depth // 3)
        self.second = self._second()

    def forward(
        self, x: Float[Tensor, "batch *item"], t: Int[Tensor, " batch"], code: Float[Tensor, "batch code"]
    ) -> Float[Tensor, "batch *item"]:
        """The noise in each item."""
        return self.rest(self.first(x, t, code))

    def first(
        self,
        x: Float[Tensor, "batch *item"],
        t: Int[Tensor, " batch"],
        code: Float[Tensor, "batch code"] | None = None,
    ) -> Half:
        """The first layers."""
        condition = self.condition(t, code)
        h = self.start(x.flatten(1))
        for layer in self.layers:
            h = layer(h, condition)
        return Half(x, t, h, (), condition)

    def rest(self, half: Half) -> Float[Tensor, "batch *item"]:
        """The noise in each item, by the other layers."""
        return self.noise.inside(half.x, half.t, self.second(half))

    def shift(self, code: int) -> Shift:
        """Such layers again, which see a code; what they add is in terms of clean items, too."""
        width = self.start.out_features
        return Shift(code, width, _Scaled(self.noise, self._second(coded=True)))


class _MLPHalf(nn.Module):
    """The other layers of a perceptron."""

    def __init__(self, size: int, width: int, depth: int, *, coded: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, coded) for _ in range(depth))
        self.read = _zero(nn.Linear(width, size))

    def forward(self, half: Half, code: Float[Tensor, "batch width"] | None = None) -> Float[Tensor, "batch *item"]:
        h = half.h
        for layer in self.layers:
            h = layer(h, half.condition, code)
        read: Tensor = self.read(functional.silu(h))
        return read.reshape(half.x.shape)


class _Scaled(nn.Module):
    """What is to be added to clean items as the slope of a logarithmic density: times sqrt(abar) / (1 - abar)."""

    def __init__(self, noise: Noise, net: nn.Module) -> None:
        super().__init__()
        self.noise, self.net = noise, net

    def forward(self, half: Half, code: Float[Tensor, "batch width"]) -> Float[Tensor, "batch *item"]:
        kept = self.noise.at(half.t, half.x)
        added: Tensor = self.net(half, code)
        return kept.sqrt() / (1 - kept).clamp(min=1e-8) * added


class _Layer(nn.Module):
    def __init__(self, width: int, coded: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.code = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)) if coded else None

    def forward(self, x: Tensor, condition: Tensor, code: Tensor | None = None) -> Tensor:
        scale, shift = self.condition(condition).chunk(2, 1)
        h = self.norm(x) * (1 + scale) + shift
        if self.code is not None:
            scale, shift = self.code(code).chunk(2, 1)
            h = h * (1 + scale) + shift
        out: Tensor = x + self.inner(h)
        return out
