"""The benchmark of self-supervised learning on medical images: any method, judged by three properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given, Port
from unbraid.core.method import Group, Method, Optim, Schedule, Source, Stage
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.catalog import open_data
from unbraid.data.dataset import Dataset
from unbraid.data.splits import part_of, training_part
from unbraid.data.wrapped import Subset
from unbraid.methods.joint.embedding import judged, spaced
from unbraid.metrics.few_labels import SHARES, Probe, linear_probe, nested
from unbraid.metrics.outliers import Detection, detected, energy, near, normals, probability
from unbraid.metrics.ranking import macro_auroc
from unbraid.views.image import grey

SET = "set"
"""The factor that says which file an item is from."""

BENCHMARK = "benchmark"
"""The preset of the inner method that is this benchmark's: small images, batches of 256, and the same for all else."""


def _lars(lr: float, weight_decay: float) -> Optim:
    plain = Group("", dims=1, weight_decay=0.0, trust=0.0)
    moving = Optim("lars", lr=lr, momentum=0.9, weight_decay=weight_decay, trust=0.02, groups=(plain,))
    return replace(moving, schedule=Schedule("cosine"))


_ALIKE = {"backbone": "resnet50", "width": 64, "views": "medical", "batch": 256, "epochs": 400.0}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "simclr": {"optim": _lars(0.4, 1e-4), "projector": (2048, 256), "temperature": 0.2},
    "byol": {"optim": _lars(1.0, 1e-5), "projector": (4096, 256), "hidden": 4096, "decay": 0.99},
    "mocov3": {"optim": _lars(0.3, 1e-6), "projector": (4096, 256), "hidden": 4096, "temperature": 0.2},
    "nnclr": {"optim": _lars(0.4, 1e-5), "projector": (2048, 2048, 256), "hidden": 4096, "temperature": 0.2}
    | {"queue": 65536},
    "dino": {"optim": _lars(0.3, 1e-6), "prototypes": 4096, "hidden": 2048, "bottleneck": 256, "momentum": 0.9995}
    | {"local": 0, "global_scale": (0.2, 1.0), "drop_path": 0.0},
    "ressl": {"optim": Optim("sgd", lr=0.05, momentum=0.9, weight_decay=1e-4, schedule=Schedule("cosine"))}
    | {"projector": (4096, 256), "temperature": 0.1, "teacher_temperature": 0.04, "momentum": 0.99},
    "vicreg": {"optim": _lars(0.3, 1e-4), "projector": (2048, 2048, 2048)},
    "barlow-twins": {"optim": _lars(0.3, 1e-4), "projector": (2048, 2048, 2048), "scale": 0.1, "redundancy": 0.005},
}
"""What the published runs of the eight methods on small images set, as in solo-learn's configurations."""

_SPLITS = ("train", "validation", "test")
_AT_ONCE = 256
_ALL = "all of them"


