"""`digit-flows`: handwritten digits that are magnified, turned or coloured step by step."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from unbraid.core.errors import DataError, nearest
from unbraid.data.dataset import Dataset, Device, MemoryDataset, content_hash, describe
from unbraid.data.digits import digits
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of, shuffled
from unbraid.data.readers.idx import find_mnist, open_idx

STEPS = 9
MOVES = {"scale": 0.1, "angle": 10.0, "hue": 20.0}
"""Transformation -> how much it does in a step: of the size, or in degrees."""
_TEST = 0.2
_VERSION = 1
Split = Literal["all", "train", "test"]


class DigitFlows(Dataset):
    """Digits in red, each under three transformations of nine steps, of which the first leaves it as it is.

    An item is a digit under one transformation: magnified up to 1.8 times, turned by up to 80 degrees against the
    clock, or its hue shifted by up to 160 degrees. The factors are the digit, and the step of each transformation.

    Args:
        name: What it is called.
        grey: The digits.
        shown: Which they are.
        rows: Those that are taken.
        held_out: Those that are audited in the place of these.
    """

    def __init__(
        self,
        name: str,
        grey: Float[Tensor, "n size size"],
        shown: Int[Tensor, " n"],
        rows: Int[Tensor, " m"],
        held_out: DigitFlows | None = None,
    ) -> None:
        self.name, self._held_out = name, held_out
        self._grey, self._shown = grey[rows], shown[rows]
        self.factors = (
            Factor("digit", "categorical", tuple(str(d) for d in range(10))),
            *(Factor(move, "ordinal", tuple(str(step) for step in range(STEPS))) for move in MOVES),
        )
        self.fields = describe((3, *grey.shape[1:]), self.factors, unit=True)

    def __len__(self) -> int:
        return len(self._grey) * len(MOVES) * STEPS

    @property
    def audited(self) -> Dataset:
        return self if self._held_out is None else self._held_out

    def moved(self, indices: Int[Tensor, "*index"], factor: str, step: int) -> Int[Tensor, "*index"]:
        """The items that show the same digits under one transformation alone.

        Raises:
            DataError: There is no such transformation or step.
        """
        if factor not in MOVES or not 0 <= step < STEPS:
            got = f"'{factor}' at step {step}"
            raise DataError(f"one of {', '.join(MOVES)} at step 0..{STEPS - 1}", got=got, fix=nearest(factor, MOVES))
        digit = indices.div(len(MOVES) * STEPS, rounding_mode="floor")
        return (digit * len(MOVES) + list(MOVES).index(factor)) * STEPS + step

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        where = indices.to(device)
        if self._grey.device != where.device:
            self._grey, self._shown = self._grey.to(where.device), self._shown.to(where.device)
        factors = self._codes(where)
        x = self._drawn(self._digit(where).flatten(), factors.reshape(-1, 1 + len(MOVES))[:, 1:])
        known = torch.ones_like(factors, dtype=torch.bool)
        x = x.reshape(*where.shape, *self.fields["x"].shape)
        return {"x": x, "index": where, "factors": factors.float(), "known": known}

    def table(self, indices: Int[Tensor, " n"]) -> FactorTable:
        where = indices.to(self._shown.device)
        return FactorTable(self.factors, self._codes(where).cpu().double().numpy())

    @property
    def hash(self) -> str:
        content = {"name": self.name, "version": _VERSION, "grey": self._grey.cpu(), "shown": self._shown.cpu()}
        return content_hash(content)

    def _digit(self, indices: Tensor) -> Tensor:
        return indices.div(len(MOVES) * STEPS, rounding_mode="floor")

    def _codes(self, indices: Int[Tensor, "*index"]) -> Int[Tensor, "*index 4"]:
        which = indices.div(STEPS, rounding_mode="floor") % len(MOVES)
        steps = torch.nn.functional.one_hot(which, len(MOVES)) * (indices % STEPS)[..., None]
        return torch.cat([self._shown[self._digit(indices)][..., None], steps], -1)

    def _drawn(self, digit: Int[Tensor, " n"], steps: Int[Tensor, "n 3"]) -> Float[Tensor, "n 3 h w"]:
        scale, angle, hue = (steps * torch.tensor(list(MOVES.values()), device=steps.device)).unbind(1)
        cos, sin = (f(angle.deg2rad()) / (1 + scale) for f in (torch.cos, torch.sin))
        none = torch.zeros_like(cos)
        turn = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
        grey = self._grey[digit][:, None]
        seen = grid_sample(grey, affine_grid(turn, list(grey.shape), align_corners=False), align_corners=False)
        sixth = hue[:, None] / 60 + torch.tensor([0.0, 4.0, 2.0], device=hue.device)
        colour = ((sixth % 6 - 3).abs() - 1).clamp(0, 1)
        return seen.clamp(0, 1) * colour[:, :, None, None]


def digit_flows(
    split: Split = "train", source: Literal["digits", "mnist"] = "digits", size: int = 16, folder: str | None = None
) -> DigitFlows:
    """Digits under transformations; a fifth of the digits is for testing, and audited where one trains on the others.

    Args:
        split: The part: "all", "train" or "test".
        source: scikit-learn's digits, or MNIST (28 pixels) from its IDX files.
        size: Height and width of scikit-learn's.
        folder: Where MNIST is; "mnist" below the folder `UNBRAID_DATA` where None.

    >>> data = digit_flows()
    >>> len(data), data.fields["x"].shape, [f.name for f in data.factors], len(data.audited)
    (38826, (3, 16, 16), ['digit', 'scale', 'angle', 'hue'], 9693)
    """
    plain = digits(size) if source == "digits" else _mnist(folder)
    rows = torch.arange(len(plain))
    grey, shown = plain.take(rows)["x"][:, 0], torch.from_numpy(plain.table(rows).column("digit").astype(np.int64))
    order = shuffled(len(plain), key_of("digit-flows"), rows)
    parts = {"test": order[: math.floor(_TEST * len(plain))], "train": order[math.floor(_TEST * len(plain)) :]}
    name = f"digit-flows:source={source},size={grey.shape[1]},split="
    if split == "all":
        return DigitFlows(name + split, grey, shown, rows)
    test = DigitFlows(f"{name}test", grey, shown, parts["test"])
    return test if split == "test" else DigitFlows(name + split, grey, shown, parts["train"], test)


def _mnist(folder: str | None) -> MemoryDataset:
    data = open_idx("mnist", find_mnist(folder, "digit-flows"))
    if not data.factors:
        raise DataError("the labels beside the images", got="none", where="digit-flows: mnist")
    return data
