"""Self-supervised label augmentation: a class for every pair of a label and a transformation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.origin import held_out_of
from unbraid.losses.margin import cosines, lowered, rarity_margins
from unbraid.methods.joint.embedding import judged
from unbraid.metrics.episodes import episodes as run_episodes
from unbraid.nets.backbones import Backbone, Encoder
from unbraid.views.copies import Transforms, expand, transforms_for
from unbraid.views.image import Crop, Flip, Shift
from unbraid.views.view import compose

Answer = Literal["single", "aggregate", "distilled"]

AUGMENT = {"none": None, "shift": compose(Shift(4), Flip()), "crop": compose(Crop(), Flip())}
_AT_ONCE = 256


class LabelAugmentation(Method["LabelAugmentation.Config"]):
    """Classifies every image under M transformations into N x M pairs of class and transformation (Lee et al., 2020).

    1. Expand the batch: row b M + m is image b under transformation m, the first of which is the identity.
    2. The label of row b M + m is y M + m; minimise the mean cross-entropy of the N M logits u.
    3. With self-distillation, a second head s of the untransformed image learns its class by cross-entropy, and to say
       what the mean over m of the logits u[m-th row, (., m)] says; no gradient flows through that mean.

    Nothing asks for invariance: features of an image and of its rotation may differ freely. Logits that do not depend
    on m (`class`) are ordinary data augmentation; sums of a part for the class and one for the transformation (`sum`)
    are multi-task learning.

    Source:
        hankook/SLA, trainers.py and augmentations.py; the two baselines follow the paper.
    """

    card = Card(
        number=45,
        name="sla",
        title="Self-supervised Label Augmentation via Input Transformations",
        paper="arXiv:1910.05872",
        year=2020,
        modality=("image",),
        needs=("x", "label"),
        family="joint labels",
        summary="Tells a class and a transformation jointly, and a class by the answers to all transformed images.",
        claim=(
            "Answers gathered over rotations are right clearly more often than one answer and than ordinary training; "
            "one distilled answer keeps part of this; augmentation by rotations alone does harm."
        ),
        example="placed-digits",
        tiny="placed-digits:rows=48",
    )
    aliases = {
        "sla-sd": {"distil": True, "answer": "distilled"},
        "sla-mt": {"logits": "sum", "answer": "single"},
        "sla-da": {"logits": "class", "answer": "single"},
        "sla-plain": {"transform": "none", "answer": "single"},
    }
    about = {
        "sla-sd": "Tells class and transformation jointly, and teaches a second head what all answers say together.",
        "sla-mt": "Multi-task learning: tells the class and the transformation of an image by two heads.",
        "sla-da": "Data augmentation: tells the class of an image under every transformation.",
        "sla-plain": "An ordinary classifier of images, the baseline of label augmentation.",
    }
    presets = {
        "tiny": {"backbone": "resnet8", "width": 4, "augment": "none", "batch": 12, "steps": 4, "optim.lr": 0.02},
        "quick": {"backbone": "resnet8", "augment": "none", "batch": 64, "epochs": 25.0},
        "imagenet": {
            "backbone": "resnet50",
            "width": 64,
            "shortcut": "conv",
            "augment": "crop",
            "large": True,
            "optim.schedule.falls": (1 / 3, 2 / 3),
        },
    }

    @dataclass(frozen=True)
    class Config:
        """Options of label augmentation.

        Attributes:
            backbone: The encoder; see `unbraid.nets.backbones.Encoder`.
            width: Channels after its stem.
            shortcut: What stands beside a block that changes the shape; see `unbraid.nets.resnet.ResNet`.
            transform: The transformations.
            logits: Of pairs: free ("joint"), a part for the class and one for the transformation ("sum"), or the same
                under every transformation ("class").
            distil: Whether a second head learns what the answers say together.
            answer: How classes are told: from the untransformed image, from all transformed ones, or by that head.
            temperature: Of the distillation.
            beta: Weight of the second head's cross-entropy.
            large: Whether losses are summed over the transformations, as for ImageNet, or averaged.
            margin: For few items of some classes: cosines of the true class are lowered by a margin of the rarest class
                of so much, and of others as the number of items to the power of -1/4 (LDAM); 0 for plain products.
            scale: Of cosines, where there is a margin.
            augment: What else is random: nothing, shifts by up to 4 pixels and mirroring, or crops and mirroring.
            batch: Images per step, before they are expanded.
            steps: Steps of training.
            epochs: Passes over the data; takes the place of `steps`.
            optim: How everything moves.
        """

        backbone: Backbone = told("resnet32", by="code")
        width: int = told(16, by="code")
        shortcut: Literal["conv", "zeros"] = told("zeros", by="code")
        transform: Transforms = told("rotation", by="code")
        logits: Literal["joint", "sum", "class"] = told("joint", by="code")
        distil: bool = told(False, by="code")
        answer: Answer = told("aggregate", by="ours")
        temperature: float = told(1.0, by="code")
        beta: float = told(1.0, by="memory")
        large: bool = told(False, by="code")
        margin: float = told(0.0, by="ours")
        scale: float = told(30.0, by="second")
        augment: Literal["none", "shift", "crop"] = told("shift", by="code")
        batch: int = told(128, by="code")
        steps: int = told(80_000, by="code")
        epochs: float | None = told(None, by="ours")
        optim: Optim = told(
            Optim(
                "sgd",
                lr=0.1,
                momentum=0.9,
                weight_decay=1e-4,
                schedule=Schedule("stairs", final=0.1, falls=(0.5, 0.75)),
            ),
            by="code",
        )

        def __post_init__(self) -> None:
            for name, least in {"width": 1, "batch": 2, "steps": 1}.items():
                if getattr(self, name) < least:
                    raise ConfigError(f"a whole number from {least} on", got=str(getattr(self, name)), where=name)
            for name in ("temperature", "scale"):
                if getattr(self, name) <= 0:
                    raise ConfigError("a number above 0", got=f"{getattr(self, name):g}", where=name)
            for name in ("beta", "margin"):
                if getattr(self, name) < 0:
                    raise ConfigError("a number of at least 0", got=f"{getattr(self, name):g}", where=name)
            if self.epochs is not None and self.epochs <= 0:
                raise ConfigError("a number of epochs above 0", got=f"{self.epochs:g}", where="epochs")
            if self.answer == "distilled" and not self.distil:
                raise ConfigError("distil=true where answer=distilled", got="distil=false", where="answer")

        @property
        def budget(self) -> Budget:
            """How long training lasts."""
            return Budget(steps=self.steps) if self.epochs is None else Budget(epochs=self.epochs)

    margins: Tensor

    def __init__(self, config: LabelAugmentation.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        c, classes = config, fields["label"].classes
        if classes is None or classes < 2:
            raise DataError("labels of two or more classes", got=str(classes), where="field 'label'")
        self.transforms = transforms_for(c.transform, fields["x"].shape)
        self.classes, self.count = classes, len(self.transforms)
        self.encoder = Encoder(fields["x"], c.backbone, c.width, shortcut=c.shortcut)
        joint = c.logits == "joint"
        self.head = nn.Linear(self.encoder.width, classes * (self.count if joint else 1), bias=not c.margin)
        self.transformed = nn.Linear(self.encoder.width, self.count) if c.logits == "sum" else None
        self.distilled = nn.Linear(self.encoder.width, classes, bias=not c.margin) if c.distil else None
        self.register_buffer("margins", torch.zeros(classes))

    def parts(self) -> tuple[PartSpec, ...]:
        told = PartSpec("transformation", "vec", (self.count,))
        return (
            PartSpec("label", "vec", (self.classes,), carries=("label",)),
            *([told] if self.count > 1 else []),
            PartSpec("embedding", "vec", (self.encoder.width,)),
        )

    # ------------------------------------------------------------------------------------------------------- training

    def stages(self) -> Sequence[Stage]:
        c = self.config
        fit = Update("fit", self.loss, lambda: [self], c.optim)
        stream = Stream(c.batch, views=AUGMENT[c.augment])
        return [Stage("fit", [fit], c.budget, {"": stream}, solve=self.weigh if c.margin else None)]

    def weigh(self, sources: Mapping[str, Source], at: At) -> None:
        """The margin of each class, from how many items of it there are."""
        data, counts = sources["train"], torch.zeros(self.classes, device=at.device)
        for rows in torch.split(torch.arange(len(data)), _AT_ONCE):
            counts += torch.bincount(data.take(rows, at.device)["label"], minlength=self.classes)
        self.margins.copy_(rarity_margins(counts, self.config.margin))

    def loss(self, batch: Batch, at: At) -> Terms:
        z, y = self.encoder(expand(batch["x"], self.transforms)), batch["label"]
        terms = self.labelled(z, y)
        return {**terms, **self.distillation(z, y)} if self.distilled else terms

    def labelled(self, z: Float[Tensor, "rows width"], y: Int[Tensor, " batch"]) -> Terms:
        """The cross-entropies of all rows, the mean or the sum over the transformations of each image."""
        c, weight = self.config, float(self.count if self.config.large else 1)

        def each(logits: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(logits, labels, reduction="none").view(len(y), -1).mean(1)

        if c.logits == "joint":
            logits = self._lowered(self.read(self.head, z), self.joint_labels(y), self.count)
            return {"joint": (weight, each(logits, self.joint_labels(y)))}
        again = y.repeat_interleave(self.count)
        terms = {"label": (weight, each(self._lowered(self.read(self.head, z), again), again))}
        if self.transformed is not None:
            which = torch.arange(self.count, device=y.device).repeat(len(y))
            terms["transformation"] = (weight, each(self.transformed(z), which))
        return terms

    def distillation(self, z: Float[Tensor, "rows width"], y: Int[Tensor, " batch"]) -> Terms:
        """What the second head descends."""
        assert self.distilled is not None
        t, s = self.config.temperature, self.read(self.distilled, z[:: self.count])
        target = (self.aggregate(self.joint(z)).detach() / t).log_softmax(1)
        apart = functional.kl_div((s / t).log_softmax(1), target, reduction="none", log_target=True).sum(1)
        told = functional.cross_entropy(self._lowered(s, y), y, reduction="none")
        return {"distilled label": (self.config.beta, told), "distillation": (t * t, apart)}

    # ----------------------------------------------------------------------------------------------------- the pieces

    def joint_labels(self, y: Int[Tensor, " batch"]) -> Int[Tensor, " rows"]:
        """Labels y M + m of every image and transformation m, in the order of `expand`."""
        return (y[:, None] * self.count + torch.arange(self.count, device=y.device)).flatten()

    def read(self, head: nn.Linear, z: Float[Tensor, "rows width"]) -> Float[Tensor, "rows out"]:
        """Logits: products, or scaled cosines where there is a margin."""
        logits: Tensor = self.config.scale * cosines(z, head.weight) if self.config.margin else head(z)
        return logits

    def _lowered(self, logits: Tensor, labels: Tensor, times: int = 1) -> Tensor:
        """Less the margin of the true class, each class standing for so many."""
        if not self.config.margin:
            return logits
        return lowered(logits, labels, self.config.scale * self.margins.repeat_interleave(times))

    def joint(self, z: Float[Tensor, "rows width"]) -> Float[Tensor, "rows classes m"]:
        """Logits of the pairs of class and transformation."""
        logits = self.read(self.head, z)
        if self.config.logits == "joint":
            return logits.view(-1, self.classes, self.count)
        alone = logits[:, :, None].expand(-1, -1, self.count)
        return alone if self.transformed is None else alone + self.transformed(z)[:, None]

    def single(self, joint: Float[Tensor, "rows classes m"]) -> Float[Tensor, "batch classes"]:
        """What the untransformed images say, given that they are."""
        return joint[:: self.count, :, 0]

    def aggregate(self, joint: Float[Tensor, "rows classes m"]) -> Float[Tensor, "batch classes"]:
        """The mean of the logits of what each transformed image says, given how it was transformed."""
        return self.conditional(joint).mean(1)

    def conditional(self, joint: Float[Tensor, "rows classes m"]) -> Float[Tensor, "batch m classes"]:
        """What each transformed image says, given how it was transformed."""
        return joint.reshape(-1, self.count, self.classes, self.count).diagonal(dim1=1, dim2=3).mT

    # ---------------------------------------------------------------------------------------------------- what it can

    def encode(self, batch: Batch) -> Parts:
        z = self.encoder(batch["x"])
        p = self.joint(z).flatten(1).softmax(1).view(-1, self.classes, self.count)
        parts = {"label": p.sum(2), "transformation": p.sum(1), "embedding": z}
        return Parts({spec.name: parts[spec.name] for spec in self.parts()})

    def predict(self, batch: Batch) -> Prediction:
        """The classes of a batch, as the option `answer` says."""
        return Prediction(self.answers(batch["x"], (self.config.answer,))[self.config.answer])

    def answers(self, x: Float[Tensor, "batch c h w"], asked: Sequence[Answer]) -> dict[Answer, Tensor]:
        """Logits of the classes by each of some ways to tell them; only the aggregate looks at transformed images."""
        seen = expand(x, self.transforms) if "aggregate" in asked else x
        z = self.encoder(seen)
        joint, first = self.joint(z), z[:: len(seen) // len(x)]
        found: dict[Answer, Tensor] = {}
        for answer in asked:
            if answer == "distilled":
                assert self.distilled is not None
                found[answer] = self.read(self.distilled, first)
            else:
                found[answer] = self.aggregate(joint) if answer == "aggregate" else self.joint(first)[:, :, 0]
        return found

    # ------------------------------------------------------------------------------------------------------ judgement

    @torch.no_grad()
    def examine(self, data: Source) -> Findings:
        """How often each way to tell a class is right, and what the joint logits know, on test items where there are.

        Where the transformation cannot be told, answers gathered over it are no more than test-time augmentation.
        """
        held = held_out_of(data, ["label"])
        z, y = self._features(held or data)
        joint = self.joint(z.flatten(0, 1))
        p = joint.flatten(1).softmax(1).view(-1, self.classes, self.count)
        said = self.conditional(joint).argmax(2)
        which = torch.arange(self.count, device=y.device).repeat(len(y))
        gathered = self.aggregate(joint).argmax(1) == y
        numbers = {
            "accuracy, single": _share(self.single(joint).argmax(1) == y),
            "accuracy, aggregated": _share(gathered),
            "accuracy, aggregated, mean of classes": _mean_of_classes(gathered, y),
            "accuracy, class alone": _share(p[:: self.count].sum(2).argmax(1) == y),
        }
        if self.distilled is not None:
            numbers["accuracy, distilled"] = _share(self.read(self.distilled, z[:, 0]).argmax(1) == y)
        if self.count > 1:
            numbers |= {
                "accuracy of the transformation": _share(p.sum(1).argmax(1) == which),
                "agreement of the transformed": _share(said[:, 1:] == said[:, :1]),
            }
        notes = [f"{len(y)} {'test items' if held else 'items of the training data'}."]
        return Findings(numbers, units=dict.fromkeys(numbers, "share"), notes=notes)

    @action
    def few_shot(self, test: Source, ways: int = 5, shots: int = 5, queries: int = 15, episodes: int = 400) -> Findings:
        """Tell classes never trained on by a few examples of each: those whose mean embedding is nearest.

        Gathered over the transformations, every class has a mean for each of them, and distances are averaged.

        Args:
            test: Items of the classes, with labels.
            ways: Classes in an episode.
            shots: Examples of each.
            queries: Items of each class to tell.
            episodes: How many.
        """
        z, y = self._features(test)
        found = run_episodes(z, y, ways, shots, queries, episodes)
        numbers = {}
        for name, right in found.items():
            numbers[f"accuracy, {name}"] = float(right.mean())
            numbers[f"half interval, {name}"] = 1.96 * float(right.std()) / len(right) ** 0.5
        note = f"{episodes} episodes of {ways} classes, {shots} examples and {queries} queries each."
        return Findings(numbers, units=dict.fromkeys(numbers, "share"), notes=[note])

    @torch.no_grad()
    def _features(self, data: Source) -> tuple[Float[Tensor, "n m width"], Int[Tensor, " n"]]:
        """Embeddings of every item under every transformation, and labels, in eval mode."""
        device = self.margins.device
        codes, labels = [], []
        with judged(self):
            for rows in torch.split(torch.arange(len(data)), _AT_ONCE):
                batch = data.take(rows, device)
                z = self.encoder(expand(batch["x"], self.transforms))
                codes.append(z.view(len(rows), self.count, -1))
                labels.append(batch["label"])
        return torch.cat(codes), torch.cat(labels)


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _mean_of_classes(right: Tensor, y: Int[Tensor, " n"]) -> float:
    return float(torch.stack([right[y == k].double().mean() for k in torch.unique(y)]).mean())
