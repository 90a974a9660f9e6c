"""Portraits: heads of 34 independent factors, or of some that go together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.data.dataset import Device, MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.heads import GROUPS, NAMES, UNIT, render
from unbraid.data.order import key_of

_CHUNK = 64
_STUDIO = {
    "pitch": 0.5,
    "roll": 0.5,
    "yaw": 0.7,
    "light_azimuth": 0.4,
    "light_elevation": 0.4,
    "skin_tone": 0.45,
    "hair_tone": 0.5,
    "fringe": 0.5,
    "hair_length": 0.6,
    "glasses": 0.0,
    "beard": 0.0,
    "bg_freq": 0.0,
}
CLOSER = 0.62
"""Half of what the nearer camera sees."""


def sample(n: int, generator: torch.Generator) -> Float[Tensor, "n 34"]:
    """Heads with independent factors, evenly spread over their ranges; half of them with glasses."""
    return from_ranks(torch.rand((n, len(NAMES)), generator=generator))


def correlated(n: int, rho: float, names: Sequence[str], generator: torch.Generator) -> Float[Tensor, "n 34"]:
    """The same with some factors that go together: a Gaussian copula with one correlation of any two of these.

    Args:
        n: How many.
        rho: The correlation, from 0 to 1.
        names: The factors.
        generator: Of the chance.
    """
    r = torch.rand((n, len(NAMES)), generator=generator)
    common, own = torch.randn((n, 1), generator=generator), torch.randn((n, len(names)), generator=generator)
    r[:, [NAMES.index(name) for name in names]] = torch.special.ndtr(rho**0.5 * common + (1 - rho) ** 0.5 * own)
    return from_ranks(r)


def pair(
    n: int, generator: torch.Generator, shared: Sequence[str]
) -> tuple[Float[Tensor, "n 34"], Float[Tensor, "n 34"]]:
    """Two heads each, alike in some groups of factors.

    >>> a, b = pair(4, torch.Generator().manual_seed(0), shared=("identity",))
    >>> torch.equal(a[:, :12], b[:, :12]), torch.equal(a[:, 12:], b[:, 12:])
    (True, False)
    """
    for group in shared:
        if group not in GROUPS:
            raise ConfigError("the name of a group of factors", got=f"'{group}'", fix=nearest(group, GROUPS))
    a, b = sample(n, generator), sample(n, generator)
    columns = [NAMES.index(name) for group in shared for name in GROUPS[group]]
    b[:, columns] = a[:, columns]
    return a, b


def in_studio(x: Float[Tensor, "n 34"]) -> Float[Tensor, "n 34"]:
    """Easier heads: evenly lit before a plain wall, without glasses and beard, turned less and with shorter hair."""
    x = x * torch.tensor([_STUDIO.get(name, 1.0) for name in NAMES], device=x.device)
    x[:, NAMES.index("ambient")] = 1.0
    return x


def from_ranks(r: Float[Tensor, "n 34"]) -> Float[Tensor, "n 34"]:
    """Factors at some shares, 0 to 1, of the way through their ranges; glasses from the half on."""
    unit = torch.tensor([name in UNIT for name in NAMES])
    x = torch.where(unit, r, 2 * r - 1)
    glasses = NAMES.index("glasses")
    x[:, glasses] = (r[:, glasses] > 0.5).float()
    return x


class Heads(MemoryDataset):
    """Pictures of given heads, each rendered when it is first asked for, and kept.

    Args:
        name: Names them and all that they depend on; their hash is made of it.
        heads: Their factors.
        size: Height and width.
        half: Half of what the camera sees.
        names: Which factors are told.
    """

    def __init__(
        self, name: str, heads: Float[Tensor, "n 34"], size: int, half: float = 0.8, names: Sequence[str] = NAMES
    ) -> None:
        self.heads, self.half = heads, half
        self._made = torch.zeros(len(heads), dtype=torch.bool)
        self._all_made = False
        values = heads[:, [NAMES.index(told) for told in names]].double().numpy()
        x = torch.zeros((len(heads), 3, size, size), dtype=torch.uint8)
        super().__init__(name, x, FactorTable([_factor(told) for told in names], values))

    def take(self, indices: Int[Tensor, "*index"], device: Device = "cpu") -> dict[str, Tensor]:
        if not self._all_made:
            self._make(indices.flatten().cpu())
        return super().take(indices, device)

    def _make(self, indices: Int[Tensor, " n"]) -> None:
        """Render what is asked for and not there yet."""
        wanted = torch.zeros_like(self._made).index_fill(0, indices, True)
        for rows in torch.split((wanted & ~self._made).nonzero()[:, 0], _CHUNK):
            image = self.pictures(self.heads[rows])
            self._x[rows.to(self._x.device)] = (image * 255).round().to(torch.uint8).to(self._x.device)
            self._made[rows] = True
        self._all_made = bool(self._made.all())

    def pictures(self, heads: Float[Tensor, "n 34"]) -> Float[Tensor, "n 3 size size"]:
        """What the camera of these data sees of other heads."""
        return render(heads, self.fields["x"].shape[1], half=self.half).image

    def with_factors(self, more: FactorTable) -> MemoryDataset:
        """The same items with more factors, all of them rendered."""
        self._make(torch.arange(len(self)))
        return super().with_factors(more)

    @property
    def hash(self) -> str:
        return content_hash({"name": self.name, "version": 1})


class Portraits(Heads):
    """Pictures of heads.

    Args:
        rows: Items.
        size: Height and width.
        studio: Whether they are the easier ones, seen from nearer.
        together: Factors that go together, with a plus between them; none where empty.
        correlation: How strongly, from 0 to 1: of the normal numbers that these factors come from.
        seed: Of the items.

    >>> data = Portraits(rows=3, size=16)
    >>> data.take(torch.tensor([2]))["x"].shape, len(data.factors)
    (torch.Size([1, 3, 16, 16]), 34)
    """

    def __init__(
        self,
        rows: int = 4000,
        size: int = 32,
        studio: bool = False,
        together: str = "",
        correlation: float = 0.7,
        seed: int = 0,
    ) -> None:
        names = tuple(name for name in together.split("+") if name)
        for name in names:
            if name not in NAMES:
                fix = nearest(name, NAMES)
                raise DataError("names of factors", got=f"'{name}'", fix=fix, where="--data portraits")
        if rows < 1 or size < 8 or not 0 <= correlation <= 1:
            got = f"rows={rows}, size={size}, correlation={correlation:g}"
            raise DataError("a row, 8 pixels and a correlation from 0 to 1", got=got, where="--data portraits")
        generator = torch.Generator().manual_seed(key_of("portraits", seed))
        heads = correlated(rows, correlation, names, generator) if names else sample(rows, generator)
        name = f"portraits:rows={rows},size={size},studio={studio},together={together},correlation={correlation:g}"
        heads = in_studio(heads) if studio else heads
        super().__init__(f"{name},seed={seed}", heads, size, CLOSER if studio else 0.8)


def _factor(name: str) -> Factor:
    if name == "glasses":
        return Factor(name, "categorical", ("without", "with"))
    return Factor(name, "continuous")
