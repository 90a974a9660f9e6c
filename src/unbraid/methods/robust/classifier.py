"""A plain classifier, which other methods are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.methods.robust.accuracy import accuracies, tell
from unbraid.nets.classifier import Norm, SmallClassifier


class Classifier(Method["Classifier.Config"]):
    """Descends the cross-entropy of labels; `--given classifier=RUN` hands it to methods that take one.

    Called with observations it gives logits, so that it can stand wherever a network is asked for.
    """

    card = Card(
        name="classifier",
        title="A small convolutional classifier",
        paper="doi:10.1109/5.726791",
        year=1998,
        needs=("x", "label"),
        modality=("image", "vector", "series"),
        summary="Learns labels by cross-entropy; its embedding and its answers are for other methods to work on.",
        example="digits",
    )
    presets = {
        "tiny": {"width": 4, "embedding": 8, "batch": 16, "epochs": 1.0},
        "quick": {"epochs": 10.0},
        "mnist": {"hidden": (128,), "norm": "none", "batch": 32, "epochs": 20.0, "optim.lr": 1e-4}
        | {"optim.weight_decay": 1e-4, "embedding": 256},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the classifier.

        Attributes:
            width: Channels of the first layer; see `nets.classifier.SmallClassifier`.
            embedding: Numbers in the embedding.
            hidden: Widths of hidden layers of the head, which have no activation.
            norm: How layers are normalised.
            batch: Items per step.
            epochs: Passes over the data.
            optim: How everything moves.
        """

        width: int = told(16, by="ours")
        embedding: int = told(64, by="ours")
        hidden: tuple[int, ...] = told((), by="ours")
        norm: Norm = told("batch", by="ours")
        batch: int = told(64, by="ours")
        epochs: float = told(20.0, by="ours")
        optim: Optim = told(Optim("adam", lr=1e-3), by="ours")

        def __post_init__(self) -> None:
            for name in ("width", "embedding", "batch"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)

    def __init__(self, config: Classifier.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        classes = fields["label"].classes
        if classes is None or classes < 2:
            raise DataError("labels of two or more classes", got=str(classes), where="field 'label'")
        self.net = SmallClassifier(fields["x"], classes, config.width, config.embedding, config.norm, config.hidden)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("embedding", "vec", (self.config.embedding,), carries=("label",)),)

    def stages(self) -> Sequence[Stage]:
        fit = Update("fit", self.loss, lambda: [self.net], self.config.optim)
        return [Stage("fit", [fit], Budget(epochs=self.config.epochs), {"": Stream(self.config.batch)})]

    def forward(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        logits: Tensor = self.net(x)
        return logits

    def loss(self, batch: Batch, at: At) -> Terms:
        """Cross-entropy."""
        return {"label": functional.cross_entropy(self(batch["x"]), batch["label"], reduction="none")}

    def encode(self, batch: Batch) -> Parts:
        return Parts(embedding=self.net.features(batch["x"]))

    def predict(self, batch: Batch) -> Prediction:
        """The classes of a batch."""
        return Prediction(self(batch["x"]))

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """Accuracy on the data, in all, of each class, and of the worst group where environments are known."""
        said = tell(self.predict, data)
        return Findings(
            accuracies(said, data), notes=["These are the data it was trained on, unless others were given."]
        )
