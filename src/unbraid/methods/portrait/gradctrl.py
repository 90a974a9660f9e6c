"""Controls of a generator: gradients of small classifiers of its codes, around what other attributes use."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Budget, Method, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.order import key_of, shuffled
from unbraid.losses.odds import class_of, cross_entropy, log_odds
from unbraid.methods.portrait.confident import confident, held_out
from unbraid.methods.portrait.effects import (
    CODES,
    PICTURES,
    STEP,
    STEPS,
    UNITS,
    Alike,
    Look,
    Scored,
    Truth,
    effect,
    summed,
)
from unbraid.methods.portrait.generator import Generator
from unbraid.methods.portrait.scorer import Scorer, from_factors
from unbraid.nets.branches import Branches
from unbraid.ops.navigation import Score, walk

_CHUNK = 1024
_MADE = "unbraid.standins"
_NEAR = 1e-3  # log odds that are as good as those asked for


class GradCtrl(Method["GradCtrl.Config"]):
    """Small classifiers of a generator's codes, and walks along their gradients.

    1. Score items by each attribute, and keep the codes of the most confident ones: a share at either end of a score,
    a share of each class. 2. Descend the cross-entropy of one small classifier for each attribute, on its own codes;
    keep the weights that are best on held-out codes. 3. Edit a code in steps of one length along the gradient of one
    attribute, in which the channels that matter most for the attributes to be kept are set to zero; gradient and
    channels are found anew at each step.

    With `hidden` 0 the classifiers are linear, and the walk is a straight line; with `channels` 0 nothing is closed.

    The released settings for StyleGAN2's faces, as `--to`, `--keep` and `--layers` of the action `edit` take them:
    gender keeps smile=250, eyeglasses=100 and age=100 in layers 2:10; smile keeps gender=200, eyeglasses=50 and
    age=100 in 2:8; eyeglasses keep gender=200, smile=100 and age=250 in 1:4; age keeps gender=100 and eyeglasses=300
    in 4:10.

    Source:
        Chen et al., 2022, sections 3.1 to 3.3; prepare_data.py, train.py, manipulate.py.
    """

    card = Card(
        name="gradctrl",
        title="Exploring Gradient-based Multi-directional Controls in GANs",
        paper="arXiv:2209.00698",
        year=2022,
        number=17,
        modality=("vector",),
        summary="Edits one attribute of a generator's codes along a classifier's gradient, around what others use.",
        ports=(
            Port("generator", "a network from codes to items", optional=True, standin=f"{_MADE}.generators:DISTILLED"),
            Port(
                "scorer",
                "a network from items to a score of each binary attribute, logits of others",
                optional=True,
                standin=f"{_MADE}.probes:SCORER",
            ),
            Port(
                "recogniser",
                "a network from items to embeddings of length 1 of whom they show, by which edits are judged",
                optional=True,
                standin=f"{_MADE}.probes:IDENTITY_ENCODER",
            ),
        ),
        claim="The masked gradient changes other attributes less than the unmasked one and a linear direction do.",
        example="traits",
        tiny="traits:rows=80,width=16,traits=2",
    )
    aliases: ClassVar = {"gradctrl-unmasked": {"channels": 0}, "gradctrl-linear": {"channels": 0, "hidden": 0}}
    about: ClassVar = {
        "gradctrl-unmasked": "Edits one attribute of a generator's codes along a classifier's gradient.",
        "gradctrl-linear": "Edits one attribute of a generator's codes along the direction of a linear classifier.",
    }
    presets: ClassVar = {
        "tiny": {"hidden": 4, "portion": 0.2, "samples": 60, "batch": 8, "steps": 4, "every": 2, "channels": 2},
        "quick": {"samples": 4000},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of gradient controls.

        Attributes:
            attributes: Names of the attributes; those that the scorer names, or those of all factors, where empty.
            classes: Classes of each attribute, 1 for one that has a score; as the scorer says, or all 1, where empty.
            draw: Whether codes are the data's, or drawn from the generator's prior.
            space: What the generator is controlled by: the outputs of its `mapping` ("w"), or its inputs ("z").
            truncation: How far drawn codes of space "w" are from their mean.
            samples: Codes that are scored, at most.
            portion: Share of these that is kept at each end of a score, and for each class.
            held: Share of the kept codes that the classifiers are chosen by.
            hidden: Width of the classifiers' hidden layer; 0 for linear ones.
            shared: Layers that the classifiers share.
            batch: Codes of each attribute per step.
            steps: Steps of training.
            every: Steps between two looks at the held-out codes.
            channels: Most salient channels of each kept attribute that an edit leaves alone; an eighth where None.
            stations: Steps of an edit.
            length: Of each of these steps.
            layers: From which to before which layer of the generator an edit acts; on all where None.
            optim: How the classifiers move.
        """

        attributes: tuple[str, ...] = told((), by="ours")
        classes: tuple[int, ...] = told((), by="ours")
        draw: Literal["data", "prior"] = told("data", by="ours")
        space: Literal["w", "z"] = told("w", by="paper")
        truncation: float = told(0.4, by="code")
        samples: int = told(10_000, by="paper")
        portion: float = told(0.05, by="code")
        held: float = told(0.3, by="code")
        hidden: int = told(16, by="code")
        shared: int = told(0, by="code")
        batch: int = told(32, by="code")
        steps: int = told(600, by="ours")
        every: int = told(20, by="ours")
        channels: int | None = told(None, by="ours")
        stations: int = told(9, by="code")
        length: float = told(4 / 9, by="code")
        layers: tuple[int, int] | None = told(None, by="ours")
        optim: Optim = told(Optim("adam", lr=1e-3), by="code")

        def __post_init__(self) -> None:
            for name in ("samples", "batch", "steps", "every", "stations"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            for name in ("hidden", "shared", "channels"):
                if (getattr(self, name) or 0) < 0:
                    raise ConfigError("a whole number from 0 on", got=str(getattr(self, name)), where=name)
            if not 0 < self.portion <= 0.5:
                raise ConfigError("a share above 0 and up to a half", got=f"{self.portion:g}", where="portion")
            if not 0 < self.held < 1:
                raise ConfigError("a share between 0 and 1", got=f"{self.held:g}", where="held")
            if not self.length > 0:
                raise ConfigError("a length above 0", got=f"{self.length:g}", where="length")
            if any(n < 1 or n == 2 for n in self.classes):
                got = ", ".join(map(str, self.classes))
                raise ConfigError("1 for a score, or three classes or more", got=got, where="classes")

    labels: Tensor
    held: Tensor
    held_codes: Tensor
    best: Tensor

    def __init__(self, config: GradCtrl.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.code = "latent" if "latent" in fields else "x"
        if len(fields[self.code].shape) != 1:
            got = f"items of shape {fields[self.code].shape}"
            fix = "take data with the field 'latent', such as coded-portraits"
            raise DataError("codes, one vector for each item", got=got, fix=fix, where="field 'x'")
        (self.width,) = fields[self.code].shape
        networks = dict(given or {})
        self.generator = Generator(networks.get("generator"), config.space, config.layers)
        if config.draw == "prior" and not {"generator", "scorer"} <= set(networks):
            got = ", ".join(networks) or "neither"
            raise ConfigError("a generator and a scorer, for codes from the prior", got=got, where="draw")
        judge = networks.get("scorer")
        self.scorer = None if judge is None else Scorer(judge, config.attributes, config.classes)
        self.recogniser = Frozen(networks["recogniser"]) if "recogniser" in networks else None
        told = ((), ()) if self.scorer is None else (self.scorer.names, self.scorer.classes)
        self.names = told[0] or config.attributes or fields["factors"].names
        self.classes = config.classes or told[1] or (1,) * len(self.names)
        if len(self.classes) != len(self.names):
            got = f"{len(self.classes)} for {len(self.names)} attributes"
            raise ConfigError("the classes of every attribute", got=got, where="classes")
        if (config.channels or 0) > self.width:
            raise ConfigError(f"at most {self.width} channels", got=str(config.channels), where="channels")
        self.channels = self.width // 8 if config.channels is None else config.channels
        self.heads = Branches(self.width, self.classes, config.hidden, config.shared)
        self.kept = copy.deepcopy(self.heads).requires_grad_(False)
        self.register_buffer("best", torch.tensor(-1.0))
        self.slot("labels", torch.int64)  # (codes, attributes): the class of what is kept, else -1
        self.slot("held", torch.int64)  # (n, 2): attribute and class of each held-out code
        self.slot("held_codes")  # (n, D)

    scaffold = ("heads",)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("controls", "fam", (sum(self.classes),), one=True), PartSpec("code", "vec", (self.width,)))

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The codes: the data's, or as many drawn ones, the same whatever the seed."""
        if self.config.draw == "data":
            return {"train": data}
        z = torch.randn((self.config.samples, self.width), generator=torch.Generator().manual_seed(key_of("gradctrl")))
        return {"train": MemoryDataset("drawn codes", self.generator.drawn(z, self.config.truncation))}

    def stages(self) -> Sequence[Stage]:
        c = self.config
        fit = Update("heads", self.loss, lambda: [self.heads], c.optim, after=self.choose)
        feed = {"": Stream(c.batch, draw=self.rows)}
        return [Stage("solve", solve=self.solve), Stage("heads", [fit], Budget(steps=c.steps), feed)]

    # ---------------------------------------------------------------------------------------------- 1. what to learn

    def solve(self, sources: Mapping[str, Source], at: At) -> None:
        """Which codes each attribute's classifier learns from, and which it is chosen by."""
        data = sources["train"]
        chosen = shuffled(len(data), key_of("gradctrl"), torch.arange(min(len(data), self.config.samples)))
        batches = [data.take(rows, at.device) for rows in torch.split(chosen, _CHUNK)]
        scores = torch.cat([self.scores(batch) for batch in batches])
        kept = confident(scores, self.classes, self.names, self.config.portion)  # (codes, attributes), else -1
        train, held = held_out(kept, self.config.held, at.shared())
        self.labels = torch.full((len(data), len(self.names)), -1, device=at.device).index_copy(
            0, chosen.to(at.device), train
        )
        code, attribute = (held >= 0).nonzero(as_tuple=True)
        self.held = torch.stack([attribute, held[code, attribute]], 1)
        self.held_codes = torch.cat([codes_of(batch) for batch in batches])[code]
        self.best.fill_(-1.0)

    def scores(self, batch: Batch) -> Float[Tensor, "batch outputs"]:
        """How much each item has of each attribute, or is of each class; NaN where that is not known."""
        if self.scorer is not None:
            return cast(Tensor, self.scorer(self.generator(codes_of(batch))))
        names = self.fields["factors"].names
        for name in self.names:
            if name not in names:
                raise ConfigError("the name of a factor", got=f"'{name}'", fix=nearest(name, names), where="attributes")
        return from_factors(batch["factors"], batch["known"], [names.index(name) for name in self.names], self.classes)

    def rows(self, data: Source, indices: Int[Tensor, " batch"], chance: torch.Generator) -> Int[Tensor, "batch a"]:
        """One code of each attribute's own in a row."""
        return torch.multinomial((self.labels.T >= 0).float().cpu(), len(indices), True, generator=chance).T

    # --------------------------------------------------------------------------------------------- 2. the classifiers

    def loss(self, batch: Batch, at: At) -> Terms:
        """The cross-entropy of each classifier on its own codes."""
        every = torch.arange(len(self.names), device=at.device)
        labels = self.labels[batch["index"], every]
        logits = self.heads.diagonal(codes_of(batch))
        return {
            name: cross_entropy(own, label)
            for name, own, label in zip(self.names, logits, labels.unbind(1), strict=True)
        }

    @torch.no_grad()
    def choose(self, at: At) -> None:
        """Keep the weights where no earlier ones were better on the held-out codes."""
        if (at.step + 1) % self.config.every and at.step + 1 < at.steps:
            return
        said = torch.stack([class_of(logits) for logits in self.heads(self.held_codes)], 1)
        attribute, label = self.held.unbind(1)
        right = (said.gather(1, attribute[:, None])[:, 0] == label).float()
        accuracy = right.mean()
        better = accuracy >= self.best
        for old, new in zip(self.kept.parameters(), self.heads.parameters(), strict=True):
            old.copy_(torch.where(better, new, old))
        self.best.copy_(torch.maximum(accuracy, self.best))
        at.note(accuracy=accuracy)

    def encode(self, batch: Batch) -> Parts:
        """Log odds of each attribute, and of each class of those that have several; and the code itself."""
        codes = codes_of(batch)
        return Parts(controls=self.controls(codes), code=codes)

    def controls(self, codes: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch outputs"]:
        """The same of codes."""
        return torch.cat([log_odds(logits) for logits in self.kept(codes)], 1)

    # ---------------------------------------------------------------------------------------------------- 3. editing

    def navigate(
        self,
        codes: Float[Tensor, "batch dim"],
        column: int,
        sign: float | Float[Tensor, " batch"] = 1.0,
        keep: Mapping[int, int] | None = None,
        *,
        stations: int | None = None,
        length: float | None = None,
        until: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "stations batch dim"]:
        """All stations of an edit.

        Args:
            codes: What to edit.
            column: Which of the controls.
            sign: Up or down, for all or for each.
            keep: Attribute -> how many of its channels are closed; all others as configured where None.
            stations: Steps; as configured where None.
            length: Of a step; as configured where None.
            until: Tells which codes are done.
        """
        own = self.owners[column]
        keep = {k: self.channels for k in range(len(self.names)) if k != own} if keep is None else keep
        scores = [(self._guarded(k, codes), top) for k, top in keep.items() if top]
        step = torch.as_tensor(sign) * (self.config.length if length is None else length)
        stations = self.config.stations if stations is None else stations
        return walk(codes, lambda w: self.controls(w)[:, column], scores, steps=stations, length=step, until=until)

    @property
    def owners(self) -> tuple[int, ...]:
        """The attribute of each control."""
        return tuple(k for k, n in enumerate(self.classes) for _ in range(n))

    def _guarded(self, attribute: int, codes: Tensor) -> Score:
        """The log odds of what an attribute is to stay: of the class that each code has at first, or of its score."""
        with torch.no_grad():
            first = self.kept(codes)[attribute].argmax(1, keepdim=True)
        return lambda w: log_odds(self.kept(w)[attribute]).gather(1, first)[:, 0]

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        """Items of codes that are led, one control after the other, to where those that were changed shall be."""
        codes, asked = parts["code"], parts["controls"]
        change = asked - self.controls(codes)
        edited = codes
        for column in (change.abs() > _NEAR).any(0).nonzero()[:, 0].tolist():
            edited = self._led(edited, column, asked[:, column], change[:, column])
        return cast(Tensor, self.generator(codes, edited))

    def _led(self, codes: Tensor, column: int, asked: Tensor, change: Tensor) -> Tensor:
        """Codes one of whose controls was to change and is as asked, or as near to it as short steps come."""

        def arrived(w: Tensor) -> Tensor:
            short = (asked - self.controls(w)[:, column]) * change.sign()
            return (change.abs() <= _NEAR) | (short <= 0)

        return self.navigate(codes, column, change.sign(), stations=STEPS, length=STEP, until=arrived)[-1]

    def edit(self, batch: Batch, part: str, amount: float) -> Float[Tensor, "batch *item"]:
        """Items one of whose log odds has moved by an amount, or as far as the steps go; the others are kept."""
        codes = codes_of(batch)
        columns = list(self.parts()[0].columns)
        if part not in columns:
            raise ConfigError("the name of a control", got=f"'{part}'", fix=nearest(part, columns))
        column = columns.index(part)
        start = self.controls(codes)[:, column]

        def arrived(w: Tensor) -> Tensor:
            return (self.controls(w)[:, column] - start).abs() >= abs(amount)

        edited = self.navigate(codes, column, 1.0 if amount >= 0 else -1.0, until=arrived)[-1]
        return cast(Tensor, self.generator(codes, edited))

    @action(name="edit")
    @torch.no_grad()
    def edited(self, data: Source, attribute: str, to: str = "more", keep: tuple[str, ...] = ()) -> Dataset:
        """Edit an attribute of all items, by as many steps as configured.

        Args:
            data: Codes.
            attribute: The attribute to change.
            to: "more" or "less" of it, or the number of a class.
            keep: An attribute to leave alone, or "age=100" for 100 of its channels; may be repeated; all where empty.
        """
        target = self._attribute(attribute)
        column, sign = self._meant(target, to)
        kept = dict(self._kept(entry) for entry in keep) if keep else None
        if kept and target in kept:
            raise ConfigError("attributes other than the one to change", got=f"'{attribute}'", where="keep")
        items = cast(Dataset, data)
        everything = torch.arange(len(items))
        device = self.best.device
        found = []
        for rows in torch.split(everything, _CHUNK):
            codes = codes_of(items.take(rows, device))
            found.append(self.generator(codes, self.navigate(codes, column, sign, kept)[-1]).cpu())
        return MemoryDataset(f"{items.name}, {attribute} {to}", torch.cat(found))

    def _attribute(self, name: str) -> int:
        if name not in self.names:
            raise ConfigError("the name of an attribute", got=f"'{name}'", fix=nearest(name, self.names))
        return self.names.index(name)

    def _meant(self, attribute: int, to: str) -> tuple[int, float]:
        """Control and sign."""
        first, n = self.owners.index(attribute), self.classes[attribute]
        known = {"more": (first, 1.0), "less": (first, -1.0)}
        known = known if n == 1 else {str(c): (first + c, 1.0) for c in range(n)}
        if to not in known:
            raise ConfigError(f"one of {', '.join(known)}", got=f"'{to}'", where="to")
        return known[to]

    def _kept(self, entry: str) -> tuple[int, int]:
        """An attribute and how many of its channels are closed, from "NAME" or "NAME=CHANNELS"."""
        name, _, count = entry.partition("=")
        if count and not (count.isdecimal() and int(count) <= self.width):
            raise ConfigError(f"a number of channels up to {self.width}", got=f"'{count}'", where="keep")
        return self._attribute(name), int(count) if count else self.channels

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """What edits of each attribute do to it and to the others, judged by true scores where there are any.

        Codes that none were learned from are edited in short steps until the target has moved by one standard deviation
        (or the class is reached), for a way of eight; the change of the others, and how alike the people shown are by
        the recogniser, are means over those that arrived.
        """
        numbers = {"accuracy on held-out codes": float(self.best)}
        truth = self._truth(data)
        if truth is None:
            return Findings(numbers, notes=["Edits are judged where a scorer is given, or the data know true scores."])
        order = shuffled(len(data), key_of("gradctrl"), torch.arange(len(data)))
        codes = torch.cat([codes_of(data.take(rows, self.best.device)) for rows in torch.split(order, _CHUNK)])
        scores = torch.cat([truth(some) for some in torch.split(codes, _CHUNK)])
        some = codes[
            -min(self._look.items, len(codes)) :
        ]  # the last of the order that the first samples were taken from
        middle = scores.median(0).values if self._look.ends else None
        found = [
            effect(some, truth, scores.std(0), middle, self.classes, c, self._judged, self._alike)
            for c in range(sum(self.classes))
        ]
        return Findings(numbers | summed(self.controls_named, found), units=UNITS)

    def _judged(self, codes: Tensor, column: int, way: Tensor, arrived: Callable[[Tensor], Tensor]) -> Tensor:
        look = self._look
        return self.navigate(codes, column, way, stations=look.steps, length=look.step, until=arrived)[-1]

    @property
    def _look(self) -> Look:
        return CODES if self.generator.net is None else PICTURES

    @property
    def _alike(self) -> Alike | None:
        """How alike those are whom codes and edited codes show."""
        recognise = self.recogniser
        if recognise is None:
            return None
        return lambda old, new: (recognise(self.generator(old)) * recognise(self.generator(old, new))).sum(1)

    @property
    def controls_named(self) -> tuple[str, ...]:
        """A name for each control."""
        pairs = zip(self.names, self.classes, strict=True)
        return tuple(name if n == 1 else f"{name} {c}" for name, n in pairs for c in range(n))

    def _truth(self, data: Source) -> Truth | None:
        """Scores of codes that do not come from the classifiers."""
        if (scorer := self.scorer) is not None:
            return lambda codes: cast(Tensor, scorer(self.generator(codes)))
        if not isinstance(data, Scored) or self.generator.net is not None or max(self.classes) > 1:
            return None
        where = [data.fields["factors"].names.index(name) for name in self.names]
        return lambda codes: data.scores(codes)[:, where]


def codes_of(batch: Batch) -> Float[Tensor, "*batch dim"]:
    """The field `latent`, or `x` where there is none."""
    codes: Tensor = batch["latent"] if "latent" in batch else batch["x"]
    return codes
