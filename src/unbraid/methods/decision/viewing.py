"""What moves a camera to a preferred view: candidates, their expected free energy, and how near it came."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Update
from unbraid.core.outcome import Findings, Pictures, Table
from unbraid.data.order import key_of, shuffled
from unbraid.data.pairs import companions
from unbraid.data.splits import part_of, training_part
from unbraid.data.viewpoints import Viewpoints
from unbraid.losses.constrained import tightened
from unbraid.methods.decision.acting import known_world
from unbraid.nets.viewed import FlatViewDecoder, FlatViewEncoder, ViewDecoder, ViewEncoder
from unbraid.ops.pose import apart, relative, still

Mode = Literal["pose", "pixel"]

QUICK: Mapping[str, Any] = {
    "network": "mlp",
    "eta": 0.1,
    "initial": 1e4,
    "limits": (1e-3, 1e5),
    "candidates": 200,
    "steps": 2000,
    "optim.lr": 2e-3,
    "optim.schedule.kind": "cosine",
}
"""Minutes on small images: perceptrons, and multipliers that start high, since few steps cannot raise them."""

_KNOWN, _JUDGED, _GRID = 1000, 256, 16


@dataclass(frozen=True)
class ViewOptions:
    """The choices that every model of views has.

    Attributes:
        network: Convolutions, or for small images a perceptron.
        features: Channels after each convolution, which halves the image.
        width: Of the perceptron's two hidden layers.
        tolerance: The mean squared error of a pixel that is asked for.
        eta: How fast the multipliers follow what exceeds it.
        smoothing: Share of the old average of the excess that is kept at each step.
        initial: The multipliers at first.
        limits: The least and the most that they may be.
        candidates: Motions that are compared before one is made.
        motions: Most motions on the way to a preferred view.
        near: How far from the preferred view it is enough to be, as the model measures it.
        batch: Pairs of views per step.
        steps: Steps of training.
        optim: How everything moves.
    """

    network: Literal["conv", "mlp"] = told("conv", by="second")
    width: int = told(256, by="ours")
    features: tuple[int, ...] = told((4, 8, 16, 32, 64, 128), by="second")
    tolerance: float = told(0.0025, by="ours")
    eta: float = told(1e-2, by="ours")
    smoothing: float = told(0.99, by="ours")
    initial: float = told(1.0, by="ours")
    limits: tuple[float, float] = told((1e-3, 1e4), by="ours")
    candidates: int = told(1000, by="ours")
    motions: int = told(10, by="ours")
    near: float = told(0.1, by="ours")
    batch: int = told(32, by="ours")
    steps: int = told(100_000, by="ours")
    optim: Optim = told(Optim("adam", lr=1e-4), by="ours")

    def __post_init__(self) -> None:
        for name in ("width", "candidates", "motions", "batch", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
        if not self.features or min(self.features) < 1:
            raise ConfigError("channels of one convolution at least", got=str(self.features), where="features")
        if not 0 < self.limits[0] <= self.initial <= self.limits[1]:
            got = f"{self.limits[0]:g}, {self.initial:g}, {self.limits[1]:g}"
            raise ConfigError("least <= initial <= most, above 0", got=got, where="limits")
        if not 0 <= self.smoothing < 1:
            raise ConfigError("a share from 0 to below 1", got=f"{self.smoothing:g}", where="smoothing")


C = TypeVar("C", bound=ViewOptions)


@dataclass(frozen=True)
class Journey:
    """Several cameras on their ways, each to a view that it prefers. Steps come first, the start before all.

    Attributes:
        far: How far the preferred view is, as the model measures it.
        angle: Of the turn from there to where that view was taken, in degrees.
        way: The distance from there to where it was taken.
        seen: What was seen.
        imagined: What was expected to be seen; at first, how the model sees the first view.
    """

    far: Float[Tensor, "t n"]
    angle: Float[Tensor, "t n"]
    way: Float[Tensor, "t n"]
    seen: Float[Tensor, "t n c h w"]
    imagined: Float[Tensor, "t n c h w"]


class Viewer(Method[C]):
    """A model of what is seen after a motion, which chooses the motion that leads to a preferred view.

    Attributes:
        constraints: The errors that are held below the tolerance, each by its multiplier.
    """

    constraints: tuple[str, ...]
    multiplier: Tensor
    excess: Tensor

    def __init__(self, config: C, fields: Fields) -> None:
        super().__init__(config, fields)
        field = fields["x"]
        if len(field.shape) != 3 or not field.unit:
            raise DataError("images (C, H, W) in [0, 1]", got=f"items of shape {field.shape}", where="field 'x'")
        count = len(self.constraints)
        self.register_buffer("multiplier", torch.full((count,), config.initial))
        self.register_buffer("excess", torch.zeros(count))
        self.slot("known")  # (n, 7): motions between views of the training data

    def networks(self, encoded: int, decoded: int, given: int = 0) -> tuple[nn.Module, nn.Module]:
        """An encoder to so many numbers, and a decoder from so many.

        Args:
            encoded: Numbers of mean and of log variance.
            decoded: Numbers that an image is made from.
            given: Numbers that the encoder knows besides the image.
        """
        c, shape = self.config, self.fields["x"].shape
        if c.network == "mlp":
            return FlatViewEncoder(shape, c.width, encoded, given), FlatViewDecoder(decoded, shape, c.width)
        return ViewEncoder(shape, c.features, encoded, given), ViewDecoder(decoded, shape, c.features)

    # -------------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The views of the instances that are not set aside."""
        return {"train": training_part(data)}  # type: ignore[arg-type]

    def fitted(self, update: Update) -> Stage:
        """The one stage: pairs of views of one instance, whose motions are remembered first."""
        c = self.config
        return Stage(
            "fit", [update], Budget(steps=c.steps), {"": Stream(c.batch, draw=companions)}, solve=self._remember
        )

    @torch.no_grad()
    def _remember(self, sources: Mapping[str, Source], at: At) -> None:
        data: Any = sources["train"]
        rows = shuffled(len(data), key_of("motions"), torch.arange(min(len(data), _KNOWN)))
        pairs = companions(data, rows, torch.Generator().manual_seed(key_of("motions")))
        pose = torch.cat([data.take(few)["pose"] for few in torch.split(pairs, _JUDGED)])
        self.known = relative(pose[:, 0], pose[:, 1]).to(at.device)

    def weighed(self, errors: Mapping[str, Float[Tensor, " batch"]], at: At) -> dict[str, Tensor]:
        """The errors times their multipliers."""
        mean = torch.stack([errors[name].detach().mean() for name in self.constraints])
        at.memo["errors"] = at.world.mean(mean)
        at.note(**{f"error {n}": e for n, e in zip(self.constraints, at.memo["errors"], strict=True)})
        at.note(**{f"multiplier {n}": m for n, m in zip(self.constraints, self.multiplier.clone(), strict=True)})
        return {name: m * errors[name] for name, m in zip(self.constraints, self.multiplier.clone(), strict=True)}

    @torch.no_grad()
    def tighten(self, at: At) -> None:
        """Move the multipliers, once the step is done."""
        c = self.config
        keep = c.smoothing if at.step else 0.0
        self.excess.lerp_(at.memo["errors"] - c.tolerance, 1 - keep)
        self.multiplier.copy_(tightened(self.multiplier, self.excess, c.eta, c.limits))

    # ---------------------------------------------------------------------------------------------- what a model tells

    @abstractmethod
    def free_energy(
        self, here: Batch, goal: Float[Tensor, "n c h w"], motions: Float[Tensor, "n m 7"], mode: Mode
    ) -> Float[Tensor, "n m"]:
        """The expected free energy of motions, given what is seen here and what is preferred."""

    @abstractmethod
    def imagined(self, here: Batch, motion: Float[Tensor, "n 7"]) -> Float[Tensor, "n c h w"]:
        """What will be seen after motions."""

    @abstractmethod
    def far(self, here: Batch, goal: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """How far the preferred views are from what is seen."""

    @property
    def mode(self) -> Mode:
        """What is compared with the preferred view unless one asks for something else."""
        return "pixel"

    # ---------------------------------------------------------------------------------------------------------- acting

    @torch.no_grad()
    def act(self, history: Batch, ask: str | float = "best") -> Float[Tensor, "n 7"]:
        """The motion of least expected free energy.

        Args:
            history: `x`, what is seen; `goal`, what is preferred, alike in shape; perhaps `motions` (n, m, 7), those
                to choose from, or else 1,000 between views of the training data; `pose` where the model needs it.
            ask: "pose" or "pixel", what is compared; "best" as configured.
        """
        mode = self._mode(ask)
        x, goal = (history[name].to(self.multiplier.device) for name in ("x", "goal"))
        motions = history.get("motions")
        if motions is None:
            motions = torch.cat([still(1, device=x.device), self.known]).expand(len(x), -1, -1)
        energy = self.free_energy({**history, "x": x}, goal, motions.to(x.device), mode)
        best = energy.argmin(1)[:, None, None].expand(-1, 1, motions.shape[2])
        return motions.to(x.device).gather(1, best)[:, 0]

    @torch.no_grad()
    def travel(
        self,
        world: Viewpoints,
        state: Float[Tensor, "n 8"],
        goal: Float[Tensor, "n c h w"],
        target: Float[Tensor, "n 7"],
        *,
        ask: str = "best",
        motions: int | None = None,
        candidates: int | None = None,
        seed: int = 0,
    ) -> Journey:
        """Move cameras until the preferred views are near, as the model measures it; who is near stays.

        Args:
            world: Where.
            state: Instances and poses at first.
            goal: The preferred views.
            target: Where these were taken.
            ask: "pose" or "pixel"; "best" as configured.
            motions: How many at most; as configured where None.
            candidates: Motions to choose from; as configured where None.
            seed: Of the candidates.
        """
        generator = torch.Generator().manual_seed(key_of(seed, "candidates"))
        count = candidates or self.config.candidates
        device = self.multiplier.device
        goal = goal.to(device)
        here = self._looked(world, state)
        steps = [(state, here, self.far(here, goal), self.imagined(here, still(len(state), device=device)))]
        for _ in range(motions or self.config.motions):
            offered = world.motions(state, count, generator)
            chosen = self.act({**here, "goal": goal, "motions": offered}, ask)
            there = (steps[-1][2] <= self.config.near)[:, None]
            chosen = torch.where(there, still(len(state), device=device), chosen)
            expected = self.imagined(here, chosen)
            state = world.step(state, chosen, generator).state
            here = self._looked(world, state)
            steps.append((state, here, self.far(here, goal), expected))
        angle, way = apart(torch.stack([s[0] for s in steps])[..., 1:], target.expand(len(steps), *target.shape))
        far, seen, expected = (
            torch.stack(column).cpu()
            for column in ([s[2] for s in steps], [s[1]["x"] for s in steps], [s[3] for s in steps])
        )
        return Journey(far, angle, way, seen, expected)

    def _looked(self, world: Viewpoints, state: Float[Tensor, "n 8"]) -> dict[str, Tensor]:
        device = self.multiplier.device
        return {"x": world.see(state).to(device), "pose": state[:, 1:].to(device)}

    def _mode(self, ask: str | float) -> Mode:
        if ask == "best":
            return self.mode
        if ask == "pose" and self.mode == "pose":
            return "pose"
        if ask == "pixel":
            return "pixel"
        known = "'pixel'" if self.mode == "pixel" else "'pose' or 'pixel'"
        raise ConfigError(f"{known}, or 'best'", got=f"'{ask}'", where="mode")

    # ---------------------------------------------------------------------------------------------------- for the user

    @action
    def reach(
        self,
        start: int,
        goal: int,
        data: Source | None = None,
        mode: str = "best",
        motions: int = 10,
        candidates: int = 1000,
        seed: int = 0,
    ) -> Findings:
        """Move the camera from where one item was seen until it sees the like of another item, of any instance.

        Args:
            start: Number of the item to start from.
            goal: Number of the item whose view is preferred.
            data: The items, of a world in which the camera can be moved; those of the run where left out.
            mode: What is compared with the preferred view: "pose" or "pixel"; "best" as configured.
            motions: Most motions.
            candidates: Motions to choose from at each step.
            seed: Of these.
        """
        journey = self._journey(data, start, goal, mode, motions, candidates, seed)
        named = {"distance in the model": journey.far, "angle": journey.angle, "distance": journey.way}
        numbers = {f"{name} at {when}": float(v[i, 0]) for name, v in named.items() for when, i in _ENDS.items()}
        units = {f"angle at {when}": "degrees" for when in _ENDS}
        table = Table(
            {"motion": list(range(len(journey.far))), **{name: v[:, 0].tolist() for name, v in named.items()}}
        )
        arrays = {"seen": journey.seen[:, 0], "imagined": journey.imagined[:, 0]}
        return Findings(numbers, arrays, units, tables={"motions": table})

    @action
    def film(
        self,
        start: int,
        goal: int,
        data: Source | None = None,
        mode: str = "best",
        motions: int = 5,
        candidates: int = 1000,
        seed: int = 0,
    ) -> Pictures:
        """The pictures of `reach`: the preferred view, then what was imagined and what was seen after each motion.

        Args:
            start: Number of the item to start from.
            goal: Number of the item whose view is preferred.
            data: The items, of a world in which the camera can be moved; those of the run where left out.
            mode: What is compared with the preferred view: "pose" or "pixel"; "best" as configured.
            motions: Most motions.
            candidates: Motions to choose from at each step.
            seed: Of these.
        """
        journey = self._journey(data, start, goal, mode, motions, candidates, seed)
        wanted = _of(data).take(torch.tensor([goal]))["x"].cpu()
        images = torch.stack([journey.imagined[:, 0], journey.seen[:, 0]], 1).flatten(0, 1)
        labels = [f"{what} {k}" for k in range(len(journey.seen)) for what in ("imagined", "seen")]
        return Pictures(torch.cat([wanted, images]), ["preferred", *labels])

    @action
    def imagine(
        self,
        items: int = 8,
        shift: tuple[str, ...] = (),
        turn: tuple[str, ...] = (),
        data: Source | None = None,
        seed: int = 0,
    ) -> Pictures:
        """What the model expects to see after a motion, below what is seen.

        Args:
            items: How many of the first views.
            shift: Three numbers: how far the camera moves to its right, up and back; 0 where left out.
            turn: Four numbers, a quaternion with w first; none turns nothing. With neither, motions are drawn.
            data: The views; those of the run where left out.
            seed: Of the drawn motions.
        """
        rows = torch.arange(min(items, len(_of(data))))
        batch = _of(data).take(rows, self.multiplier.device)
        motion = self._told(shift, turn, len(rows), seed).to(self.multiplier.device)
        with torch.no_grad():
            made = self.imagined(batch, motion)
        return Pictures(torch.cat([batch["x"], made]).cpu(), ["seen"] * len(rows) + ["imagined"] * len(rows))

    def _told(self, shift: tuple[str, ...], turn: tuple[str, ...], count: int, seed: int) -> Float[Tensor, "n 7"]:
        if not shift and not turn:
            chance = torch.Generator().manual_seed(seed)
            return self.known.cpu()[torch.randint(len(self.known), (count,), generator=chance)]
        numbers = [*_numbers(shift or ("0",) * 3, 3, "shift"), *_numbers(turn or ("1", "0", "0", "0"), 4, "turn")]
        motion = torch.tensor(numbers)
        if motion[3:].norm() == 0:
            raise ConfigError("a quaternion other than 0", got="0", where="turn")
        # Taken relative to standing still, for its length and its sign.
        motion[3:] /= motion[3:].norm()
        return relative(still(1), motion[None]).expand(count, -1)

    def _journey(
        self, data: Any, start: int, goal: int, mode: str, motions: int, candidates: int, seed: int
    ) -> Journey:
        source, world = _of(data), view_world(data)
        for name, item in (("start", start), ("goal", goal)):
            if not 0 <= item < len(source):
                raise ConfigError(f"an item 0..{len(source) - 1}", got=str(item), where=name)
        for name, count in (("motions", motions), ("candidates", candidates)):
            if count < 1:
                raise ConfigError("a whole number above 0", got=str(count), where=name)
        ends = source.take(torch.tensor([start, goal]))
        state = world.at(ends["instance"][:1], ends["pose"][:1])
        target = ends["pose"][1:].cpu()
        return self.travel(
            world, state, ends["x"][1:], target, ask=mode, motions=motions, candidates=candidates, seed=seed
        )

    # --------------------------------------------------------------------------------------------------------- judging

    def examine(self, data: Source) -> Findings:
        """On instances that were set aside: prediction of one motion, journeys, and what each part varies with."""
        rows: Any = part_of(data, "test") or data  # type: ignore[arg-type]
        numbers = self._predicted(rows)
        world = known_world(data)
        if isinstance(world, Viewpoints):
            numbers |= self._reached(rows, world)
        return Findings(numbers)

    @torch.no_grad()
    def _predicted(self, rows: Any) -> dict[str, float]:
        """The error of what is imagined after one motion, and of what was seen before it."""
        chosen = shuffled(len(rows), key_of("examine"), torch.arange(min(len(rows), _JUDGED)))
        pairs = companions(rows, chosen, torch.Generator().manual_seed(key_of("examine")))
        batch = rows.take(pairs, self.multiplier.device)
        pose, x = batch["pose"], batch["x"]
        made = self.imagined({"x": x[:, 0], "pose": pose[:, 0]}, relative(pose[:, 0], pose[:, 1]))
        error, copied = (float((view - x[:, 1]).square().mean()) for view in (made, x[:, 0]))
        return {"error after a motion": error, "error of the view before": copied}

    def _reached(self, rows: Any, world: Viewpoints) -> dict[str, float]:
        """Journeys of three motions among 200 candidates to views of other instances."""
        count = min(len(rows), 64)
        start = shuffled(len(rows), key_of("start"), torch.arange(count))
        goal = shuffled(len(rows), key_of("goal"), torch.arange(count))
        ends = [rows.take(chosen) for chosen in (start, goal)]
        state = world.at(ends[0]["instance"], ends[0]["pose"])
        journey = self.travel(world, state, ends[1]["x"], ends[1]["pose"].cpu(), motions=3, candidates=200)
        means = {"angle": journey.angle.mean(1), "distance": journey.way.mean(1)}
        return {f"{name} at {when}": float(v[i]) for name, v in means.items() for when, i in _ENDS.items()}


_ENDS = {"first": 0, "last": -1}


def variation(codes: Float[Tensor, "instances poses dim"]) -> tuple[float, float]:
    """The variance of codes when only the pose varies, and when only the instance does, summed over the columns."""
    by_pose, by_instance = codes.var(1, correction=0), codes.var(0, correction=0)
    return float(by_pose.sum(1).mean()), float(by_instance.sum(1).mean())


def grid_of(world: Viewpoints, instances: Int[Tensor, " n"], seed: int = 0) -> Float[Tensor, "n poses c h w"]:
    """Every one of some instances from the same poses."""
    chance = torch.Generator().manual_seed(key_of(seed, "grid"))
    pose = world.space.poses(instances[:1], _GRID, chance)[0]
    pairs = instances.repeat_interleave(_GRID), pose.repeat(len(instances), 1)
    views = world.see(world.at(*pairs))
    return views.reshape(len(instances), _GRID, *views.shape[1:])


def view_world(data: Any) -> Viewpoints:
    """The world in which the camera of these views can be moved.

    Raises:
        DataError: It is not known.
    """
    world = known_world(data)
    if not isinstance(world, Viewpoints):
        got = f"'{getattr(data, 'name', 'other data')}'"
        raise DataError("views by a camera that can be moved", got=got, fix="use objects, solids or views:PATH")
    return world


def _of(data: Source | None) -> Source:
    if data is None:
        raise ConfigError("views", got="none", where="data")
    return data


def _numbers(texts: tuple[str, ...], count: int, where: str) -> list[float]:
    """Numbers given one by one, or with commas between them."""
    found = [text for several in texts for text in several.split(",")]
    try:
        numbers = [float(text) for text in found]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(-1e6 < n < 1e6 for n in numbers):
        raise ConfigError(f"{count} numbers", got=f"'{','.join(texts)}'", where=where)
    return numbers
