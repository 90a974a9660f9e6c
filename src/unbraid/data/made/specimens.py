"""`specimens`: grey images of one of three kinds, blobs, stripes or chequers, of four classes each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.dataset import MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of
from unbraid.data.splits import part_of

_VERSION = 1
_CLASSES = 4
SPLITS = ("train", "validation", "test")


class Specimens(MemoryDataset):
    """Noisy drawings whose class is how many blobs there are, which way stripes run, or how fine a chequer is.

    Place, phase, brightness, contrast and some of the angle are chance. The factor `split` sets aside a ninth of the
    items for validation and two ninths for the test.

    Args:
        kind: "blobs" (1 to 4 of them), "stripes" (every eighth turn) or "chequers" (4 to 11 pixels a side).
        rows: Items.
        size: Height and width.
        noise: Standard deviation of the noise in each pixel.
        seed: Of the items.

    >>> data = Specimens("stripes", rows=90)
    >>> data.fields["x"].shape, [f.name for f in data.factors], len(part_of(data, "test"))
    ((3, 28, 28), ['class', 'split'], 20)
    """

    def __init__(
        self, kind: str = "blobs", rows: int = 900, size: int = 28, noise: float = 0.15, seed: int = 0
    ) -> None:
        if kind not in KINDS or rows < 36 or size < 8 or noise < 0:
            got = f"kind={kind}, rows={rows}, size={size}, noise={noise:g}"
            expected = f"one of {', '.join(KINDS)}, 36 rows, 8 pixels and a noise of 0 or more"
            raise DataError(expected, got=got, where="--data specimens")
        self._options = {"kind": kind, "rows": rows, "size": size, "noise": noise, "seed": seed}
        chance = torch.Generator().manual_seed(key_of(seed, "specimens", kind))
        classes = torch.randperm(rows, generator=chance) % _CLASSES
        drawn = KINDS[kind](classes, size, chance)
        u = torch.rand((2, rows, 1, 1), generator=chance)
        grey = 0.3 + 0.2 * u[0] + (0.2 + 0.2 * u[1]) * drawn
        x = (grey + noise * torch.randn(drawn.shape, generator=chance)).clamp(0, 1)
        parts = torch.bucketize(torch.arange(rows), torch.tensor([rows * 6 // 9, rows * 7 // 9]), right=True)
        labels = tuple(map(str, range(_CLASSES)))
        factors = [Factor("class", "categorical", labels), Factor("split", "categorical", SPLITS)]
        table = FactorTable(factors, torch.stack([classes, parts], 1).double().numpy())
        plain = {"rows": 900, "size": 28, "noise": 0.15, "seed": 0}
        told = [f"{k}={v}" for k, v in self._options.items() if plain.get(k) != v]
        super().__init__(
            "specimens:" + ",".join(told), (255 * x).round().to(torch.uint8)[:, None].repeat(1, 3, 1, 1), table
        )
        self.roles = {"label": "class"}

    @property
    def hash(self) -> str:
        return content_hash({"world": "specimens", "version": _VERSION, **self._options})


def arrays(data: MemoryDataset) -> dict[str, Tensor]:
    """The arrays of a MedMNIST file that holds these items.

    >>> {name: tuple(a.shape) for name, a in arrays(Specimens(rows=36)).items()}["val_images"]
    (4, 28, 28)
    """
    found = {}
    for short, split in zip(("train", "val", "test"), SPLITS, strict=True):
        part = part_of(data, split)
        assert part is not None
        batch = part.take(torch.arange(len(part)))
        found[f"{short}_images"] = (255 * batch["x"][:, 0]).round().to(torch.uint8)
        found[f"{short}_labels"] = batch["factors"][:, :1].to(torch.uint8)
    return found


def _places(size: int) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    steps = torch.arange(size, dtype=torch.float32)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return rows, columns


def _blobs(classes: Int[Tensor, " n"], size: int, chance: torch.Generator) -> Float[Tensor, "n h w"]:
    """One to four soft discs, each in a quarter of the image of its own."""
    n = len(classes)
    quarter = torch.rand((n, 4), generator=chance).argsort(1)
    shift = (0.2 + 0.6 * torch.rand((n, 4, 2), generator=chance)) * size / 2
    centre = torch.stack([quarter // 2, quarter % 2], 2) * size / 2 + shift
    radius = (0.07 + 0.05 * torch.rand((n, 4), generator=chance)) * size
    rows, columns = _places(size)
    far = (rows - centre[..., 0, None, None]) ** 2 + (columns - centre[..., 1, None, None]) ** 2
    there = torch.arange(4) <= classes[:, None]
    return ((-far / (2 * radius[..., None, None] ** 2)).exp() * there[..., None, None]).amax(1) * 2 - 1


def _stripes(classes: Int[Tensor, " n"], size: int, chance: torch.Generator) -> Float[Tensor, "n h w"]:
    """A sine across the image, its direction within a sixteenth of a turn of the class's."""
    n = len(classes)
    u = torch.rand((3, n, 1, 1), generator=chance)
    angle = math.pi * (classes[:, None, None] + 0.6 * (u[0] - 0.5)) / _CLASSES
    length = size * (0.16 + 0.12 * u[1])
    rows, columns = _places(size)
    along = columns * angle.cos() + rows * angle.sin()
    return (2 * math.pi * (along / length + u[2])).sin()


def _chequers(classes: Int[Tensor, " n"], size: int, chance: torch.Generator) -> Float[Tensor, "n h w"]:
    """A soft chequer whose squares are 4, 5.6, 8 or 11.2 pixels of 28, at any phase and somewhat turned."""
    n = len(classes)
    u = torch.rand((4, n, 1, 1), generator=chance)
    side = size / 7 * 2 ** (classes[:, None, None] / 2 + 0.2 * (u[0] - 0.5))
    angle = 0.5 * (u[1] - 0.5)
    rows, columns = _places(size)
    across, down = columns * angle.cos() + rows * angle.sin(), rows * angle.cos() - columns * angle.sin()
    wave = (math.pi * (across / side + 2 * u[2])).sin() * (math.pi * (down / side + 2 * u[3])).sin()
    return (4 * wave).tanh()


KINDS: Mapping[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "blobs": _blobs,
    "stripes": _stripes,
    "chequers": _chequers,
}
