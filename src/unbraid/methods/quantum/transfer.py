"""Digits through a bottleneck of qubits, and the same classifier without it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.dataset import Dataset
from unbraid.data.order import split
from unbraid.data.wrapped import Subset
from unbraid.nets.dense import DenseClassifier
from unbraid.nets.mlp import mlp
from unbraid.ops.keyed import uniform_of
from unbraid.ops.statevector import Circuit, Gate, Noise, frequencies, misread, probabilities

_CHUNK = 4096

Hadamard = Literal["all", "first", "before", "none"]
Features = Literal["quantum", "components", "code"]


def feature_map(qubits: int, hadamard: Hadamard, rotation: Literal["ry", "rx-rz"]) -> Circuit:
    """The fixed circuit: rotations by the inputs, Hadamard gates, CNOT from each qubit to the next."""
    every = [(q,) for q in range(qubits)]
    turns = [Gate(kind, q, input=q[0]) for kind in rotation.upper().split("-") for q in every]
    mixing = [Gate("H", q) for q in {"first": every[:1], "none": []}.get(hadamard, every)]
    cascade = [Gate("CNOT", (q, q + 1)) for q in range(qubits - 1)]
    return Circuit(qubits, [*mixing, *turns, *cascade] if hadamard == "before" else [*turns, *mixing, *cascade])


class QuantumTransfer(Method["QuantumTransfer.Config"]):
    """An autoencoder's code, its principal components as angles of qubits, and a classifier of what is measured.

    1. Descend an autoencoder's squared error; keep its code from then on. 2. Find the first components of the codes of
    the training data, and the range of each, which becomes the range of an angle; values beyond are cut. 3. Rotate one
    qubit by each angle, mix, entangle, measure: the shares of the 2^n outcomes. 4. Descend the cross-entropy of a dense
    classifier of these shares, standardised. With `features` "code" or "components" the same classifier gets what the
    circuit was given, which is the control that says what the circuit loses.

    With a Hadamard gate behind each rotation (the default) angles t and pi - t look alike, so that the circuit folds
    each component in the middle; and the CNOT gates only exchange names of outcomes: the shares are products of five
    numbers.

    Source:
        Sarkar, 2024: the abstracts of both versions. Sizes, the range of angles and where the Hadamard gate stands are
        ours, for nothing else was published.
    """

    card = Card(
        name="quantum-transfer",
        title="Quantum Transfer Learning for MNIST Classification Using a Hybrid Quantum-Classical Approach",
        paper="arXiv:2408.03351",
        year=2024,
        number=51,
        modality=("image", "vector"),
        needs=("x", "label"),
        summary="A classifier of what five qubits show of an image's code, beside the same classifier of the code.",
        example="digits",
        claim="The quantum features tell the class far above chance, and clearly worse than the code they are made of.",
    )
    aliases = {
        "quantum-transfer-classical": {"features": "code"},
        "quantum-transfer-components": {"features": "components"},
        "quantum-transfer-v1": {"reduce": "first", "rotation": "rx-rz"},
    }
    about = {
        "quantum-transfer-classical": "The classifier that the quantum one is held against: of the code itself.",
        "quantum-transfer-components": "The classifier of the numbers that go into the circuit, without the circuit.",
        "quantum-transfer-v1": "The first version: the circuit is fed the code's first numbers, by other rotations.",
    }
    presets = {
        "quick": {"hidden": (48,), "latents": 16, "batch": 64, "epochs": 30, "classifier_epochs": 40},
        "tiny": {"hidden": (16,), "latents": 8, "batch": 8, "epochs": 1, "classifier_epochs": 1, "shots": 64}
        | {"qubits": 3, "classifier": (16,), "dropout": 0.0},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of quantum transfer.

        Attributes:
            latents: Numbers in the code.
            hidden: Widths of the encoder's hidden layers; the decoder mirrors them.
            reconstruction: Squared error, or cross-entropy of pixels.
            reduce: The first principal components of the code, or (version 1) its first numbers.
            qubits: Components, and qubits.
            angles: What the least and the greatest value of a component in the training data become, in radians.
            rotation: RY, or (version 1) RX and then RZ.
            hadamard: Where Hadamard gates stand: behind the rotations, on all qubits or the first; before; or nowhere.
            shots: Measurements of each item, drawn once from its own content; none takes the exact probabilities.
            depolarising: Probability that a gate upsets a qubit.
            damping: Probability that a qubit decays after a gate.
            readout: Probability that a qubit is read wrongly.
            trainable_angles: Whether scale and offset of each angle are learned through the circuit, which needs exact
                probabilities.
            features: What the classifier reads: the outcomes, the components, or the code.
            classifier: Widths of its hidden layers.
            dropout: Share of its activations dropped in training.
            held: Share of the items that is kept out of training, to be judged by.
            batch: Items per step.
            epochs: Passes of the autoencoder over the data.
            classifier_epochs: Passes of the classifier.
            optim: How the autoencoder moves.
            classifier_optim: How the classifier moves.
        """

        latents: int = told(64, by="paper")
        hidden: tuple[int, ...] = told((256, 128), by="ours")
        reconstruction: Literal["mse", "bce"] = told("mse", by="ours")
        reduce: Literal["pca", "first"] = told("pca", by="paper")
        qubits: int = told(5, by="paper")
        angles: tuple[float, float] = told((0.0, math.pi), by="ours")
        rotation: Literal["ry", "rx-rz"] = told("ry", by="paper")
        hadamard: Hadamard = told("all", by="ours")
        shots: int | None = told(1024, by="ours")
        depolarising: float = told(0.0, by="ours")
        damping: float = told(0.0, by="ours")
        readout: float = told(0.0, by="ours")
        trainable_angles: bool = told(False, by="ours")
        features: Features = told("quantum", by="paper")
        classifier: tuple[int, ...] = told((128, 64), by="ours")
        dropout: float = told(0.2, by="ours")
        held: float = told(0.2, by="ours")
        batch: int = told(256, by="ours")
        epochs: int = told(30, by="ours")
        classifier_epochs: int = told(30, by="ours")
        optim: Optim = told(Optim("adam", lr=1e-3), by="ours")
        classifier_optim: Optim = told(Optim("adam", lr=1e-3), by="ours")

        def __post_init__(self) -> None:
            for name in ("latents", "qubits", "batch", "epochs", "classifier_epochs", "shots"):
                if getattr(self, name) is not None and getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            for name in ("depolarising", "damping", "readout", "dropout"):
                if not 0 <= getattr(self, name) <= 1:
                    raise ConfigError("a number from 0 to 1", got=str(getattr(self, name)), where=name)
            if not 0 < self.held < 1:
                raise ConfigError("a share between 0 and 1", got=str(self.held), where="held")
            most = min(self.latents, 6 if self.noisy else self.latents)
            if self.qubits > most:
                why = "one for each of the code's numbers" if most == self.latents else "where gates are noisy"
                raise ConfigError(f"at most {most} qubits, {why}", got=str(self.qubits), where="qubits")
            if self.trainable_angles and self.shots is not None:
                raise ConfigError("no shots where angles are trainable", got=str(self.shots), where="shots")

        @property
        def noisy(self) -> bool:
            """Whether gates do anything but what they should."""
            return bool(self.depolarising or self.damping)

    def __init__(self, config: QuantumTransfer.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        x, classes = fields["x"], fields["label"].classes
        if len(x.shape) not in (1, 3) or not x.unit:
            raise DataError("images or vectors in [0, 1]", got=f"items of shape {x.shape}", where="field 'x'")
        if not classes or classes < 2:
            raise DataError("a label of two classes or more", got=str(classes), where="field 'label'")
        widths = (math.prod(x.shape), *config.hidden, config.latents)
        self.encoder = nn.Sequential(nn.Flatten(), *mlp(widths))
        self.decoder = nn.Sequential(*mlp(widths[::-1]), nn.Unflatten(1, x.shape))
        self.angles = Angles(config.latents, config.qubits, config.angles, config.trainable_angles)
        self.circuit = feature_map(config.qubits, config.hadamard, config.rotation)
        width = {"quantum": 2**config.qubits, "components": config.qubits, "code": config.latents}[config.features]
        self.standard = Standard(width)
        self.classifier = DenseClassifier((width, *config.classifier, classes), config.dropout)

    def parts(self) -> tuple[PartSpec, ...]:
        return (
            PartSpec("code", "vec", (self.config.latents,), carries=("label",)),
            PartSpec("quantum", "vec", (2**self.config.qubits,), carries=("label",), of="code"),
        )

    def stages(self) -> Sequence[Stage]:
        c, feed = self.config, {"": Stream(self.config.batch)}
        reconstruct = Update("autoencoder", self.reconstruction, lambda: [self.encoder, self.decoder], c.optim)
        classify = Update("classifier", self.loss, lambda: [self.classifier, self.angles], c.classifier_optim)
        return [
            Stage("autoencoder", [reconstruct], Budget(epochs=c.epochs), feed),
            Stage("classifier", [classify], Budget(epochs=c.classifier_epochs), feed, solve=self.measure),
        ]

    def sources(self, data: Source) -> Mapping[str, Source]:
        """What is learned from, and what is held out: the same of the same data, whatever the seed."""
        kept, held = split(len(data), self.config.held, seed=0)
        whole = cast(Dataset, data)
        return {"train": Subset(whole, kept), "held": Subset(whole, held)}

    def reconstruction(self, batch: Batch, at: At) -> Terms:
        """The autoencoder's error, the mean over pixels."""
        x = batch["x"]
        logits = self.decoder(self.encoder(x))
        if self.config.reconstruction == "bce":
            return {"reconstruction": binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).mean(1)}
        return {"reconstruction": (logits.sigmoid() - x).square().flatten(1).mean(1)}

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """Components, ranges and the features' mean and deviation, from the training data alone."""
        train = sources["train"]
        rows = torch.split(torch.arange(len(train)), _CHUNK)
        codes = torch.cat([self.encoder(train.take(some, at.device)["x"]) for some in rows])
        self.angles.fit(codes, self.config.reduce)
        self.standard.fit(torch.cat([self.features(train.take(some, at.device)["x"]) for some in rows]))

    def loss(self, batch: Batch, at: At) -> Terms:
        """The classifier's cross-entropy; what is frozen gets no gradient, for the update does not move it."""
        logits = self.classifier(self.standard(self.features(batch["x"])))
        return {"classification": cross_entropy(logits, batch["label"], reduction="none")}

    def features(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch width"]:
        """What the classifier reads, as it comes."""
        with torch.no_grad():
            code: Tensor = self.encoder(x)
        if self.config.features == "code":
            return code
        return self.angles.components(code) if self.config.features == "components" else self.outcomes(x, code)

    def outcomes(
        self, x: Float[Tensor, "batch *item"], code: Float[Tensor, "batch latents"]
    ) -> Float[Tensor, "batch states"]:
        """The share of each outcome: qubit 0 is the most significant bit."""
        c, angles = self.config, self.angles(code)
        if c.noisy:
            rho = self.circuit.density(angles, noise=Noise(c.depolarising, c.damping))
            p = rho.diagonal(dim1=1, dim2=2).real
        else:
            p = probabilities(self.circuit(angles))
        p = misread(p, c.readout) if c.readout else p
        return p if c.shots is None else frequencies(p, uniform_of(x, c.shots))

    def predict(self, batch: Batch) -> Prediction:
        """The classes of the items of a batch."""
        return Prediction(self.classifier(self.standard(self.features(batch["x"]))))

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """Accuracies on the items held out, and what the code keeps of them."""
        held, device = self.sources(data)["held"], self.standard.mean.device
        told, labels, error, spread = [], [], 0.0, 0.0
        for rows in torch.split(torch.arange(len(held)), _CHUNK):
            batch = held.take(rows, device)
            told.append(self.predict(batch).label)
            labels.append(batch["label"])
            x = batch["x"]
            error += float((self.decoder(self.encoder(x)).sigmoid() - x).square().sum())
            spread += float((x - x.mean(0)).square().sum())
        label, guess = torch.cat(labels), torch.cat(told)
        classes = self.fields["label"].classes or 0
        shares = [torch.bincount(t, minlength=classes) / len(t) for t in (guess, label)]
        numbers = {
            "accuracy": float((guess == label).double().mean()),
            "accuracy from another item's features": float(shares[0] @ shares[1]),
            "explained by the code": 1 - error / max(spread, 1e-12),
        }
        note = f"On {len(held)} items held out; the classifier reads: {self.config.features}."
        return Findings(numbers, notes=[note])

    def encode(self, batch: Batch) -> Parts:
        code = self.encoder(batch["x"])
        return Parts(code=code, quantum=self.outcomes(batch["x"], code))

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        """What the autoencoder makes of the code."""
        out: Tensor = self.decoder(parts["code"]).sigmoid()
        return out


class Angles(nn.Module):
    """Codes to angles: projected, then scaled so that the range in the training data is that of the angles.

    Args:
        latents: Numbers in the code.
        qubits: Angles.
        span: The least and the greatest angle.
        trainable: Whether each angle has a scale and an offset that are learned.
    """

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, latents: int, qubits: int, span: tuple[float, float], trainable: bool) -> None:
        super().__init__()
        self.span = span
        self.register_buffer("mean", torch.zeros(latents))
        self.register_buffer("axes", torch.eye(latents, qubits))
        self.register_buffer("low", torch.zeros(qubits))
        self.register_buffer("high", torch.ones(qubits))
        if trainable:
            self.scale, self.offset = nn.Parameter(torch.ones(qubits)), nn.Parameter(torch.zeros(qubits))
        self.trainable = trainable

    def fit(self, codes: Float[Tensor, "n latents"], reduce: Literal["pca", "first"]) -> None:
        """Take projection and ranges from codes; the largest entry of each component is positive."""
        if reduce == "pca":
            wide = codes.double() if codes.device.type != "mps" else codes
            self.mean.copy_(wide.mean(0))
            centred = wide - wide.mean(0)
            axes = torch.linalg.eigh(centred.mT @ centred).eigenvectors.flip(1)[:, : self.axes.shape[1]]
            largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
            self.axes.copy_(axes * largest.sign())
        components = self.components(codes)
        self.low.copy_(components.amin(0))
        self.high.copy_(components.amax(0))

    def components(self, codes: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch qubits"]:
        """The projection."""
        return (codes - self.mean) @ self.axes

    def forward(self, codes: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch qubits"]:
        """Angles within the span; beyond it only where scale and offset lead there."""
        share = (self.components(codes) - self.low) / (self.high - self.low).clamp_min(1e-12)
        angles = self.span[0] + (self.span[1] - self.span[0]) * share.clamp(0, 1)
        return angles * self.scale + self.offset if self.trainable else angles


class Standard(nn.Module):
    """Columns to mean 0 and deviation 1 in the training data; constant columns become 0."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, x: Float[Tensor, "n width"]) -> None:
        """Take mean and deviation from features."""
        self.mean.copy_(x.mean(0))
        self.deviation.copy_(x.std(0, correction=0).clamp_min(1e-6))

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """The standardised columns."""
        return (x - self.mean) / self.deviation
