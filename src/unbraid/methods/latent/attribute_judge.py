"""How a model of items with attributes is judged: by a classifier that it has nothing to do with, and by its codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.fields import Batch
from unbraid.core.method import Source
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts
from unbraid.data.dataset import Dataset
from unbraid.data.order import key_of, shuffled
from unbraid.data.origin import held_out_of
from unbraid.data.splits import part_of, training_part
from unbraid.losses.gaussian import kl
from unbraid.methods.latent.attribute_names import Attributes
from unbraid.metrics.recognition import recognition
from unbraid.nets.classifier import SmallClassifier
from unbraid.standins.classifier import learn

_STEPS, _BATCH, _LR = 1000, 64, 1e-3
_JUDGED = 2000
_ROWS, _EACH = 64, 16  # combinations of attributes, and samples of each


class Told(Protocol):
    """What is judged: a model of items with attributes (see `unbraid.methods.latent.attribute_cvae`)."""

    attributes: Attributes
    decoder: nn.Module

    def nll(self, output: Tensor, x: Tensor) -> Tensor:
        """-log p(x) of each item, from what the decoder gave."""

    def infer(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances of codes."""

    def of_attributes(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the prior."""

    def made(self, z: Tensor, y: Tensor) -> Tensor:
        """Observations."""

    def with_attributes(self, y: Tensor, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Observations drawn."""

    def changed(self, batch: Batch, other: Tensor) -> Tensor:
        """Items with other attributes."""

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Of the residual."""


def judge(model: Told, data: Dataset) -> Findings:
    """Accuracy of samples and edits, differences among samples, the bound, and what codes tell of attributes.

    Everything is on items that were held out, where the data name some.
    """
    train = training_part(data)
    test = part_of(data, "test") or held_out_of(data) or data
    device = next(p.device for p in model.decoder.parameters())
    rows = shuffled(len(test), key_of("attribute-judge"), torch.arange(min(_JUDGED, len(test))))
    batch = test.take(rows, device)
    classify = classifier(train, model.attributes, device)
    generator = torch.Generator(device).manual_seed(key_of("attribute-judge"))
    with torch.no_grad():
        numbers, per = _accuracies(model, batch, classify, generator)
        numbers |= _bound(model, batch, generator) | diversity(model.with_attributes, batch, generator)
        numbers |= _leakage(model, batch)
    units = dict.fromkeys(("KL", "bound", "reconstruction"), "nats") | {"diversity": "of the data's variance"}
    held = () if test is not data else ("No items were held out: all is judged on those that were learnt from.",)
    return Findings(numbers | per, units=units, notes=held)


def classifier(train: Source, attributes: Attributes, device: torch.device) -> Callable[[Tensor], Int[Tensor, "n f"]]:
    """A small classifier of all factors, trained on real items: observations to the class of each factor."""
    spans = torch.split(torch.arange(sum(attributes.classes)), list(attributes.classes))

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        labels = attributes.labels(batch["attributes"])
        parts = [functional.cross_entropy(logits[:, s], labels[:, i]) for i, s in enumerate(spans)]
        return torch.stack(parts).mean()

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of("attribute-judge", "classifier"))
        net = SmallClassifier(train.fields["x"], sum(attributes.classes)).to(device)
    learn(net, train, 0, steps=_STEPS, batch=_BATCH, lr=_LR, loss=loss)
    return partial(_classes, net.eval(), spans)


def _classes(net: nn.Module, spans: tuple[Tensor, ...], x: Tensor) -> Int[Tensor, "n f"]:
    logits = net(x)
    return torch.stack([logits[:, s].argmax(1) for s in spans], 1)


def _accuracies(
    model: Told, batch: Batch, classify: Callable[[Tensor], Tensor], generator: torch.Generator
) -> tuple[dict[str, float], dict[str, float]]:
    y, attributes = batch["attributes"], model.attributes
    order = torch.randperm(len(y), generator=generator, device=generator.device)
    real = classify(batch["x"]) == attributes.labels(y)
    drawn = classify(model.with_attributes(y, generator)) == attributes.labels(y)
    edited = classify(model.changed(batch, y[order])) == attributes.labels(y[order])
    found = {"accuracy of real items": real, "accuracy of samples": drawn, "accuracy of edits": edited}
    numbers = {name: float(right.float().mean()) for name, right in found.items()}
    if len(attributes.factors) == 1:
        return numbers, {}
    per = {f"accuracy of samples/{f}": float(drawn[:, i].float().mean()) for i, f in enumerate(attributes.factors)}
    return numbers, per


def _bound(model: Told, batch: Batch, generator: torch.Generator) -> dict[str, float]:
    """The bound on log p(x | y) with weight 1, whatever it was trained with."""
    x, y = batch["x"], batch["attributes"]
    mean, logvar = model.infer(x, y)
    divergence = float(kl(mean, logvar, *model.of_attributes(y)).sum(1).mean())
    noise = torch.randn(mean.shape, generator=generator, device=generator.device)
    error = float(model.nll(model.decoder(mean + (logvar / 2).exp() * noise, y), x).mean())
    squared = float((model.made(mean, y) - x).square().mean())
    return {"KL": divergence, "reconstruction": error, "bound": -error - divergence, "squared error": squared}


def diversity(
    draw: Callable[[Tensor, torch.Generator], Tensor], batch: Batch, generator: torch.Generator
) -> dict[str, float]:
    """How much samples of the same attributes differ: their variance as a share of the data's, and in pairs."""
    y = batch["attributes"][:_ROWS]
    made = draw(y.repeat_interleave(_EACH, 0), generator).reshape(len(y), _EACH, -1)
    within = float(made.var(1, correction=0).mean())
    between = float(batch["x"].flatten(1).var(0, correction=0).mean())
    pairs = 2 * float(made.var(1).mean())  # the mean squared difference of two of them
    return {"diversity": within / max(between, 1e-12), "squared difference of two samples": pairs}


def _leakage(model: Told, batch: Batch) -> dict[str, float]:
    """Share of items whose factors a linear probe tells from the code, above the share of the commonest class."""
    y = batch["attributes"]
    codes = {"code": model.infer(batch["x"], y)[0], "residual": model.posterior(batch)[0]["residual"]}
    labels = model.attributes.labels(y).cpu().numpy()
    folds = np.arange(len(labels)) % 5
    found: dict[str, float] = {}
    for name, code in codes.items():
        told = _told(code.double().cpu().numpy(), labels, folds)
        if told is not None:
            found[f"factors told by the {name}"], found["factors told by chance"] = told
    return found


def _told(
    code: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n f"], folds: Int[np.ndarray, " n"]
) -> tuple[float, float] | None:
    asked = [column for column in labels.T if len(np.unique(column)) > 1]
    if not asked or len(labels) < 20:
        return None
    found = [recognition(code, column, folds) for column in asked]
    return float(np.mean([f.linear for f in found])), float(np.mean([f.chance for f in found]))
