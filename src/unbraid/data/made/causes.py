"""`bars`, `pendulum` and `flow`: small worlds whose variables cause each other by known equations."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError, nearest
from unbraid.core.fields import Fields
from unbraid.data.dataset import MemoryDataset, content_hash
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.order import key_of

_VERSION = 1
Values = dict[str, Float[Tensor, " n"]]


class CausalWorld(MemoryDataset):
    """Images of variables that follow from each other and from chance of their own.

    A variable is a function of its causes and of one number drawn for it, so that for every item it is known what it
    would look like, had a variable been another (`counterfactual`).

    Attributes:
        graph: The edges, as text.
        variables: Name -> least and largest value.
        usual: Height and width where none is asked for.
        nuisances: What else differs between items, uniform on [0, 1).

    Args:
        rows: Items.
        size: Height and width; the world's usual where None.
        seed: Of the chance.
    """

    graph: str
    variables: Mapping[str, tuple[float, float]]
    nuisances: tuple[str, ...] = ()
    usual = 32
    kind: str

    def __init__(self, rows: int = 4000, size: int | None = None, seed: int = 0) -> None:
        if rows < 2:
            raise DataError("2 or more items", got=str(rows), where=f"{self.kind}: rows")
        size = self.usual if size is None else size
        self.size, self._options = size, {"rows": rows, "size": size, "seed": seed}
        chance = torch.Generator().manual_seed(key_of(seed, self.kind))
        self._chance = {n: torch.rand(rows, generator=chance) for n in (*self.variables, *self.nuisances)}
        values = self.caused(self._chance, {})
        x = torch.cat([self.counterfactual(i, {}) for i in torch.split(torch.arange(rows), 1024)])
        factors = [Factor(name, "continuous") for name in self.variables]
        table = FactorTable(factors, np.stack([values[name].numpy() for name in self.variables], 1))
        options = ",".join(f"{k}={v}" for k, v in self._options.items())
        super().__init__(f"{self.kind}:{options}", x, table, unit=True)
        self.notes = (f"Its graph is {self.graph}.",)
        self.fields = Fields(**{**self.fields, "factors": replace(self.fields["factors"], graph=self.graph)})

    @property
    def hash(self) -> str:
        return content_hash({"world": self.kind, "version": _VERSION, **self._options})

    def counterfactual(self, indices: Int[Tensor, " n"], do: Mapping[str, Tensor]) -> Float[Tensor, "n c h w"]:
        """What these items would look like under variable -> value (n,), the rest of their chance kept."""
        for name in do:
            if name not in self.variables:
                raise DataError("a variable of the world", got=f"'{name}'", fix=nearest(name, self.variables))
        chance = {name: u[indices] for name, u in self._chance.items()}
        values = self.caused(chance, {name: value.float() for name, value in do.items()})
        return self.draw(values | {name: chance[name] for name in self.nuisances})

    @abstractmethod
    def caused(self, chance: Values, do: Mapping[str, Tensor]) -> Values:
        """All variables from their chance in [0, 1), those in `do` set."""

    @abstractmethod
    def draw(self, values: Values) -> Float[Tensor, "n c h w"]:
        """The images of variables and nuisances."""

    def _grid(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the pixels' middles, from 0 to 1."""
        middle = (torch.arange(self.size) + 0.5) / self.size
        return middle[:, None], middle[None, :]


def _wide(value: Tensor) -> Tensor:
    return value[:, None, None]


def _soft(inside: Tensor, size: int) -> Tensor:
    """Cover of a pixel by an edge, from the signed distance to it in image sides."""
    return (inside * size + 0.5).clamp(0, 1)


def _disc(rows: Tensor, columns: Tensor, y: Tensor, x: Tensor, radius: Tensor | float) -> Tensor:
    """Signed distance from the edge of discs to every pixel, positive inside."""
    size = _wide(radius) if isinstance(radius, Tensor) else radius
    return size - ((rows - _wide(y)).square() + (columns - _wide(x)).square()).sqrt()


def _over(below: Tensor, cover: Tensor, level: Tensor | float) -> Tensor:
    """Paint a shape over an image."""
    return below * (1 - cover) + level * cover


def _within(name: str, variables: Mapping[str, tuple[float, float]], u: Tensor) -> Tensor:
    low, high = variables[name]
    return low + (high - low) * u


class Bars(CausalWorld):
    """An upright bar whose thickness makes it brighter, as in Morpho-MNIST; where it stands is chance.

    intensity = 0.3 + 0.5 (thickness - 0.1) / 0.4 + 0.2 (u - 0.5).

    >>> world = Bars(rows=8)
    >>> world.fields["x"].shape, [f.name for f in world.factors]
    ((1, 16, 16), ['thickness', 'intensity'])
    """

    kind = "bars"
    graph = "thickness -> intensity"
    variables = {"thickness": (0.1, 0.5), "intensity": (0.2, 0.9)}
    nuisances = ("place",)
    usual = 16

    def caused(self, chance: Values, do: Mapping[str, Tensor]) -> Values:
        thickness = do.get("thickness", _within("thickness", self.variables, chance["thickness"]))
        made = 0.3 + 0.5 * (thickness - 0.1) / 0.4 + 0.2 * (chance["intensity"] - 0.5)
        return {"thickness": thickness, "intensity": do.get("intensity", made)}

    def draw(self, values: Values) -> Float[Tensor, "n 1 h w"]:
        rows, columns = self._grid()
        beside = _wide(values["thickness"] / 2) - (columns - _wide(0.4 + 0.2 * values["place"])).abs()
        cover = _soft(beside, self.size) * _soft(0.4 - (rows - 0.5).abs(), self.size)
        return (cover * _wide(values["intensity"].clamp(0, 1)))[:, None]


