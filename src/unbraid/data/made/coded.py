"""Portraits that codes stand for: a known, curved map from the code of a generator to the factors of a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError, nearest
from unbraid.core.fields import Field, Fields
from unbraid.data.dataset import Device, rows_of
from unbraid.data.made.heads import NAMES, neutral
from unbraid.data.made.portraits import CLOSER, Heads, from_ranks
from unbraid.data.order import key_of

FACTORS = ("glasses", "beard", "smile", "hair_tone", "yaw", "hair_length", "skin_tone", "face_width")
"""What codes tell of a head unless told otherwise."""


@dataclass(frozen=True)
class CodeMap:
    """Codes -> factors, each from channels of its own; the same map for the same numbers.

    Channels go in pairs, and a pair is turned about 0 by an angle that grows with its length. Each factor then has a
    direction among the pairs that are its own, and how far a code lies in that direction, as a rank among standard
    normal numbers, is where the factor lies in its range. Standard normal codes thus give independent factors spread
    evenly over their ranges, and yet no direction of a code's space changes one factor by the same amount everywhere.

    Attributes:
        width: Numbers in a code, two for each factor at least.
        names: The factors; all others are neutral.
        twist: Radians by which a pair of length 1 is turned.

    >>> codes = CodeMap(16, ("yaw", "smile"))
    >>> w = codes.codes(torch.tensor([[0.5, -1.0]]), torch.zeros(1, 16))
    >>> codes.scores(w)
    tensor([[ 0.5000, -1.0000]])
    """

    width: int = 64
    names: tuple[str, ...] = FACTORS
    twist: float = 0.5

    @property
    def channels(self) -> Int[Tensor, "factors own"]:
        """Which channels are whose, pairs side by side."""
        own = self.width // (2 * len(self.names)) * 2
        generator = torch.Generator().manual_seed(key_of("coded portraits", self.width))
        return torch.randperm(self.width, generator=generator)[: own * len(self.names)].reshape(-1, own)

    @property
    def directions(self) -> Float[Tensor, "factors width"]:
        """Of each factor, of length 1, after the pairs were turned."""
        channels = self.channels
        generator = torch.Generator().manual_seed(key_of("directions", self.width))
        some = 0.5 + torch.rand(channels.shape, generator=generator)
        some = some * (2.0 * torch.randint(2, channels.shape, generator=generator) - 1)
        return torch.zeros(len(channels), self.width).scatter(1, channels, torch.nn.functional.normalize(some))

    def scores(self, codes: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch factors"]:
        """How far codes lie in the direction of each factor."""
        return self._turned(codes, self.twist) @ self.directions.to(codes).T

    def codes(
        self, scores: Float[Tensor, "*batch factors"], rest: Float[Tensor, "*batch width"]
    ) -> Float[Tensor, "*batch width"]:
        """Codes of these scores; `rest` tells, as standard normal numbers, where they lie otherwise."""
        directions = self.directions.to(rest)
        return self._turned(rest + (scores - rest @ directions.T) @ directions, -self.twist)

    def heads(self, codes: Float[Tensor, "n width"]) -> Float[Tensor, "n 34"]:
        """The factors of the heads that codes stand for, with even light where the light is not told."""
        ranks = torch.special.ndtr(self.scores(codes))
        heads = neutral(len(codes)).to(codes)
        heads[:, NAMES.index("ambient")] = 1.0
        where = [NAMES.index(name) for name in self.names]
        every = torch.full_like(heads, 0.5)
        every[:, where] = ranks
        heads[:, where] = from_ranks(every)[:, where]
        return heads

    def _turned(self, codes: Float[Tensor, "*batch width"], twist: float) -> Float[Tensor, "*batch width"]:
        """Each pair turned by `twist` times its length."""
        channels = self.channels.to(codes.device).flatten()
        a, b = codes[..., channels[::2]], codes[..., channels[1::2]]
        angle = twist * (a.square() + b.square() + 1e-12).sqrt()
        turned = torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)
        out = codes.clone()
        out[..., channels] = turned.flatten(-2)
        return out


class CodedPortraits(Heads):
    """Pictures of heads with the codes that a generator of such heads would make them from, as the field `latent`.

    They name as their origin the same heads with factors that do not go together, from which generators and judges of
    pictures are to learn.

    Args:
        rows: Items.
        size: Height and width.
        width: Numbers in a code.
        factors: What codes tell of a head, with a plus between; all else is the same for all.
        together: Factors of these that go together, likewise.
        correlation: How strongly, from 0 to below 1: of the normal numbers that these factors come from.
        seed: Of the items; the map from codes to factors is always the same.

    >>> data = CodedPortraits(rows=3, size=16)
    >>> batch = data.take(torch.tensor([2]))
    >>> batch["x"].shape, batch["latent"].shape, data.factors[0].name
    (torch.Size([1, 3, 16, 16]), torch.Size([1, 64]), 'glasses')
    """

    def __init__(
        self,
        rows: int = 4000,
        size: int = 32,
        width: int = 64,
        factors: str = "+".join(FACTORS),
        together: str = "glasses+beard",
        correlation: float = 0.7,
        seed: int = 0,
    ) -> None:
        names, common = (_names(text) for text in (factors, together))
        if rows < 1 or size < 8 or width < 2 * len(names) or not names or not 0 <= correlation < 1:
            got = f"rows={rows}, size={size}, width={width}, correlation={correlation:g}"
            expected = "a row, 8 pixels, two numbers for each factor, and a correlation from 0 to below 1"
            raise DataError(expected, got=got, where="--data coded-portraits")
        if lost := [name for name in common if name not in names]:
            raise DataError("some of the factors", got=f"'{lost[0]}'", fix=nearest(lost[0], names), where="together")
        self.map = CodeMap(width, names)
        generator = torch.Generator().manual_seed(key_of("coded portraits", seed))
        scores, rest = (torch.randn((rows, n), generator=generator) for n in (len(names), width))
        shared = torch.randn((rows, 1), generator=generator)
        where = [names.index(name) for name in common]
        scores[:, where] = correlation**0.5 * shared + (1 - correlation) ** 0.5 * scores[:, where]
        self.latent = self.map.codes(scores, rest)
        name = f"coded-portraits:rows={rows},size={size},width={width},factors={factors},together={together}"
        name = f"{name},correlation={correlation:g},seed={seed}"
        super().__init__(name, self.map.heads(self.latent), size, CLOSER, names)
        self.fields = Fields(**{**self.fields, "latent": Field((width,))})
        if common:
            self.origin = CodedPortraits(rows, size, width, factors, "", 0.0, seed + 1)

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        batch = super().take(indices, device)
        self.latent = self.latent.to(batch["index"].device)
        return {**batch, "latent": rows_of(self.latent, batch["index"])}


def _names(text: str) -> tuple[str, ...]:
    names: Sequence[str] = [name for name in text.split("+") if name]
    for name in names:
        if name not in NAMES:
            fix = nearest(name, NAMES)
            raise DataError("names of factors", got=f"'{name}'", fix=fix, where="--data coded-portraits")
    return tuple(dict.fromkeys(names))