class MedicalBenchmark(Method["MedicalBenchmark.Config"]):
    """Trains another method on the training items, and judges what it encodes (Bundele et al., 2024).

    1. In the domain: a linear probe on the frozen codes learns from 1, 10 and 100 % of the training labels, nested and
    stratified, the same for every method and seed; its ridge is chosen on the validation items. 2. Out of it: scores of
    the codes tell test items from those of other sets. 3. Elsewhere: probes of the same codes on the other sets.

    The paper compares eight methods: simclr, byol, mocov3, nnclr, dino, ressl, vicreg and barlow-twins.
    """

    card = Card(
        number=48,
        name="medical-benchmark",
        title="Evaluating Self-Supervised Learning in Medical Imaging",
        paper="arXiv:2412.19124",
        year=2024,
        modality=("image",),
        wants=("label",),
        family="protocol",
        summary="Trains another method and judges it by few labels, by other sets, and by telling those apart.",
        claim=(
            "Self-supervised codes are read better than untrained ones after few labels, other kinds of images are "
            "told from the own kind, and another draw of the own kind is not."
        ),
        ports=(
            Port(
                "weights",
                "a network whose tensors the encoder starts from, in their order, where shapes agree",
                trainable=True,
                optional=True,
            ),
        ),
        example="specimens",
        tiny="specimens:rows=72,size=16",
    )
    presets = {
        "quick": {"preset": "quick"},
        "tiny": {
            "method": "barlow-twins",
            "preset": "tiny",
            "others": ("specimens:kind=stripes,rows=72,size=16",),
            "most": 40,
        },
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the benchmark.

        Attributes:
            method: What is trained; a name of the catalog.
            preset: Of that method; "benchmark" is what the eight methods have in common here, and for others, like an
                empty one, their paper's.
            options: Its further options, each as option=value.
            others: Other data sets, as `--data` takes them; the own one among them is left out.
            kin: Beginnings of names of sets that show the same things. Those of the own set's beginning count as near,
                and are told apart from the far ones.
            shares: Of the training labels that probes learn from.
            labelled: Share of the training items, nested in the same way, that training sees: for references that
                learn from labels.
            even: Whether the sets of a union count alike in training, in place of their images.
            grey: Whether other sets are also told apart without colour.
            shrinkage: Of the covariance in Mahalanobis distances; Ledoit and Wolf's where None.
            neighbours: Which neighbour's distance counts.
            most: Items of each split that are looked at, evenly spaced.
        """

        method: str = told("simclr", by="paper")
        preset: str = told(BENCHMARK, by="code")
        options: tuple[str, ...] = told((), by="ours")
        others: tuple[str, ...] = told((), by="ours")
        kin: tuple[str, ...] = told(("organ",), by="ours")
        shares: tuple[float, ...] = told(SHARES, by="paper")
        labelled: float = told(1.0, by="ours")
        even: bool = told(False, by="ours")
        grey: bool = told(True, by="ours")
        shrinkage: float | None = told(None, by="ours")
        neighbours: int = told(50, by="ours")
        most: int = told(20_000, by="ours")

        def __post_init__(self) -> None:
            for option in self.options:
                if "=" not in option:
                    raise ConfigError("options of the inner method as option=value", got=f"'{option}'", where="options")
            for share in (*self.shares, self.labelled):
                if not 0 < share <= 1:
                    raise ConfigError("shares above 0 and up to 1", got=f"{share:g}", where="shares")
            if not self.shares or self.neighbours < 1 or self.most < 4:
                got = f"{len(self.shares)}, {self.neighbours} and {self.most}"
                raise ConfigError("a share, a neighbour and 4 items, or more", got=got)

    def __init__(self, config: MedicalBenchmark.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.inner = _built(config, fields)
        if given and "weights" in given:
            start_from(_encoder(self.inner), given["weights"])

    def parts(self) -> tuple[PartSpec, ...]:
        return self.inner.parts()

    def encode(self, batch: Batch) -> Parts:
        return self.inner.encode(batch)

    def refresh(self) -> None:
        self.inner.refresh()

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The training items, less those whose label is not to be seen, sets of a union evened out where asked."""
        rows = training_part(cast(Dataset, data))
        if self.config.labelled < 1:
            labels = _labels(rows, torch.arange(len(rows)))
            rows = Subset(rows, torch.from_numpy(nested(labels, (self.config.labelled,))[self.config.labelled]))
        return self.inner.sources(evened(rows) if self.config.even else rows)

    def stages(self) -> Sequence[Stage]:
        """Those of the inner method."""
        return [replace(s, modes={f"inner.{name}": m for name, m in s.modes.items()}) for s in self.inner.stages()]

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """The three protocols; data sets without the factor `split` cannot be judged so."""
        own = cast(Dataset, data)
        others = [other for spec in self.config.others if (other := self._opened(spec)).name != own.name]
        kept = {d.name: self.codes(d) for d in (own, *others)}
        few = in_domain(kept[own.name], self.config.shares)
        found = [few, self._outside(own, others, kept), elsewhere(own.name, kept)]
        note = "Probes learn from the training items, and their ridge is chosen on the validation items."
        return Findings(
            numbers={k: v for f in found for k, v in f.numbers.items()},
            units={k: v for f in found for k, v in f.units.items()},
            tables={k: v for f in found for k, v in f.tables.items()},
            notes=[note, *(n for f in found for n in f.notes)],
        )

    def _opened(self, spec: str) -> Dataset:
        data = open_data(spec)
        if data.fields["x"].shape != self.fields["x"].shape:
            got, fix = f"{data.fields['x'].shape}", "bring them to one size with the option size"
            raise DataError(f"images of shape {self.fields['x'].shape}", got=got, fix=fix, where=spec)
        return data

    def codes(self, data: Dataset, *, grey: bool = False) -> Coded:
        """The codes of the three splits, in eval mode.

        Args:
            data: With the factor `split`.
            grey: Whether colour is taken away first.

        Raises:
            DataError: A split is missing, or there is no factor of classes.
        """
        parts = {name: part_of(data, name) for name in _SPLITS}
        missing = [name for name, part in parts.items() if part is None]
        if missing:
            raise DataError(f"rows of the split '{missing[0]}'", got="none", where=data.name)
        train, validation, test = (self._split(cast(Dataset, part), grey) for part in parts.values())
        return Coded(train, validation, test, _classes(data))

    @torch.no_grad()
    def _split(self, part: Dataset, without_colour: bool) -> Items:
        rows = spaced(len(part), self.config.most)
        device = next(self.parameters()).device
        found = []
        with judged(self):
            for some in torch.split(rows, _AT_ONCE):
                batch = part.take(some, device)
                if without_colour:
                    batch["x"] = grey(batch["x"]).expand_as(batch["x"]).contiguous()
                found.append(_flat(self.parts(), self.encode(batch)))
        labels = _labels(part, rows)
        return Items(torch.cat(found).cpu().numpy()[labels >= 0], labels[labels >= 0])

    def _outside(self, own: Dataset, others: Sequence[Dataset], kept: Mapping[str, Coded]) -> Findings:
        """Own test items against those of other sets, with and without colour."""
        if not others:
            return Findings(notes=["No other sets were named: nothing is said of other kinds of images."])
        tests = {d.name: kept[d.name].test.codes for d in others}
        rows = list(self._detections(kept[own.name], tests, own.name, ""))
        if self.config.grey:
            inside = self.codes(own, grey=True)
            tests = {d.name: self.codes(d, grey=True).test.codes for d in others}
            rows += self._detections(inside, tests, own.name, " in grey")
        return outside(rows)

    def _detections(
        self, own: Coded, tests: Mapping[str, Float[np.ndarray, "n d"]], name: str, seen: str
    ) -> Iterator[Row]:
        probe = own.probe(1.0)
        ours = self.scores(own, probe, own.test.codes)
        scored = {other: self.scores(own, probe, codes) for other, codes in tests.items()}
        begins = [k for k in self.config.kin if name.startswith(k)]
        close = {other: any(other.startswith(k) for k in begins) for other in tests}
        far = [other for other in tests if not close[other]]
        for score, inside in ours.items():
            for other in tests:
                yield Row(other, close[other], seen, score, detected(inside, scored[other][score]))
            if len(far) > 1:
                union = np.concatenate([scored[other][score] for other in far])
                yield Row(_ALL, False, seen, score, detected(inside, union))

    def scores(self, own: Coded, probe: Probe, codes: Float[np.ndarray, "n d"]) -> dict[str, Float[np.ndarray, " n"]]:
        """How much items look like the own set, by each score."""
        c, logits = self.config, probe.logits(codes)
        known = own.train
        return {
            "mahalanobis": normals(known.codes, known.labels, c.shrinkage).score(codes),
            "probability": probability(logits),
            "energy": energy(logits),
            "neighbours": near(codes, known.codes, c.neighbours),
        }


# -------------------------------------------------------------------------------------------------- the protocols


@dataclass(frozen=True)
class Items:
    """Codes and classes of the items of a split."""

    codes: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Coded:
    """A data set as frozen codes."""

    train: Items
    validation: Items
    test: Items
    classes: int

    def probe(self, share: float) -> Probe:
        """A linear probe that learned from a share of the training labels."""
        rows = nested(self.train.labels, (share,))[share]
        held = self.validation
        return linear_probe(self.train.codes[rows], self.train.labels[rows], held.codes, held.labels, self.classes)

    def judged(self, share: float) -> tuple[float, float]:
        """Accuracy and macro AUC of that probe on the test items."""
        logits, true = self.probe(share).logits(self.test.codes), self.test.labels
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        return float((logits.argmax(1) == true).mean()), macro_auroc(shifted / shifted.sum(1, keepdims=True), true)


@dataclass(frozen=True)
class Row:
    """How well one score tells one set from the own."""

    other: str
    near: bool
    seen: str
    score: str
    found: Detection


def in_domain(own: Coded, shares: Sequence[float]) -> Findings:
    """Accuracy and AUC after each share of the labels, and what all of them add to the fewest."""
    numbers: dict[str, float] = {}
    for share in shares:
        at = f"at {100 * share:g} %"
        numbers[f"accuracy {at}"], numbers[f"AUC {at}"] = own.judged(share)
    least, most = (numbers[f"accuracy at {100 * s:g} %"] for s in (min(shares), max(shares)))
    numbers["gain by labels"] = most - least
    return Findings(numbers, units=dict.fromkeys(numbers, "share of test items, or of pairs, told right"))


def outside(rows: Sequence[Row]) -> Findings:
    """Means over the far sets of each score, those over the near ones, and a table of all."""
    single = [row for row in rows if row.other != _ALL]
    numbers: dict[str, float] = {}
    for row in single:
        kind = "near " if row.near else ""
        alike = [r.found for r in single if (r.near, r.seen, r.score) == (row.near, row.seen, row.score)]
        numbers[f"{kind}AUROC by {row.score}{row.seen}"] = float(np.mean([f.auroc for f in alike]))
        numbers[f"{kind}FPR95 by {row.score}{row.seen}"] = float(np.mean([f.fpr for f in alike]))
    table = Table(
        {
            "set": [r.other for r in rows],
            "near": [r.near for r in rows],
            "seen": [r.seen.strip() or "as it is" for r in rows],
            "score": [r.score for r in rows],
            **{n: [getattr(r.found, n) for r in rows] for n in ("auroc", "aupr_in", "aupr_out", "fpr")},
        }
    )
    return Findings(numbers, units=dict.fromkeys(numbers, "0 to 1"), tables={"other sets": table})


def elsewhere(own: str, kept: Mapping[str, Coded]) -> Findings:
    """Probes on every set, from all of its labels."""
    judged_on = {name: coded.judged(1.0) for name, coded in kept.items()}
    numbers = {f"accuracy on {name}": accuracy for name, (accuracy, _) in judged_on.items()}
    rest = [accuracy for name, (accuracy, _) in judged_on.items() if name != own]
    if rest:
        numbers["accuracy elsewhere"] = float(np.mean(rest))
        numbers["gap to elsewhere"] = judged_on[own][0] - numbers["accuracy elsewhere"]
    names, values = list(judged_on), list(judged_on.values())
    table = Table({"set": names, "accuracy": [a for a, _ in values], "AUC": [b for _, b in values]})
    return Findings(numbers, units=dict.fromkeys(numbers, "share of test items told right"), tables={"transfer": table})


# --------------------------------------------------------------------------------------------------------- pieces


def evened(data: Dataset) -> Dataset:
    """The items of a union, those of smaller sets as often as makes all sets as large as the largest."""
    if not any(f.name == SET for f in data.factors):
        raise DataError("several sets, with the factor 'set'", got="one", where=data.name)
    column = data.table(torch.arange(len(data))).column(SET)
    rows = [torch.from_numpy(np.flatnonzero(column == k)) for k in np.unique(column)]
    most = max(map(len, rows))
    return Subset(data, torch.cat([r.repeat(-(-most // len(r)))[:most] for r in rows]))


def start_from(encoder: nn.Module, other: nn.Module) -> int:
    """Copy a network's tensors into another's, in their order, where shapes agree; what is left over stays.

    Residual networks of one depth agree but for the stem, whose kernel may differ, and the classifier, which only one
    has: both are passed over.

    Returns:
        How many were copied.

    Raises:
        ConfigError: Fewer than half agree.
    """
    ours = [t for t in encoder.state_dict().values() if t.is_floating_point()]
    theirs = [t for t in other.state_dict().values() if t.is_floating_point()]
    at = copied = 0
    for own in ours:
        fits = next((i for i in range(at, min(at + 2, len(theirs))) if theirs[i].shape == own.shape), None)
        if fits is not None:
            own.copy_(theirs[fits])
            at, copied = fits + 1, copied + 1
    if 2 * copied < len(ours):
        got = f"{copied} of {len(ours)} tensors fit"
        raise ConfigError("a network of the encoder's kind and size", got=got, where="--given weights")
    return copied


def _built(config: MedicalBenchmark.Config, fields: Fields) -> Method[Any]:
    entry = find(config.method)
    cls: type[Method[Any]] = entry.load()
    if issubclass(cls, MedicalBenchmark) or [p for p in cls.card.ports if not p.optional] or cls.eager:
        raise ConfigError("a method that is trained alone", got=f"'{config.method}'", where="method")
    ours = {**_ALIKE, **_SETTINGS[config.method]} if config.method in _SETTINGS else {}
    presets: dict[str, Mapping[str, Any]] = {"": {}, BENCHMARK: ours, **cls.presets}
    if config.preset not in presets:
        known = ", ".join(filter(None, presets))
        raise ConfigError(f"one of {known}", got=f"'{config.preset}'", where="preset")
    asked = dict(option.split("=", 1) for option in config.options)
    options = cls.Config()
    for changes in (presets[config.preset], entry.overrides, asked):
        options = override(options, changes)
    return cls(options, fields)


def _encoder(method: Method[Any]) -> nn.Module:
    found = getattr(method, "encoder", None)
    if not isinstance(found, nn.Module):
        raise ConfigError("a method with an encoder", got=type(method).__name__, where="--given weights")
    return found


def _flat(specs: Sequence[PartSpec], parts: Parts) -> Tensor:
    """The parts that are vectors, side by side."""
    vectors = [parts[spec.name].flatten(1) for spec in specs if spec.kind == "vec"]
    if not vectors:
        raise ConfigError("a method with a part that is a vector", got=", ".join(s.name for s in specs), where="method")
    return torch.cat(vectors, 1).float()


def _target(data: Dataset) -> int:
    named = data.roles.get("label", "class")
    found = [i for i, f in enumerate(data.factors) if f.name == named and f.kind == "categorical"]
    if not found:
        raise DataError("a factor 'class'", got=", ".join(f.name for f in data.factors) or "none", where=data.name)
    return found[0]


def _classes(data: Dataset) -> int:
    return data.factors[_target(data)].size


def _labels(data: Dataset, rows: Int[Tensor, " n"]) -> Int[np.ndarray, " n"]:
    column = data.table(rows).values[:, _target(data)]
    return np.where(np.isnan(column), -1, column).astype(np.int64)
