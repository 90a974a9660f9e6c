"""RASA: what tells the place of a patch is taken out of what a frozen network says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Budget, Method, Optim, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.methods.joint.embedding import spaced
from unbraid.ops.erasure import Concept, merged, orthonormal, rasa

_JUDGED = 5000  # patches that an examination looks at
_AT_ONCE = 64


class RASA(Method["RASA.Config"]):
    """The plane from which a patch's place is told is taken out, again and again (Venkataramanan et al., 2025).

    1. Two heads without biases tell the row and the column of a patch, from 0 to 1, by sigmoids; minimise their squared
    error; nothing else moves. 2. Their weights, made orthonormal (Gram and Schmidt), span a plane: what of a patch
    lies in it is `position`. 3. Go on with the rest, with new heads. What is left at the end is `content`; all steps
    are one linear map of patches, which `merge` gives.

    Where no network is given, small photographs are seen by an untrained transformer, and other maps (D, rows,
    columns) are taken for patches themselves.

    Source:
        valeoai/Franca, rasa/src/rasa_head.py.
    """

    card = Card(
        number=18,
        name="rasa",
        title="Franca: Nested Matryoshka Clustering for Scalable Visual Representation Learning",
        paper="arXiv:2507.14137",
        year=2025,
        modality=("image",),
        family="erasure",
        summary="Patch features of any frozen network, split into their place in the image and the rest.",
        claim="Patches cluster by content once place is taken out, and do not once random planes are.",
        example="digits",
        tiny="digits:size=8",
        ports=(
            Port(
                "encoder",
                "A network from images (B, C, H, W) to patches: tokens (B, N, D), a map (B, D, rows, columns), or an "
                "object that holds either as `patches`, `x_norm_patchtokens` or `last_hidden_state`.",
                optional=True,
                standin="unbraid.standins.vit:PICTURES",
            ),
        ),
    )
    presets = {"quick": {"layers": 4, "steps": 200}, "tiny": {"layers": 2, "steps": 3, "batch": 8}}

    @dataclass(frozen=True)
    class Config:
        """Options of RASA.

        Attributes:
            layers: Planes that are taken out.
            steps: Of each plane's heads.
            batch: Images per step.
            skip: Tokens in front that are no patches.
            start: Where heads begin: at 0, so that planes that are not learned yet remove nothing, or, as in the
                authors' code, at random.
            optim: How heads move.
        """

        layers: int = told(9, by="memory")
        steps: int = told(400, by="ours")
        batch: int = told(48, by="ours")
        skip: int = told(0, by="ours")
        start: Literal["zero", "random"] = told("zero", by="ours")
        optim: Optim = told(Optim("adamw", lr=0.03, schedule=Schedule("cosine")), by="ours")

        def __post_init__(self) -> None:
            for name in ("layers", "steps", "batch"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            if self.skip < 0:
                raise ConfigError("a whole number of at least 0", got=str(self.skip), where="skip")

    places: Tensor

    def __init__(self, config: RASA.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        encoder = (given or Given()).get("encoder")
        self.encoder = Frozen(nn.Identity() if encoder is None else encoder)
        shape = fields["x"].shape
        if len(shape) != 3:
            raise DataError("images (C, H, W)", got=f"items of shape {shape}", where="field 'x'")
        with torch.no_grad():
            _, self.width, *grid = self.maps(torch.zeros(2, *shape)).shape
        self.grid: tuple[int, int] = (grid[0], grid[1])
        if min(self.grid) < 2:
            got = f"{grid[0]} x {grid[1]}"
            raise DataError(
                "two rows and columns of patches or more", got=got, fix="use larger images", where="encoder"
            )
        axes = (torch.linspace(0, 1, n) for n in self.grid)
        self.register_buffer("places", torch.cartesian_prod(*axes), persistent=False)
        reach = config.start == "random" and self.width**-0.5
        self.heads = nn.ParameterList(reach * (2 * torch.rand(2, self.width) - 1) for _ in range(config.layers))

    def parts(self) -> tuple[PartSpec, ...]:
        shape = (self.width, *self.grid)
        return (
            PartSpec("content", "map", shape, free_of=("position",)),
            PartSpec("position", "map", shape, carries=("position",)),
        )

    def encode(self, batch: Batch) -> Parts:
        z = self.patches(batch["x"])
        content = z @ self.matrix().mT
        return Parts(content=self._as_map(content), position=self._as_map(z - content))

    def _as_map(self, z: Float[Tensor, "batch n d"]) -> Float[Tensor, "batch d rows columns"]:
        return z.mT.reshape(len(z), self.width, *self.grid)

    def maps(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d rows columns"]:
        """What the encoder says of the patches.

        Raises:
            DataError: It says something else.
        """
        z: Any = self.encoder(x)
        if isinstance(z, dict):
            z = next((z[name] for name in ("x_norm_patchtokens", "patches", "last_hidden_state") if name in z), z)
        for name in ("patches", "last_hidden_state"):
            z = getattr(z, name, z)
        if isinstance(z, Tensor) and z.ndim == 4:
            wide: Tensor = z.float()
            return wide
        if not isinstance(z, Tensor) or z.ndim != 3:
            got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise DataError("patches (B, N, D) or (B, D, rows, columns)", got=got, where="encoder")
        z, (height, width) = z[:, self.config.skip :], x.shape[2:]
        rows = round((z.shape[1] * height / width) ** 0.5)
        if not rows or z.shape[1] % rows or rows * width != (z.shape[1] // rows) * height:
            fix = "set skip to the number of tokens in front that are no patches"
            raise DataError(
                f"patches that tile {height} x {width} pixels", got=str(z.shape[1]), fix=fix, where="encoder"
            )
        tokens: Tensor = z.float().mT.reshape(len(z), z.shape[2], rows, -1)
        return tokens

    def patches(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch n d"]:
        """The same, row by row."""
        return self.maps(x).flatten(2).mT

    @torch.no_grad()
    def matrix(self, layers: int | None = None) -> Float[Tensor, "d d"]:
        """The map of patches, as columns, to what is left after so many planes, or all."""
        nothing = torch.zeros_like(self.heads[0][:1])
        return merged([nothing, *(orthonormal(head) for head in list(self.heads)[:layers])])

    # --------------------------------------------------------------------------------------------------- training

    def stages(self) -> Sequence[Stage]:
        """One for each plane."""
        return [self._stage(i) for i in range(self.config.layers)]

    def _stage(self, i: int) -> Stage:
        c = self.config
        update = Update("heads", partial(self.loss, i), lambda: [self.heads[i]], c.optim)
        return Stage(f"plane {i + 1}", [update], Budget(steps=c.steps), {"": Stream(c.batch)})

    def loss(self, layer: int, batch: Batch, at: At) -> Terms:
        """The squared error of the heads of a plane, on what planes before it left."""
        matrix = at.once("matrix", lambda: self.matrix(layer))
        with torch.no_grad():
            left = self.patches(batch["x"]) @ matrix.mT
        return {"position": (self.told(left, layer) - self.places).square().mean((1, 2))}

    def told(self, z: Float[Tensor, "batch n d"], layer: int) -> Float[Tensor, "batch n 2"]:
        """The row and the column that the heads of a plane tell."""
        said: Tensor = (z @ self.heads[layer].mT).sigmoid()
        return said

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """How well the place of a patch is told from it, before and after, by new heads and by linear regression."""
        z = self._some(data)
        rows = len(z) // len(self.places)
        place = self.places.cpu().repeat(rows, 1)
        matrix = self.matrix().cpu()
        content = z @ matrix.mT
        numbers: dict[str, float] = {"error of a constant": float(place.var(0, correction=0).mean())}
        for name, codes in (("patches", z), ("content", content), ("position", z - content)):
            numbers[f"error of new heads on {name}"] = rasa(codes, [Concept(place, classes=False)], 1).losses[0] / 2
            numbers[f"place explained by {name}"] = _explained(codes, place)
        lost = (z - content - (z - content).mean(0)).square().sum() / (z - z.mean(0)).square().sum().clamp(min=1e-30)
        numbers["share of the variance in position"] = float(lost)
        numbers["directions left"] = float(torch.linalg.matrix_rank(matrix.double(), rtol=1e-6))
        units = {name: "mean squared, for places from 0 to 1" for name in numbers if "error" in name}
        units |= {name: "share of the variance, on images not learned from" for name in numbers if "explained" in name}
        trace = torch.tensor([_explained(z @ self.matrix(i).cpu().mT, place) for i in range(self.config.layers + 1)])
        notes = [f"{len(z)} patches of {rows} images; what is told of place along curves is not counted."]
        return Findings(numbers, {"place explained after each plane": trace}, units, notes)

    def _some(self, data: Source) -> Float[Tensor, "n d"]:
        """The patches of some images."""
        images = spaced(len(data), max(2, _JUDGED // len(self.places)))
        device = self.places.device
        with torch.no_grad():
            found = [self.patches(data.take(some, device)["x"]).cpu() for some in torch.split(images, _AT_ONCE)]
        return torch.cat(found).flatten(0, 1)

    @action
    def merge(self) -> Findings:
        """The one matrix that takes place out of patches (as columns), to be folded into a last linear layer."""
        return Findings({"directions": float(self.width)}, {"matrix": self.matrix()})

    @action(name="patches")
    def rows_of_patches(self, data: Source, part: Literal["patches", "content", "position"] = "content") -> Any:
        """Patches as rows, with their row, column and image, for `unbraid audit` and `unbraid steer FILE erase`.

        Args:
            data: Images.
            part: The patches as they are, or either part.
        """
        z = self._some(data)
        content = z @ self.matrix().cpu().mT
        codes = {"patches": z, "content": content, "position": z - content}[part]
        images, (rows, columns) = len(z) // len(self.places), self.grid
        cell = np.arange(rows * columns)
        values = np.stack([cell // columns, cell % columns], 1)
        table = np.concatenate([np.tile(values, (images, 1)), np.repeat(np.arange(images), len(cell))[:, None]], 1)
        # Classes and not numbers, so that all that is linear in any code of the place can be taken out.
        counts = {"row": rows, "column": columns, "image": images}
        factors = [Factor(name, "categorical", tuple(map(str, range(n)))) for name, n in counts.items()]
        return MemoryDataset(part, codes, FactorTable(factors, table.astype(np.float64)))


def _explained(z: Float[Tensor, "n d"], place: Float[Tensor, "n 2"]) -> float:
    """Share of the variance of places that least squares with an intercept tell on the second half of the rows.

    A little is added to the diagonal, so that directions that were taken out do not come back by rounding.
    """
    half = len(z) // 2
    z, place = z.double(), place.double()
    mean = z[:half].mean(0)
    z = z - mean
    scale = z[:half].square().mean()
    gram = z[:half].mT @ z[:half] / half + 1e-6 * scale.clamp(min=1e-30) * torch.eye(z.shape[1], dtype=z.dtype)
    centre = place[:half].mean(0)
    weight = torch.linalg.solve(gram, z[:half].mT @ (place[:half] - centre) / half)
    error = (z[half:] @ weight + centre - place[half:]).square().sum()
    return float(1 - error / (place[half:] - place[half:].mean(0)).square().sum())
