"""Masks over the patches of images: what a network does not see. Everywhere, True is masked.

Every image has its own draw, the whole batch at once. A mask has the shape of the grid (H, W).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.views.view import Chance

Grid = tuple[int, int]
Masks = Bool[Tensor, "batch h w"]

_TRIES = 24  # blocks that are drawn for an image, of which those count that fit


# ------------------------------------------------------------------------------------------------ evenly at random


@dataclass(frozen=True)
class Shuffled:
    """Which patches of each image are kept, as a shuffle whose first ones they are.

    Attributes:
        keep: Numbers of the patches that are kept.
        restore: Where each patch went in the shuffle.
        mask: Which are not kept.
    """

    keep: Int[Tensor, "batch kept"]
    restore: Int[Tensor, "batch patches"]
    mask: Bool[Tensor, "batch patches"]


def shuffled(noise: Float[Tensor, "batch patches"], ratio: float) -> Shuffled:
    """The patches of least noise are kept.

    Args:
        noise: A number for each patch.
        ratio: Share that is masked; the number of those kept is rounded down.

    >>> found = shuffled(torch.tensor([[0.9, 0.1, 0.5, 0.3]]), ratio=0.5)
    >>> found.keep.tolist(), found.mask.int().tolist()
    ([[1, 3]], [[1, 0, 1, 0]])
    """
    patches = noise.shape[1]
    kept = int(patches * (1 - ratio))
    order = noise.argsort(dim=1, stable=True)
    restore = order.argsort(1)
    return Shuffled(order[:, :kept], restore, restore >= kept)


def random_masks(count: int, grid: Grid, ratio: float, at: Chance) -> Masks:
    """A share of the patches, each as likely as the others; as many in every image."""
    return shuffled(at.rand((count, grid[0] * grid[1])), ratio).mask.view(count, *grid)


def unit_masks(count: int, grid: Grid, ratio: float, unit: int, at: Chance) -> Masks:
    """Squares of several patches at random, as in SimMIM.

    Args:
        count: Images.
        grid: Patches.
        ratio: Share of the squares; their number is rounded up.
        unit: Patches on the side of a square.
        at: Chance.

    Raises:
        ConfigError: Squares do not tile the grid.
    """
    if grid[0] % unit or grid[1] % unit:
        raise ConfigError("squares that tile the grid", got=f"{unit} in {grid[0]} x {grid[1]}", where="unit")
    coarse = (grid[0] // unit, grid[1] // unit)
    squares = coarse[0] * coarse[1]
    rank = at.rand((count, squares)).argsort(1).argsort(1)
    mask = (rank < math.ceil(squares * ratio)).view(count, *coarse)
    return mask.repeat_interleave(unit, 1).repeat_interleave(unit, 2)


# -------------------------------------------------------------------------------------------------------- blocks


def block_masks(amount: Int[Tensor, " batch"], grid: Grid, at: Chance, least: int = 16, aspect: float = 0.3) -> Masks:
    """Blocks until enough patches are masked, as in BEiT; never more, at times a few less.

    A block has an area between `least` and what is missing and a logarithm of the ratio of its sides drawn evenly from
    `aspect`..1 / `aspect`. It counts if it is smaller than the grid and brings something, but not too much.

    Args:
        amount: Patches to mask, for each image.
        grid: Patches.
        at: Chance.
        least: Patches in a block, where so many are missing.
        aspect: Least ratio of height to width.
    """
    height, width = grid
    count, spread = len(amount), math.log(aspect)
    u = at.rand((count, _TRIES, 4))
    y = torch.arange(height, device=u.device)[None, :, None]
    x = torch.arange(width, device=u.device)[None, None, :]
    mask = torch.zeros(count, height, width, dtype=torch.bool, device=u.device)
    left = amount.to(u.device)
    for i in range(_TRIES):
        area = torch.lerp(left.clamp(max=least).float(), left.float(), u[:, i, 0])
        ratio = torch.exp(spread * (1 - 2 * u[:, i, 1]))
        h, w = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        top = (u[:, i, 2] * (height - h + 1)).long()[:, None, None]
        side = (u[:, i, 3] * (width - w + 1)).long()[:, None, None]
        block = (y >= top) & (y < top + h[:, None, None]) & (x >= side) & (x < side + w[:, None, None])
        more = (block & ~mask).sum((1, 2))
        fits = (h < height) & (w < width) & (h > 0) & (w > 0) & (more > 0) & (more <= left)
        mask |= block & fits[:, None, None]
        left = left - more * fits
    return mask


def inverse_block_masks(amount: Int[Tensor, " batch"], grid: Grid, at: Chance, *, roll: bool = False) -> Masks:
    """All but one block, of which exactly so many patches are masked that are asked for.

    The block is cut in the order of reading where it has too many patches.

    Args:
        amount: Patches to mask, for each image.
        grid: Patches.
        at: Chance.
        roll: Whether the mask is moved round both axes by chance, so that no place is masked more often than others.
    """
    height, width = grid
    u = at.rand((len(amount), 5))
    seen = (height * width - amount.to(u.device)).clamp(min=0)
    low, high = (seen / width**2).clamp(min=1e-9).log(), (height**2 / seen.clamp(min=1)).log()
    ratio = torch.exp(torch.lerp(low, high, u[:, 0]))
    h = (seen * ratio).sqrt().ceil().clamp(max=height).long()
    w = (seen / ratio).sqrt().ceil().clamp(max=width).long()
    h = torch.maximum(h, -(-seen // w.clamp(min=1)))  # rounding may have cut the block below what is to be seen
    y = torch.arange(height, device=u.device)[None, :, None]
    x = torch.arange(width, device=u.device)[None, None, :]
    top = (u[:, 1] * (height - h + 1)).long()[:, None, None]
    side = (u[:, 2] * (width - w + 1)).long()[:, None, None]
    block = (y >= top) & (y < top + h[:, None, None]) & (x >= side) & (x < side + w[:, None, None])
    nth = block.flatten(1).cumsum(1).view_as(block)
    mask = ~(block & (nth <= seen[:, None, None]))
    return rolled(mask, (u[:, 3] * height).long(), (u[:, 4] * width).long()) if roll else mask


def rolled(mask: Masks, down: Int[Tensor, " batch"], across: Int[Tensor, " batch"]) -> Masks:
    """Each mask moved round its axes.

    >>> rolled(torch.tensor([[[True, False], [False, False]]]), torch.tensor([1]), torch.tensor([1])).int().tolist()
    [[[0, 0], [0, 1]]]
    """
    _, height, width = mask.shape
    y = (torch.arange(height, device=mask.device) - down[:, None]) % height
    x = (torch.arange(width, device=mask.device) - across[:, None]) % width
    rows = mask.gather(1, y[:, :, None].expand_as(mask))
    return rows.gather(2, x[:, None, :].expand_as(mask))


def some_ratios(
    count: int, at: Chance, middle: float = 0.3, spread: float = 0.2, p: float = 0.5
) -> Float[Tensor, " batch"]:
    """A ratio for each image: evenly about the middle with probability p, else 0 (as in iBOT)."""
    u = at.rand((count, 2))
    return torch.where(u[:, 1] < p, middle + spread * (2 * u[:, 0] - 1), 0.0)


def spaced_ratios(
    place: Int[Tensor, " batch"], total: int, at: Chance, low: float = 0.1, high: float = 0.65, p: float = 0.5
) -> Float[Tensor, " batch"]:
    """A ratio for a share p of the images, each from a range of its own, which lie side by side (as in DINOv2).

    Args:
        place: Of each image among all of a step, shuffled: the first ones are masked, and later ones more.
        total: How many images there are in the step.
        at: Chance.
        low: Where the first range begins.
        high: Where the last one ends.
        p: Share of the images that are masked.
    """
    masked = int(total * p)
    u = at.rand((len(place),))
    place = place.to(u.device)
    return torch.where(place < masked, low + (high - low) * (place + u) / max(1, masked), 0.0)
