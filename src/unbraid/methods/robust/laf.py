"""LAF: forget items without being told what they were."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given, Port, Split
from unbraid.core.method import At, Budget, Method, Optim, Prediction, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.forgetting import alignment, description, misfit, turned
from unbraid.methods.robust.answers import classes_of, logits_of, own
from unbraid.methods.robust.choose import split
from unbraid.methods.robust.judge import UNKNOWN, examine, row
from unbraid.nets.mlp import mlp
from unbraid.training.fit import fit


class LAF(Method["LAF.Config"]):
    """Moves the embeddings of what is forgotten, and keeps those of the rest (Shen et al., 2024, algorithm 1).

    1. Describe the embeddings of all items, and those of the items to forget, by a VAE each. 2. For pairs of batches:
    make what remains fit the first description better and what is forgotten the second worse; then turn what remains
    back to where it was and what is forgotten away. 3. On request fit the head to the labels of what remains.

    The network stays in eval mode throughout, and each of the two moves of step 2 has an optimiser of its own. The
    first description is of all items, as published: they stand for those that remain. Only what is in front of the
    head moves in step 2.

    Source:
        github.com/ShaofeiShen768/LAF, VUnlearning.py.
    """

    card = Card(
        name="laf",
        title="Label-Agnostic Forgetting: A Supervision-Free Unlearning in Deep Models",
        paper="arXiv:2404.00506",
        year=2024,
        number=22,
        summary="Makes a trained classifier forget a class, a subset or mislabelled items, without their labels.",
        modality=("image", "vector", "series"),
        claim="It forgets a class and keeps the others; without the negatives of its alignment it forgets nothing.",
        ports=(
            Port(
                "classifier",
                "a trained classifier from x to logits, with a linear head",
                trainable=True,
                standin="unbraid.standins.classifier:PLAIN",
            ),
        ),
        wants=("label",),
        example="digits:split=train",
    )
    aliases = {"laf-r": {"repair_epochs": 1.0}}
    about = {"laf-r": "LAF, and then one epoch of labels for the head, which repairs what it should have kept."}
    presets = {
        "tiny": {"batch": 8, "describe_epochs": 1.0, "epochs": 1.0, "forget": "random=0.3", "widths": (16, 8)},
        "quick": {"describe_epochs": 30.0, "epochs": 60.0, "unlearn.lr": 2e-4, "align.lr": 1e-3} | {"temperature": 5.0},
        "mnist-random": {"forget": "digit=5|6|7|8|9,random=0.4", "temperature": 5.0},
        "mnist-class": {"forget": "digit=0"},
        "mnist-noisy": {"forget": "noisy"},
        "cifar10-random": {"latents": 16, "epochs": 40.0, "unlearn.lr": 1e-5, "align.lr": 4e-5},
        "cifar10-class": {"latents": 16, "epochs": 40.0, "unlearn.lr": 1e-5, "align.lr": 5e-5},
        "cifar10-noisy": {"latents": 16, "epochs": 40.0, "unlearn.lr": 1e-5, "align.lr": 4e-5, "temperature": 5.0},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of LAF.

        Attributes:
            forget: What to forget: conditions joined by commas, of which FACTOR=VALUE (or VALUE|VALUE) chooses items,
                random=SHARE a share of them, and noisy those with wrong=yes.
            head: Dotted name of the first module of the head; "head" or else the last linear layer where empty.
            latents: Numbers in the code of each VAE.
            widths: Widths of the hidden layers of its encoder; those of its decoder are the same backwards.
            divergence: Weight of its KL term.
            temperature: Of the negatives of the alignment.
            negatives: Whether there are any; without them, nothing is turned away.
            moves: Both moves of step 2, or only that by the descriptions ("extract"), or only the turning ("align").
            batch: Items of either kind per step.
            describe_epochs: Passes over what each VAE describes.
            epochs: Passes over what is to be forgotten.
            repair_epochs: Passes over what remains, to fit the head to its labels; 0 needs none.
            seed: Of random=SHARE.
            describe: How the VAEs move.
            unlearn: How the first move of step 2 goes.
            align: How the second goes.
            repair: How the head moves.
        """

        forget: str = told("digit=0", by="ours")
        head: str = told("", by="ours")
        latents: int = told(8, by="code")
        widths: tuple[int, ...] = told((128, 32), by="code")
        divergence: float = told(0.025, by="code")
        temperature: float = told(20.0, by="code")
        negatives: bool = told(True, by="paper")
        moves: Literal["both", "extract", "align"] = told("both", by="paper")
        batch: int = told(32, by="code")
        describe_epochs: float = told(10.0, by="code")
        epochs: float = told(20.0, by="code")
        repair_epochs: float = told(0.0, by="code")
        seed: int = told(0, by="ours")
        describe: Optim = told(Optim("adam", lr=1e-3), by="code")
        unlearn: Optim = told(Optim("adam", lr=5e-5), by="code")
        align: Optim = told(Optim("adam", lr=1e-4), by="code")
        repair: Optim = told(Optim("adam", lr=1e-3), by="ours")

        def __post_init__(self) -> None:
            for name in ("latents", "batch"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            if not self.temperature > 0:
                raise ConfigError("a number above 0", got=f"{self.temperature:g}", where="temperature")

    scaffold = ("teacher",)
    before: Tensor

    def __init__(self, config: LAF.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        assert given is not None
        net = own(given["classifier"])
        self.model = Split(net.requires_grad_(True), config.head or _head(net))
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)
        self.classes = classes_of(self.model, fields)
        with torch.no_grad():
            width = self.model.features(torch.zeros(2, *fields["x"].shape)).flatten(1).shape[1]
        self.all = Describer(width, config.latents, config.widths)
        self.forgotten = Describer(width, config.latents, config.widths)
        self.width = width
        self.slot("before", torch.float64)

    def parts(self) -> tuple[PartSpec, ...]:
        return (
            PartSpec("embedding", "vec", (self.width,), carries=("label",)),
            PartSpec("remain", "sca", of="embedding"),
            PartSpec("forget", "sca", of="embedding"),
        )

    def sources(self, data: Source) -> Mapping[str, Source]:
        """All items, those to forget and the others."""
        forget, remain = split(data, self.config.forget, self.config.seed)
        return {"train": data, "forget": forget, "remain": remain}

    def stages(self) -> Sequence[Stage]:
        c, still = self.config, dict.fromkeys(("model", "teacher"), False)
        forget, remain = Stream(c.batch, "forget"), Stream(c.batch, "remain")
        head = list(self.model.head.parameters())
        extractor = [p for p in self.model.parameters() if all(p is not q for q in head)]
        whole = Update("all", self.describe_all, lambda: [self.all], c.describe)
        part = Update("forgotten", self.describe_forgotten, lambda: [self.forgotten], c.describe)
        extract = Update("extract", self.fit_less, lambda: extractor, c.unlearn)
        align = Update("align", self.turn_back, lambda: extractor, c.align)
        moves = {"both": [extract, align], "extract": [extract], "align": [align]}[c.moves]
        stages = [
            Stage(
                "describe all",
                [whole],
                Budget(epochs=c.describe_epochs),
                {"": Stream(c.batch)},
                self.look_back,
                modes=still,
            ),
            Stage("describe forgotten", [part], Budget(epochs=c.describe_epochs), {"": forget}, modes=still),
            Stage("unlearn", moves, Budget(epochs=c.epochs), {"forget": forget, "remain": remain}, modes=still),
        ]
        if c.repair_epochs:
            repair = Update("repair", self.label, lambda: head, c.repair)
            stages.append(Stage("repair", [repair], Budget(epochs=c.repair_epochs), {"": remain}, modes=still))
        return stages

    def look_back(self, sources: Mapping[str, Source], at: At) -> None:
        """What the network knows before anything is forgotten, where labels tell."""
        if "label" in self.fields:
            found = row(self.model, sources["train"], self.config.forget, self.config.seed)
            told = torch.tensor(found, dtype=torch.float64, device=at.device)
            self.before = told.nan_to_num(UNKNOWN)

    def describe_all(self, batch: Batch, at: At) -> Terms:
        """How badly the first VAE describes embeddings."""
        return self._description(self.all, batch, at)

    def describe_forgotten(self, batch: Batch, at: At) -> Terms:
        """How badly the second does."""
        return self._description(self.forgotten, batch, at)

    def _description(self, describer: Describer, batch: Batch, at: At) -> Terms:
        with torch.no_grad():
            e = self.embed(batch["x"])
        again, mu, sigma = describer(e, at.randn((len(e), self.config.latents)))
        return {"description": description(e, again, mu, sigma, self.config.divergence)}

    def fit_less(self, batch: Batch, at: At) -> Terms:
        """What remains fits the description of all, what is forgotten does not fit its own: sums over the batches."""
        remain = self._misfit(self.all, batch["remain"]["x"], at)
        forget = self._misfit(self.forgotten, batch["forget"]["x"], at)
        return {"remain": remain, "forget": (-1.0, forget)}

    def _misfit(self, describer: Describer, x: Tensor, at: At) -> Tensor:
        e = self.embed(x)
        again, _, _ = describer(e, at.randn((len(e), self.config.latents)))
        return at.world.sum(misfit(e, again).sum())

    def turn_back(self, batch: Batch, at: At) -> Terms:
        """What remains points where it did, what is forgotten elsewhere."""
        remain, forget = (self._turned(batch[name]["x"]) for name in ("remain", "forget"))
        at.note(remain_turned=remain.mean(), forget_turned=forget.mean())
        if not self.config.negatives:
            return {"alignment": at.world.sum(remain.sum())}
        return {"alignment": alignment(remain, forget, self.config.temperature, at.world)}

    def _turned(self, x: Tensor) -> Float[Tensor, " batch"]:
        with torch.no_grad():
            before = self.teacher.features(x).flatten(1)
        return turned(self.embed(x), before)

    def label(self, batch: Batch, at: At) -> Terms:
        """Cross-entropy of the labels of what remains."""
        self.fields["label"]
        with torch.no_grad():
            e = self.model.features(batch["x"])
        return {"label": functional.cross_entropy(self.model.head(e), batch["label"], reduction="none")}

    def embed(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch d"]:
        """What the head is given."""
        return self.model.features(x).flatten(1)

    def forward(self, x: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        return logits_of(self.model(x))

    def encode(self, batch: Batch) -> Parts:
        e = self.embed(batch["x"])
        far = ((d(e)[0] - e).square().sum(1) for d in (self.all, self.forgotten))
        return Parts(embedding=e, **dict(zip(("remain", "forget"), far, strict=True)))

    def predict(self, batch: Batch) -> Prediction:
        """The classes of a batch."""
        return Prediction(self(batch["x"]))

    def examine(self, data: Source) -> Findings:
        """What is left of what was to be forgotten and of the rest, beside a network that never saw it."""
        return examine(self, data)

    @action(changes=True)
    def forget(self, what: str, data: Source | None = None) -> Findings:
        """Forget more, from what the network knows now.

        Args:
            what: What to forget, as the option `forget` says it.
            data: All items; those of the run where left out.
        """
        assert data is not None
        config = replace(self.config, forget=what)
        again = type(self)(config, self.fields, Given(classifier=self.model.net))
        fit(again, data)
        self.load_tensors(again.tensors())
        return examine(again, data)


def _head(net: nn.Module) -> str:
    """The outermost module that is called head; none where there is no such."""
    return next((name for name, _ in net.named_modules() if name.rpartition(".")[2] == "head"), "")


class Describer(nn.Module):
    """A VAE of embeddings whose reconstruction lies in (0, 1), as published, wherever the embeddings lie.

    Args:
        width: Numbers in an embedding.
        latents: Numbers in its code.
        widths: Widths of the encoder's hidden layers.
    """

    def __init__(self, width: int, latents: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = mlp((width, *widths, 2 * latents))
        self.decoder = nn.Sequential(*mlp((latents, *reversed(widths), width)), nn.Sigmoid())

    def forward(
        self, e: Float[Tensor, "batch d"], noise: Float[Tensor, "batch latents"] | None = None
    ) -> tuple[Float[Tensor, "batch d"], Float[Tensor, "batch latents"], Float[Tensor, "batch latents"]]:
        """The reconstruction from a sample of the code (or from its mean), and the code's mean and deviation."""
        mu, logvar = self.encoder(e).chunk(2, 1)
        sigma = (0.5 * logvar).exp()
        return self.decoder(mu if noise is None else mu + sigma * noise), mu, sigma
