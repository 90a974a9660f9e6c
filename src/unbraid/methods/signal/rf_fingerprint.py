"""The radio fingerprint that forgets the channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Field, Fields
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset
from unbraid.data.splits import part_of, training_part
from unbraid.losses.adversarial import above_chance, hinged
from unbraid.losses.margin import cosines, margin_logits
from unbraid.methods.signal.verification import embed, spread, verified
from unbraid.metrics.ranking import equal_errors
from unbraid.metrics.verification import as_detection, cosine_pairs
from unbraid.nets.norms import measure_norms
from unbraid.nets.strided import StridedTower
from unbraid.nets.unet import AtBottom, UNet
from unbraid.ops.radio import to_image
from unbraid.views.radio import filtered_at_random, noisier

STRIDES = (1, 1, 2, 1, 2, 2)
VIEWS = {"none": None, "noise": noisier, "filter": filtered_at_random}


class RFFingerprint(Method["RFFingerprint.Config"]):
    """Fingerprints of packets learned with each set before the backgrounds of others (Xie et al., 2023, algorithm 1).

    F extracts a fingerprint z, Q a background b (a signal like the packet), and G puts a packet together from both. A
    step takes two draws of packets, x1 and x2:

    1. Move Q and G: b1 is like x1, but F knows the device from it no better than by chance; G(b1, z1) is x1, and F
       finds z1 in it again.
    2. Move F: it knows the device from x1, and the same device from G(b2, z1), another background.

    Every packet enters with unit power, because its strength tells the distance.

    Source:
        xrj-com/DR-RFF, trainer_DR_RFF.py (there the second term of 2 asks for the device of x2: quirk "label_y2").
    """

    card = Card(
        name="rf-fingerprint",
        title="Disentangled Representation Learning for RF Fingerprint Extraction under Unknown Channel Statistics",
        paper="arXiv:2208.02724",
        year=2023,
        number=34,
        modality=("signal",),
        needs=("x", "label"),
        summary="Tells transmitters apart by their hardware, having seen each packet before the backgrounds of others.",
        claim="It tells unknown transmitters apart better than the same extractor trained without the swaps.",
        example="radio:devices=20,unknown=8,captures=4,packets=30,samples=320",
        tiny="radio:devices=4,unknown=2,captures=2,packets=2,samples=320",
    )
    presets = {
        "tiny": {
            "rows": 8,
            "widths": (2, 2, 4, 4, 4, 4),
            "dim": 4,
            "levels": (2, 4, 4, 4),
            "batch": 4,
            "steps": 3,
        },
        "quick": {
            "rows": 8,
            "widths": (5, 10, 20, 20, 30, 40),
            "dim": 32,
            "levels": (8, 16, 24, 24),
            "batch": 48,
            "steps": 350,
            "statistics": "real",
        },
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the fingerprint.

        Attributes:
            rows: Rows of the picture that a packet is laid out in, time running row by row.
            widths: Channels of the extractor's six convolutions.
            dim: Numbers in a fingerprint.
            levels: Channels of the U-Nets Q and G at each size, from the packet's own.
            scale: Of the cosines that are the logits of the devices.
            margin: Radians by which the angle to the true device is enlarged in training; 0.5 is ArcFace.
            swap: Weight of the swapped packets against the real ones; with 0 Q and G are never moved.
            alpha: Weight of what the background tells of the device.
            beta: Weight of the fingerprint's return.
            floor: Nats that the background may tell of the device at no cost.
            asked: How F is asked about a background: by plain products, or by scaled cosines as elsewhere.
            augment: What happens to the packets of training: white noise, or a random filter.
            statistics: What F's batch norm stands on in the end: all that F was shown in training, backgrounds and
                swapped packets included ("mixed"), or real packets alone, measured anew ("real").
            quirks: "label_y2" asks for the device that the background came from.
            batch: Packets in each of a step's two draws.
            steps: Steps of training.
            optim: How F moves.
            background_optim: How Q and G move.
        """

        rows: int = told(16, by="code")
        widths: tuple[int, ...] = told((18, 36, 72, 144, 288, 576), by="code")
        dim: int = told(512, by="code")
        levels: tuple[int, ...] = told((64, 128, 256, 512, 512), by="code")
        scale: float = told(10.0, by="code")
        margin: float = told(0.0, by="code")
        swap: float = told(0.5, by="paper")
        alpha: float = told(10.0, by="code")
        beta: float = told(10.0, by="code")
        floor: float = told(0.0, by="code")
        asked: Literal["product", "cosine"] = told("product", by="code")
        augment: Literal["none", "noise", "filter"] = told("none", by="code")
        statistics: Literal["mixed", "real"] = told("mixed", by="code")
        quirks: frozenset[str] = told(frozenset(), by="ours")
        batch: int = told(256, by="code")
        steps: int = told(500, by="code")
        optim: Optim = told(Optim("adam", lr=1e-3, betas=(0.9, 0.99)), by="code")
        background_optim: Optim = told(Optim("adam", lr=1e-3), by="code")

        known_quirks: ClassVar[frozenset[str]] = frozenset({"label_y2"})

        def __post_init__(self) -> None:
            for name in ("rows", "dim", "batch", "steps"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            if not 0 <= self.swap <= 1:
                raise ConfigError("a weight from 0 to 1", got=f"{self.swap:g}", where="swap")
            if len(self.widths) != len(STRIDES) or min(self.widths) < 1:
                got = str(self.widths)
                raise ConfigError(f"{len(STRIDES)} numbers above 0", got=got, where="widths")
            if unknown := self.quirks - self.known_quirks:
                raise ConfigError("label_y2 or nothing", got=", ".join(sorted(unknown)), where="quirks")

    threshold: Tensor

    def __init__(self, config: RFFingerprint.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        self.samples, devices = _checked(fields, config.rows)
        size = (config.rows, self.samples // config.rows)
        self.extractor = StridedTower(2, size, config.widths, STRIDES, config.dim)
        self.devices = nn.Parameter(nn.init.xavier_uniform_(torch.empty(devices, config.dim)))
        self.background = UNet(2, size, config.levels)
        self.generator = UNet(2, size, config.levels)
        self.placed = AtBottom(config.dim, self.generator.bottom)
        self.register_buffer("threshold", torch.zeros(()))

    def parts(self) -> tuple[PartSpec, ...]:
        return (
            PartSpec("device", "vec", (self.config.dim,), carries=("label",), free_of=("domain",)),
            PartSpec("background", "sig", (2, self.samples), carries=("domain",), free_of=("label",)),
        )

    # ------------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The rows of the split "train", and those to set the threshold on."""
        rows = cast(Dataset, data)
        train = training_part(rows)
        return {"train": train, "validation": part_of(rows, "validation") or train}

    def stages(self) -> Sequence[Stage]:
        c = self.config
        assemble = [self.background, self.generator, self.placed]
        separate = Update("separate", self.separate, lambda: assemble, c.background_optim)
        recognise = Update("recognise", self.recognise, lambda: [self.extractor, self.devices], c.optim)
        draw = Stream(c.batch, views=VIEWS[c.augment])
        updates = [separate, recognise] if c.swap else [recognise]
        fit = Stage("fit", updates, Budget(steps=c.steps), {"first": draw, "second": draw})
        return [fit, Stage("settle", solve=self.settle)]

    def separate(self, batch: Batch, at: At) -> Terms:
        """What Q and G descend; F only passes gradients on."""
        x, y = self.pictures(batch["first"]["x"]), batch["first"]["label"]
        z = self.extractor(x)
        b = self.background(x, at.randn((len(x), *self.background.bottom)))
        made = self.generator(b, self.placed(z))
        known = at.world.mean(above_chance(self.answers(b), y).mean())
        at.note(told=known)
        return self.separation(x, b, made, z, self.extractor(made), known)

    def separation(self, x: Tensor, b: Tensor, made: Tensor, z: Tensor, again: Tensor, known: Tensor) -> Terms:
        """The terms of Q (the first two) and of G."""
        return {
            "told": (self.config.alpha, hinged(known, self.config.floor)),
            "background": (b - x).square().flatten(1).mean(1),
            "reconstruction": (made - x).square().flatten(1).mean(1),
            "return": (self.config.beta, (again - z).square().mean(1)),
        }

    def recognise(self, batch: Batch, at: At) -> Terms:
        """What F descends; the swapped packets are constants."""
        first, second = batch["first"], batch["second"]
        y, z = first["label"], self.extractor(self.pictures(first["x"]))
        real = self.logits(z, y)
        if not self.config.swap:
            return self.recognition(real, y, real, y)
        with torch.no_grad():
            x = self.pictures(second["x"])
            b = self.background(x, at.randn((len(x), *self.background.bottom)))
            swapped = self.generator(b, self.placed(z))
        label = second["label"] if "label_y2" in self.config.quirks else y
        return self.recognition(real, y, self.logits(self.extractor(swapped), label), label)

    def recognition(self, real: Tensor, y: Tensor, swapped: Tensor, label: Tensor) -> Terms:
        """The terms of F, from the logits of real and of swapped packets."""
        share = self.config.swap
        terms: dict[str, tuple[float, Tensor]] = {
            "real": (1 - share, functional.cross_entropy(real, y, reduction="none")),
            "swapped": (share, functional.cross_entropy(swapped, label, reduction="none")),
        }
        return {name: term for name, term in terms.items() if term[0]}

    def settle(self, sources: Mapping[str, Source], at: At) -> None:
        """What follows from the trained networks: statistics of F where they are to be real, and the threshold."""
        if self.config.statistics == "real":
            train = sources["train"]
            rows = torch.split(spread(len(train)), self.config.batch)
            measure_norms(self.extractor, (self.pictures(train.take(r, at.device)["x"]) for r in rows if len(r) > 1))
        self.set_threshold(sources, at)

    def set_threshold(self, sources: Mapping[str, Source], at: At) -> None:
        """Where as many pairs of one device are taken for two as the other way round, among known devices."""
        for name in ("validation", "train"):
            data = cast(Dataset, sources[name])
            z, y = embed(self, data, spread(len(data)))
            if 1 < len(np.unique(y)) < len(y):
                self.threshold.fill_(equal_errors(*as_detection(*cosine_pairs(z, y))).threshold)
                return

    # ----------------------------------------------------------------------------------------------------- the pieces

    def pictures(self, x: Float[Tensor, "batch 2 t"]) -> Float[Tensor, "batch 2 rows columns"]:
        """Packets of unit power as the networks take them."""
        power = x.square().sum(1, keepdim=True).mean(2, keepdim=True)
        return to_image(x / torch.where(power > 0, power, 1.0).sqrt(), self.config.rows)

    def logits(self, z: Float[Tensor, "batch dim"], y: Int[Tensor, " batch"]) -> Float[Tensor, "batch devices"]:
        """Scaled cosines to the devices, the true one's with the margin."""
        return margin_logits(z, self.devices, y, self.config.scale, self.config.margin)

    def answers(self, b: Float[Tensor, "batch 2 rows columns"]) -> Float[Tensor, "batch devices"]:
        """What F says of a background; by default without normalisation, which keeps the adversary mild."""
        z = self.extractor(b)
        return z @ self.devices.T if self.config.asked == "product" else self.config.scale * cosines(z, self.devices)

    # ---------------------------------------------------------------------------------------------------- what it can

    def encode(self, batch: Batch) -> Parts:
        x = self.pictures(batch["x"])
        return Parts(device=self.extractor(x), background=self.background(x).flatten(2))

    def decode(self, parts: Parts) -> Float[Tensor, "batch 2 t"]:
        """The packet, of unit power, that the device would send before the background."""
        b = to_image(parts["background"], self.config.rows)
        made: Tensor = self.generator(b, self.placed(parts["device"]))
        return made.flatten(2)

    def predict(self, batch: Batch) -> Prediction:
        """Which of the devices of training sent each packet."""
        z = self.extractor(self.pictures(batch["x"]))
        return Prediction(self.config.scale * cosines(z, self.devices))

    def examine(self, data: Source) -> Findings:
        """Verification of devices never trained on, in each environment and over all of them."""
        return verified(self, cast(Dataset, data))

    @action
    def same_device(self, a: Source, b: Source, threshold: float | None = None) -> Table:
        """Say of each packet of one set whether it comes from the transmitter of the other.

        Args:
            a: Packets of one transmitter.
            b: Packets in question.
            threshold: The cosine distance above which devices differ; left out, the one of equal errors in training.
        """
        for name, source in (("a", a), ("b", b)):
            if source.fields["x"].shape != (2, self.samples):
                got = f"packets of shape {source.fields['x'].shape}"
                raise DataError(f"packets (2, {self.samples}), as in training", got=got, where=name)
        limit = float(self.threshold) if threshold is None else threshold
        known, asked = (embed(self, cast(Dataset, s), torch.arange(len(s)))[0] for s in (a, b))
        distance = 1 - _unit(asked) @ _unit(known).mean(0)
        ids = cast(Dataset, b).ids(torch.arange(len(b)))
        columns = {"packet": ids, "distance": distance.tolist(), "same": (distance <= limit).tolist()}
        return Table(columns)


def _unit(z: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))


def _checked(fields: Fields, rows: int) -> tuple[int, int]:
    """Samples and devices of data that will do."""
    x, label = fields["x"], fields["label"]
    if len(x.shape) != 2 or x.shape[0] != 2:
        raise DataError("packets (2, samples), I before Q", got=f"shape {x.shape}", fix="open them as iq:PATH")
    if x.shape[1] % rows:
        got = f"{x.shape[1]} samples"
        raise ConfigError("a number that divides the samples of a packet", got=f"{rows} for {got}", where="rows")
    return x.shape[1], _devices(label)


def _devices(label: Field) -> int:
    if label.classes is None or label.classes < 2:
        raise DataError("a label of two devices or more", got=f"{label.classes} classes", where="label")
    return label.classes
