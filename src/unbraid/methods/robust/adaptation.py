"""What the methods of test-time adaptation share: a classifier whose norms move with a stream that it predicts."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from unbraid.core.action import action
from unbraid.core.card import told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given, Port
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings, Table
from unbraid.core.parts import Parts, PartSpec
from unbraid.methods.robust.answers import classes_of, logits_of, own
from unbraid.nets.affine import affine_of, hold_statistics
from unbraid.training.fit import own_chance
from unbraid.training.stepper import Stepper

CLASSIFIER = Port(
    "classifier",
    "a classifier with normalisation layers, from x to logits",
    trainable=True,
    standin="unbraid.standins.classifier:BATCH",
)


@dataclass(frozen=True)
class Options:
    """The choices that every method of adaptation has.

    Attributes:
        batch: Items per step.
        skip: Modules whose norms stay as they are, by dotted name: the last layers of ResNets and of ViT-B.
        optim: How weights and biases of the norms move.
    """

    batch: int = told(64, by="code")
    skip: tuple[str, ...] = told(("layer4", "blocks.9", "blocks.10", "blocks.11", "norm"), by="code")
    optim: Optim = told(Optim("sgd", lr=2.5e-4, momentum=0.9), by="code")

    shares: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError("a whole number above 0", got=str(self.batch), where="batch")
        for name in self.shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError("a number from 0 to 1", got=f"{getattr(self, name):g}", where=name)


C = TypeVar("C", bound=Options)


class Adaptation(Method[C]):
    """Predicts a stream batch by batch, and learns from each batch after it was predicted.

    Only the weights and biases of normalisation layers move. Batch normalisation uses the statistics of the batch, the
    network is otherwise in eval mode. The classifier that was given is copied, and stays as it was.
    """

    Config = Options
    start: Tensor

    def __init__(self, config: C, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        assert given is not None
        self.classifier = own(given["classifier"]).requires_grad_(False)
        if not self.affine:
            raise ConfigError(
                "a classifier with normalisation layers that `skip` leaves in",
                got=f"{type(self.classifier).__name__} without",
                where="classifier",
            )
        for parameter in self.affine:
            parameter.requires_grad_(True)
        self.register_buffer("start", parameters_to_vector(self.affine).detach().clone())
        self.classes = classes_of(lambda x: self.classify(x, At()), fields)

    @property
    def affine(self) -> list[nn.Parameter]:
        """What moves."""
        return list(affine_of(self.classifier, self.config.skip).values())

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("evidence", "vec", (self.classes,), carries=("label",)),)

    def stages(self) -> Sequence[Stage]:
        move = Update("adapt", self.loss, lambda: self.affine, self.config.optim)
        stream = Stream(self.config.batch, order="sequential")
        return [Stage("adapt", [move], Budget(epochs=1), {"": stream}, modes={"classifier": False})]

    def loss(self, batch: Batch, at: At) -> Terms | None:
        """Predict, then say what to learn from it."""
        logits = self.classify(batch["x"], at)
        at.emit("logits", logits)
        return self.objective(batch["x"], logits, at)

    def objective(
        self, x: Float[Tensor, "batch *item"], logits: Float[Tensor, "batch classes"], at: At
    ) -> Terms | None:
        """The terms to descend; None where nothing is to be learnt from this batch."""
        raise NotImplementedError(f"{type(self).__name__}.objective")

    def classify(
        self, x: Float[Tensor, "batch *item"], at: At, affine: Mapping[int, Tensor] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits under the statistics of this batch.

        Args:
            x: Observations.
            at: Of the step.
            affine: id of a weight or bias -> what takes its place.
        """
        with hold_statistics(at.world, affine or {}):
            return logits_of(self.classifier(x))

    def encode(self, batch: Batch) -> Parts:
        return Parts(evidence=self.classify(batch["x"], At()))

    def predict(self, batch: Batch) -> Prediction:
        """The classes of a batch, from which nothing is learnt."""
        return Prediction(self.classify(batch["x"], At()))

    def adapt(self, source: Source) -> Iterator[Prediction]:
        """Predict a stream in its order, each batch before it is learnt from; goes on from where the norms are."""
        [stage] = self.stages()
        starts = range(0, len(source), self.config.batch)
        stepper = Stepper(self, stage, seed=0, steps=len(starts))
        for step, first in enumerate(starts):
            rows = torch.arange(first, min(first + self.config.batch, len(source)))
            with own_chance(stepper.device):
                report = stepper.step(source.take(rows, stepper.device), step)
            yield Prediction(report.outputs["logits"])
        self.eval()

    @action(changes=True, name="adapt")
    def adapt_to(self, data: Source) -> Table:
        """Predict a stream while adapting to it; the adapted classifier is kept.

        Args:
            data: The stream, in its order.
        """
        said = torch.cat([prediction.logits for prediction in self.adapt(data)])
        likeliest = said.softmax(1).max(1)
        item, label, probability = range(len(said)), likeliest.indices.tolist(), likeliest.values.tolist()
        return Table({"item": list(item), "label": label, "probability": probability})

    def as_given(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch classes"]:
        """Logits under the running statistics."""
        return logits_of(self.classifier.eval()(x))

    def restart(self) -> None:
        """Put the norms back to where they were given, and forget what was seen since."""
        with torch.no_grad():
            firsts = torch.split(self.start, [weight.numel() for weight in self.affine])
            for weight, first in zip(self.affine, firsts, strict=True):
                weight.copy_(first.view_as(weight))

    def restarted(self) -> Self:
        """A copy that has seen nothing yet."""
        fresh = copy.deepcopy(self)
        fresh.restart()
        return fresh

    def examine(self, data: Source) -> Findings:
        """Accuracy on the stream, predicted while adapting, of this method, of others, and without adaptation."""
        from unbraid.methods.robust.compare import compare

        return compare(self, data)


def mean_over(values: Float[Tensor, " some"], at: At) -> Tensor:
    """The mean over some of the items, of whatever number, of all processes together.

    >>> mean_over(torch.tensor([1.0, 3.0]), At())
    tensor(2.)
    """
    count = at.world.sum(torch.tensor(float(len(values)), device=values.device))
    return values.sum() * at.world.size / count


def none_of(chosen: Bool[Tensor, " batch"], at: At) -> bool:
    """Whether no process has chosen any item."""
    return int(at.world.sum(chosen.sum().float())) == 0


def most(classes: int) -> float:
    """The entropy of knowing nothing, in nats."""
    return math.log(classes)
