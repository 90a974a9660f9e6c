"""A student of a network that was drawn at random: what self-distillation does without labels, views or a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Optim, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.losses.distil import cross_entropy_to, entropy
from unbraid.methods.joint.embedding import JointEmbedding, Options, judged, spaced
from unbraid.nets.backbones import Backbone, Encoder
from unbraid.nets.heads import PrototypeHead
from unbraid.ops.weights import barrier, interpolated, neighbour
from unbraid.training.ema import EMA

_LOOKED_AT = 1000  # items that the loss on a line is the mean over


class RandomTeacher(JointEmbedding["RandomTeacher.Config"]):
    """Distil a frozen random network into one that starts near it (Sarnthein et al., 2023).

    1. Draw a teacher; keep it in eval mode, where batch normalisation is the identity. 2. Start the student at the
    teacher, between it and another draw, or beside it. 3. Minimise the cross-entropy of the teacher's softmax with the
    student's, which normalises by the batch, on plain images.

    Source:
        safelix/dinopl, configuration.py and dinopl/core.py.
    """

    card = Card(
        number=25,
        name="random-teacher",
        title="Random Teachers are Good Teachers",
        paper="arXiv:2302.12091",
        year=2023,
        modality=("image",),
        family="self-distillation",
        summary="An encoder that imitates a random one: the control of what self-distillation gains.",
        example="digits",
    )
    presets = {
        "quick": {
            "backbone": "vgg3",
            "width": 32,
            "batch": 128,
            "epochs": 15.0,
            "hidden": (256, 256),
            "bottleneck": 64,
            "prototypes": 1024,
        },
        "tiny": {
            "backbone": "vgg3",
            "width": 4,
            "batch": 16,
            "steps": 4,
            "hidden": (12, 12),
            "bottleneck": 8,
            "prototypes": 16,
        },
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the student.

        Attributes:
            start: Where the student starts: at the "teacher", "interpolated" between it and another draw, or in the
                "neighbourhood", which adds a share of another draw.
            alpha: The share of the other draw.
            keep_variance: Whether a mixture is divided so that weights keep their variance.
            loss: Cross-entropy ("ce", which has the gradient of the divergence) or squared error of logits ("mse").
            temperature: Of the student's softmax.
            teacher_temperature: Of the teacher's.
            hidden: Width of each hidden layer of the head.
            bottleneck: Width of what is normalised.
            prototypes: Outputs.
            unit_prototypes: Whether the weights of each output have length 1.
            teacher_seed: Draws the teacher.
            student_seed: Draws what it is mixed with.
            optim: How the student moves.
        """

        backbone: Backbone = told("resnet18", by="paper")
        batch: int = told(256, by="code")
        epochs: float = told(100, by="code")
        start: Literal["teacher", "interpolated", "neighbourhood"] = told("teacher", by="code")
        alpha: float = told(0.0, by="paper")
        keep_variance: bool = told(True, by="paper")
        loss: Literal["ce", "mse"] = told("ce", by="code")
        temperature: float = told(1.0, by="code")
        teacher_temperature: float = told(1.0, by="code")
        hidden: tuple[int, ...] = told((2048, 2048), by="code")
        bottleneck: int = told(256, by="code")
        prototypes: int = told(65536, by="code")
        unit_prototypes: bool = told(True, by="paper")
        teacher_seed: int = told(0, by="ours")
        student_seed: int = told(1, by="ours")
        optim: Optim = told(Optim("adamw", lr=1e-3, weight_decay=0.0), by="code")

        counts: ClassVar[tuple[str, ...]] = (*Options.counts, "hidden", "bottleneck", "prototypes")

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.alpha <= 1:
                raise ConfigError("a share between 0 and 1", got=f"{self.alpha:g}", where="alpha")
            if self.start == "teacher" and self.alpha:
                fix = "choose start=interpolated"
                raise ConfigError("no share where the student is the teacher", got="one", fix=fix, where="alpha")
            for name in ("temperature", "teacher_temperature"):
                if getattr(self, name) <= 0:
                    raise ConfigError("a number above 0", got=str(getattr(self, name)), where=name)

    def __init__(self, config: Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        net = self._drawn(config.teacher_seed)
        self.teacher = EMA(net, 1.0)
        if config.start != "teacher":
            _mix_(net, self._drawn(config.student_seed), config)
        self.encoder, self.head = cast(Encoder, net[0]), cast(PrototypeHead, net[1])

    def _drawn(self, seed: int) -> nn.Sequential:
        """An encoder and its head, by a seed alone."""
        c = self.config
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            encoder = self.new_encoder()
            head = PrototypeHead(encoder.width, c.prototypes, c.hidden, c.bottleneck, unit=c.unit_prototypes)
            nn.init.trunc_normal_(head.prototypes.weight, std=0.02)
        return nn.Sequential(encoder, head)

    @property
    def student(self) -> nn.Sequential:
        """The encoder and the head."""
        return nn.Sequential(self.encoder, self.head)

    # --------------------------------------------------------------------------------------------------- training

    def stream(self) -> Stream:
        """Images as they are."""
        return Stream(self.config.batch)

    def stages(self) -> Sequence[Stage]:
        student = Update("student", self.loss, lambda: [self.encoder, self.head], self.config.optim)
        return (Stage("distil", [student], self.config.budget, {"": self.stream()}),)

    def loss(self, batch: Batch, at: At) -> Terms:
        """How far the student's output is from the teacher's."""
        with torch.no_grad():
            taught = self.teacher(batch["x"])
        return self.terms(taught, self.student(batch["x"]), at)

    def terms(self, taught: Tensor, logits: Tensor, at: At) -> Terms:
        """The loss of logits, those of the teacher first."""
        c = self.config
        if c.loss == "mse":
            return {"distillation": (logits - taught).square().mean()}
        target = (taught.float() / c.teacher_temperature).softmax(-1)
        loss = cross_entropy_to(target, logits, c.temperature).mean()
        at.note(divergence=loss.detach() - entropy(target).mean(), distance=self.distance())
        return {"distillation": loss}

    @torch.no_grad()
    def distance(self) -> Tensor:
        """How far the student is from the teacher, in the length of the teacher's weights."""
        pairs = zip(self.student.parameters(), self.teacher.twin.parameters(), strict=True)
        apart, size = zip(*(((s - t).square().sum(), t.square().sum()) for s, t in pairs), strict=True)
        return (torch.stack(apart).sum() / torch.stack(size).sum()).sqrt()

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """The standard evaluation of the student, of its teacher and of an independent random network."""
        found, student = super().examine(data), self.encoder
        numbers, units = dict(found.numbers), dict(found.units)
        device = next(self.parameters()).device
        others = {"teacher": self.teacher.twin, "random": self._drawn(self.config.student_seed).to(device)}
        try:
            for name, net in others.items():
                self.encoder = cast(Encoder, cast(nn.Sequential, net)[0])
                seen = super().examine(data)
                numbers |= {f"{name}: {key}": value for key, value in seen.numbers.items() if "chance" not in key}
                units |= {f"{name}: {key}": value for key, value in seen.units.items() if "chance" not in key}
        finally:
            self.encoder = student
        numbers["distance from the teacher"] = float(self.distance())
        return replace(found, numbers=numbers, units=units)

    @action
    def line(self, data: Source, points: int = 11) -> Findings:
        """The divergence from the teacher on the line from it to the student.

        Args:
            data: Images.
            points: Places on the line.
        """
        if points < 2:
            raise ConfigError("at least 2 places", got=str(points), where="points")
        rows = spaced(len(data), _LOOKED_AT)
        ends = [[p.detach().clone() for p in net.parameters()] for net in (self.teacher.twin, self.student)]
        buffers = {name: b.clone() for name, b in self.student.named_buffers()}
        losses = []
        try:
            for share in torch.linspace(0, 1, points).tolist():
                _set_(self.student, [torch.lerp(a, b, share) for a, b in zip(*ends, strict=True)])
                losses.append(self._divergence(data, rows))
        finally:
            _set_(self.student, ends[1])
            for name, b in self.student.named_buffers():
                b.copy_(buffers[name])
        numbers = {"loss at the teacher": losses[0], "loss at the student": losses[-1]}
        numbers["barrier"] = barrier(torch.tensor(losses))
        return Findings(numbers, arrays={"loss on the line": torch.tensor(losses)})

    @torch.no_grad()
    def _divergence(self, data: Source, rows: Tensor) -> float:
        """The mean divergence; the student normalises by the items, 256 at a time."""
        c, device = self.config, next(self.parameters()).device
        total = 0.0
        with judged(self):
            self.student.train()
            for some in torch.split(rows, 256):
                x = data.take(some, device)["x"]
                target = (self.teacher(x).float() / c.teacher_temperature).softmax(-1)
                apart = cross_entropy_to(target, self.student(x), c.temperature) - entropy(target)
                total += float(apart.sum())
        return total / len(rows)


@torch.no_grad()
def _mix_(net: nn.Module, other: nn.Module, c: RandomTeacher.Config) -> None:
    """Move weights towards those of another draw."""
    mix = interpolated if c.start == "interpolated" else neighbour
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        if mine.ndim > 1:  # to divide the gains of norms by less than 1 would inflate them; biases start at 0
            mine.copy_(mix(mine, theirs, c.alpha, keep_variance=c.keep_variance))


@torch.no_grad()
def _set_(net: nn.Module, values: Sequence[Tensor]) -> None:
    """Write all weights of a network."""
    for p, value in zip(net.parameters(), values, strict=True):
        p.copy_(value)