class Pendulum(CausalWorld):
    """A pendulum, a light above it, and the shadow on the ground, after the world of CausalVAE (Yang et al., 2021).

    The shadow reaches from where the light puts the pivot to where it puts the ball, a ball's width longer.

    >>> Pendulum(rows=4).graph
    'angle -> length, angle -> position, light -> length, light -> position'
    """

    kind = "pendulum"
    graph = "angle -> length, angle -> position, light -> length, light -> position"
    variables = {"angle": (-0.7, 0.7), "light": (-0.6, 0.6), "length": (0.1, 0.75), "position": (0.1, 0.9)}
    nuisances = ("brightness",)

    _PIVOT, _ROD, _BALL, _GROUND = (0.3, 0.5), 0.36, 0.07, 0.9

    def caused(self, chance: Values, do: Mapping[str, Tensor]) -> Values:
        angle = do.get("angle", _within("angle", self.variables, chance["angle"]))
        light = do.get("light", _within("light", self.variables, chance["light"]))
        pivot = 0.5 + (self._GROUND - self._PIVOT[0]) * light.tan()
        ball = 0.5 + self._ROD * angle.sin() + (self._GROUND - self._PIVOT[0] - self._ROD * angle.cos()) * light.tan()
        length = (ball - pivot).abs() + 2 * self._BALL + 0.04 * (chance["length"] - 0.5)
        position = (ball + pivot) / 2 + 0.04 * (chance["position"] - 0.5)
        return {
            "angle": angle,
            "light": light,
            "length": do.get("length", length),
            "position": do.get("position", position),
        }

    def draw(self, values: Values) -> Float[Tensor, "n 1 h w"]:
        rows, columns = self._grid()
        (top, middle), angle = self._PIVOT, values["angle"]
        y, x = top + self._ROD * angle.cos(), middle + self._ROD * angle.sin()
        along = ((rows - top) * _wide(angle.cos()) + (columns - middle) * _wide(angle.sin())).clamp(0, self._ROD)
        off_rod = (rows - top - along * _wide(angle.cos())).square() + (
            columns - middle - along * _wide(angle.sin())
        ).square()
        lamp = 0.5 - 0.4 * values["light"].tan() / math.tan(0.6)
        shadow = torch.minimum(
            _wide(values["length"] / 2) - (columns - _wide(values["position"])).abs(),
            0.04 - (rows - self._GROUND).abs(),
        )
        image = _soft(shadow, self.size) * 0.5
        image = _over(image, _soft(0.02 - off_rod.sqrt(), self.size), 0.8)
        image = _over(image, _soft(_disc(rows, columns, y, x, self._BALL), self.size), 0.8)
        image = _over(image, _soft(_disc(rows, columns, torch.full_like(lamp, 0.08), lamp, 0.06), self.size), 1.0)
        return (image * _wide(0.8 + 0.2 * values["brightness"]))[:, None]


class Flow(CausalWorld):
    """A ball in a tank lifts the water, which leaves by a hole, after the world of CausalVAE (Yang et al., 2021).

    The level rises with the volume of the ball; the jet reaches 2 sqrt(hole (level - hole)) (Torricelli), scaled.

    >>> Flow(rows=4).fields["x"].shape
    (1, 32, 32)
    """

    kind = "flow"
    graph = "ball -> level, level -> reach, hole -> reach"
    variables = {"ball": (0.05, 0.16), "hole": (0.1, 0.3), "level": (0.35, 0.75), "reach": (0.0, 0.45)}

    _GROUND, _WALL = 0.94, 0.5

    def caused(self, chance: Values, do: Mapping[str, Tensor]) -> Values:
        ball = do.get("ball", _within("ball", self.variables, chance["ball"]))
        hole = do.get("hole", _within("hole", self.variables, chance["hole"]))
        level = do.get("level", 0.38 + 80 * ball**3 + 0.03 * (chance["level"] - 0.5))
        reach = 0.45 * 2 * (hole * (level - hole).clamp(min=0)).sqrt() + 0.03 * (chance["reach"] - 0.5)
        return {"ball": ball, "hole": hole, "level": level, "reach": do.get("reach", reach)}

    def draw(self, values: Values) -> Float[Tensor, "n 1 h w"]:
        rows, columns = self._grid()
        up = self._GROUND - rows  # height above the ground
        wall, hole = self._WALL, _wide(values["hole"])
        inside = torch.minimum(columns - 0.06, wall - columns).expand(self.size, self.size)
        water = torch.minimum(torch.minimum(inside[None], _wide(values["level"]) - up), up.expand_as(inside)[None])
        beyond = ((columns - wall) / _wide(values["reach"].clamp(min=0.02))).clamp(0, 1)
        jet = torch.minimum(0.03 - (up - hole * (1 - beyond**2)).abs(), columns - wall + 0 * hole)
        jet = torch.minimum(jet, _wide(values["reach"]) + 0.02 - (columns - wall))
        centre = torch.full_like(values["ball"], (0.06 + wall) / 2)
        ball = _disc(rows, columns, self._GROUND - values["ball"] - 0.02, centre, values["ball"])
        image = _soft(water, self.size) * 0.4
        image = _over(image, _soft(ball, self.size), 1.0)
        return _over(image, _soft(jet, self.size), 0.7)[:, None]
