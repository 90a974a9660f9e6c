"""What a study compares: a recipe, from a TOML file or from words, and the cells it comes down to."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unbraid.core.catalog import find
from unbraid.core.config import from_json
from unbraid.core.errors import ConfigError
from unbraid.verbs.request import Request, located

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Contender:
    """A method as it enters a study.

    Attributes:
        method: A name of the catalog; that of the contender where empty.
        preset: Instead of the study's.
        set: Options, after those of the study.
        given: Port -> where its network comes from.
        start: A run whose weights training starts from.
    """

    method: str = ""
    preset: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    start: str = ""


@dataclass(frozen=True)
class Ground:
    """Data that all contenders are trained on; the attributes are those of `Request`."""

    data: str = ""
    size: int | None = None
    factors: str | None = None
    pattern: str | None = None
    role: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes:
        method: Name of the contender.
        data: Name of the data.
        seed: Of everything drawn.
        request: What is trained.
    """

    method: str
    data: str
    seed: int
    request: Request

    @property
    def name(self) -> str:
        """Of its folder.

        >>> Cell("beta 8", "sprites:size=32", 3, Request()).name
        'beta-8-sprites-size-32-s3'
        """
        return re.sub(r"[^\w.]+", "-", f"{self.method}-{self.data}-s{self.seed}")


@dataclass(frozen=True)
class Recipe:
    """What a study compares.

    Attributes:
        methods: Name -> contender.
        data: Name -> data.
        seeds: Of every pair of method and data.
        title: Of the page.
        preset: Of all contenders that name none.
        set: Options of all contenders.
        metrics: Scores of the audits, separated by commas; the usual ones where None.
        scores: Those on the page, in order; all that two methods have in common where empty.
        less_is_better: Scores of which less is better, besides those that say so themselves.
    """

    methods: Mapping[str, Contender]
    data: Mapping[str, Ground]
    seeds: tuple[int, ...] = SEEDS
    title: str = ""
    preset: str = "quick"
    set: Mapping[str, Any] = field(default_factory=dict)
    metrics: str | None = None
    scores: tuple[str, ...] = ()
    less_is_better: tuple[str, ...] = ()

    def cells(self) -> list[Cell]:
        """Every training, one seed of everything after the other: an unfinished study compares all methods.

        Raises:
            ConfigError: A method or a metric that is not there, an empty list, or two cells of one name.
        """
        for name, listed in (("methods", self.methods), ("data", self.data), ("seeds", self.seeds)):
            if not listed:
                raise ConfigError(f"{name} to compare", got="none", fix=f"name at least one of {name}")
        if self.metrics is not None and self.metrics != "none":
            from unbraid.metrics.registry import named

            named(self.metrics.split(","), where="metrics")
        cells = [
            Cell(method, data, seed, self._request(method, data, seed))
            for seed in self.seeds
            for data in self.data
            for method in self.methods
        ]
        if len({cell.name for cell in cells}) < len(cells):
            raise ConfigError("names of methods and data that differ", got="two cells of one name")
        return cells

    def _request(self, method: str, data: str, seed: int) -> Request:
        contender, ground = self.methods[method], self.data[data]
        name = contender.method or method
        find(name)
        return Request(
            method=name,
            data=ground.data or data,
            preset=contender.preset or self.preset,
            set={**self.set, **contender.set},
            seed=seed,
            size=ground.size,
            factors=ground.factors,
            pattern=ground.pattern,
            role=dict(ground.role),
            given=dict(contender.given),
            start=contender.start or None,
            metrics=self.metrics,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return told

    def located(self) -> Recipe:
        """The recipe with paths made absolute, so that a study goes on from any folder."""

        def ground(name: str, told: Ground) -> Ground:
            found = located(Request(data=told.data or name, factors=told.factors))
            return replace(told, data=found.data, factors=found.factors)

        def contender(told: Contender) -> Contender:
            found = located(Request(given=dict(told.given), start=told.start or None))
            return replace(told, given=found.given, start=found.start or "")

        return replace(
            self,
            methods={name: contender(told) for name, told in self.methods.items()},
            data={name: ground(name, told) for name, told in self.data.items()},
        )

    @classmethod
    def from_json(cls, told: Mapping[str, Any], where: str = "") -> Recipe:
        """A recipe from plain data.

        Args:
            told: The attributes. `methods` and `data` may be lists of names, or tables of name -> options; data may
                be told by a name alone. `steps` stands for `set.steps`.
            where: The file, for errors.

        Raises:
            ConfigError: Naming the key, what is allowed and what came.
        """
        told = {key: _listed(value) if key in ("methods", "data") else value for key, value in told.items()}
        if isinstance(told.get("data"), Mapping):
            told["data"] = {name: {"data": g} if isinstance(g, str) else g for name, g in told["data"].items()}
        if "steps" in told:
            told["set"] = {**told.get("set", {}), "steps": told.pop("steps")}
        if isinstance(told.get("metrics"), list):
            told["metrics"] = ",".join(map(str, told["metrics"]))
        for key in ("methods", "data"):
            if key not in told:
                raise ConfigError(f"{key} to compare", got="none", fix=f"add {key} = [...]", where=where)
        try:
            return from_json(cls, told)
        except ConfigError as error:
            at = ": ".join(filter(None, (where, error.where)))
            raise ConfigError(error.expected, got=error.got, fix=error.fix, where=at) from None


def _listed(value: Any) -> Any:
    """A list of names as a table."""
    return {str(name): {} for name in value} if isinstance(value, list | tuple) else value


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML file; paths in it are as seen from the folder of the file where they exist there.

    Raises:
        ConfigError: The file cannot be read, or a key is wrong.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("a recipe in TOML", got=str(error), where=str(path)) from None
    recipe = Recipe.from_json(told, str(path))
    return replace(recipe, data={name: _beside(path.parent, name, ground) for name, ground in recipe.data.items()})


def _beside(folder: Path, name: str, ground: Ground) -> Ground:
    def seen(value: str | None) -> str | None:
        return str((folder / value).resolve()) if value and (folder / value).exists() else value

    return replace(ground, data=seen(ground.data or name) or "", factors=seen(ground.factors))
