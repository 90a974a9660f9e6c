"""Sparse autoencoders of the activations of a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Budget, Method, Optim, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.data.activations import Activations
from unbraid.data.dataset import Dataset
from unbraid.data.factors import FactorTable
from unbraid.methods.inside.dictionaries.actions import collected, edit_attribute
from unbraid.methods.inside.dictionaries.files import read_dictionary
from unbraid.methods.inside.dictionaries.judging import Features, Side, judge
from unbraid.methods.inside.dictionaries.subject import PORT, Subject
from unbraid.nets.dictionary import Coded, Dictionary, Kind, dictionary_of
from unbraid.nets.site import Site
from unbraid.ops.dictionary import exchange, remove_and_add, scale_of

_MEASURED = 65_536
_AT_ONCE = {"optim.schedule.warmup": 0}


class SAE(Method["SAE.Config"]):
    """Many features, few of them active in any one activation, whose vectors add up to it.

    1. Divide activations by a number, so that their mean length is the root of their width. 2. Reconstruct each from a
    sparse code. 3. Descend the squared error, summed over columns, and what sparsity costs. 4. Bring the decoder's
    rows back to length one; at chosen steps point features that have long been silent at inputs that are badly
    reconstructed, and forget what the optimiser knew of them.

    Source:
        Makelov et al., 2024; sae, sae_variants.py and training.py. TopK: Gao et al., 2024. Gated: Rajamanoharan et
        al., 2024.
    """

    card = Card(
        name="sae",
        title="Towards Principled Evaluations of Sparse Autoencoders for Interpretability and Control",
        paper="arXiv:2405.08366",
        year=2024,
        number=23,
        summary="Features of a network's activations, few of them active at once, judged by what they can do.",
        modality=("vector", "text", "image"),
        needs=(),
        ports=(PORT,),
        claim="Its features control what a network says, less than supervised codes do and more than random ones.",
        example="ioi",
        tiny="directions:values=8,width=12",
    )
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"topk-sae": {"kind": "topk"}, "gated-sae": {"kind": "gated"}}
    about: ClassVar[Mapping[str, str]] = {
        "topk-sae": "Features of a network's activations, of which the k strongest are active, by an autoencoder.",
        "gated-sae": "Features of a network's activations, few of them active, whose gate and size are learnt apart.",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 512, "k": 8, "sparsity": 1.5, "batch": 128, "steps": 1500, "optim.lr": 3e-3, **_AT_ONCE},
        "tiny": {
            **_AT_ONCE,
            "width": 24,
            "k": 3,
            "batch": 8,
            "steps": 12,
            "resample": (6,),
            "patience": 3,
            "sparsity": 0.1,
        },
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the sparse autoencoders.

        Attributes:
            kind: How a code is made sparse: "relu" (a price on its sum), "topk" or "gated".
            width: Features; the paper takes 16 times the width of an activation.
            sparsity: What a unit of a code costs ("relu" and "gated").
            k: Active features of an item ("topk").
            at: The network's module whose output is read; its last one called `mid` where empty.
            position: Which token of a sequence, from the end where negative; none for all.
            columns: From which to before which number of the activation, for one head of several; none for all.
            frozen: Whether the decoder keeps its random start: the least that a dictionary must beat.
            project: Whether what would only change a decoder row's length is taken from its gradient. The authors'
                code does so after the step, when it no longer counts.
            resample: Steps after which silent features are pointed elsewhere, and the learning rate rises anew.
            patience: Steps without activity that make a feature silent.
            attributes: Factors that are looked for and edited where the features are judged; none for all.
            items: Items on which they are judged, at most.
            edits: How edits count features: one step takes a feature's old value out and puts its new one in
                ("exchange"), or does either ("apart").
            batch: Items per step.
            steps: Steps of training.
            optim: How everything moves.
        """

        kind: Kind = told("relu", by="code")
        width: int = told(1024, by="paper")
        sparsity: float = told(5.0, by="code")
        k: int = told(32, by="second")
        at: str = told("", by="ours")
        position: int | None = told(-1, by="ours")
        columns: tuple[int, int] | None = told(None, by="ours")
        frozen: bool = told(False, by="paper")
        project: bool = told(True, by="ours")
        resample: tuple[int, ...] = told((50_000,), by="paper")
        patience: int = told(1000, by="ours")
        attributes: tuple[str, ...] = told((), by="ours")
        items: int = told(1000, by="ours")
        edits: Literal["exchange", "apart"] = told("exchange", by="code")
        batch: int = told(512, by="code")
        steps: int = told(78_000, by="code")
        optim: Optim = told(Optim("adam", lr=3e-4, schedule=Schedule("linear", warmup=1000, hold=0.75)), by="code")

        def __post_init__(self) -> None:
            for name in ("width", "k", "items", "batch", "steps", "patience"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)

    scale: Tensor
    idle: Tensor

    def __init__(self, config: SAE.Config, fields: Fields, given: Given) -> None:
        super().__init__(config, fields, given)
        if config.kind == "topk" and config.k > config.width:
            raise ConfigError(f"at most {config.width} active features", got=str(config.k), where="k")
        self.subject = Subject(given, Site(config.at, config.position, config.columns), fields)
        self.dictionary = dictionary_of(config.kind, self.subject.width, config.width, config.k, project=config.project)
        self.dictionary.decoder.requires_grad_(not config.frozen)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("idle", torch.zeros(config.width))

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("features", "fam", (self.config.width,), one=True),)

    # --------------------------------------------------------------------------------------------------- training

    def sources(self, data: Source) -> Mapping[str, Source]:
        if self.subject.plain or "feature" in data.fields:
            return {"train": data}
        name = self.subject.site.module
        return {"train": Activations(cast("Dataset", data), self.subject.activations, name)}

    def stages(self) -> Sequence[Stage]:
        optim = self.config.optim
        optim = replace(optim, schedule=replace(optim.schedule, restarts=self.config.resample))
        fit = Update("fit", self.loss, lambda: [self.dictionary], optim, after=self._unit)
        budget, feed = Budget(steps=self.config.steps), {"": Stream(self.config.batch)}
        return [Stage("fit", [fit], budget, feed, solve=self.measure, after=self.renew)]

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """Take the scale from the training data (at most 65,536 items, evenly spaced)."""
        train = sources["train"]
        chosen = torch.linspace(0, len(train) - 1, min(len(train), _MEASURED), dtype=torch.float64).long()
        blocks = (self.subject.activations(train.take(rows, at.device)) for rows in torch.split(chosen, 4096))
        self.scale.copy_(scale_of(torch.cat([a.flatten(0, 1) for a in blocks])))

    def loss(self, batch: Batch, at: At) -> Terms:
        x = self.rows(batch)
        coded: Coded = self.dictionary(x)
        error = (coded.reconstruction - x).square().sum(1)
        at.memo["seen"] = x, error.detach(), coded.uses
        at.note(active=coded.uses.sum() / len(x))
        terms: dict[str, Tensor | tuple[float, Tensor]] = {"reconstruction": error}
        if self.config.kind != "topk":
            terms["sparsity"] = (self.config.sparsity, coded.price)
        if coded.auxiliary is not None:
            terms["auxiliary"] = (coded.auxiliary - x).square().sum(1)
        return terms

    def _unit(self, at: At) -> None:
        if not self.config.frozen:
            self.dictionary.unit()

    @torch.no_grad()
    def renew(self, batch: Batch, at: At) -> None:
        """Count how long each feature has been silent; at the chosen steps, give those that are dead another start.

        The inputs they are pointed at are drawn from the batch, in proportion to the square of their loss.
        """
        x, error, uses = at.memo["seen"]
        self.idle.add_(1).mul_(at.world.sum(uses) == 0)
        if at.step + 1 not in self.config.resample:
            return
        dead = self.idle >= self.config.patience
        count = int(dead.sum())
        if not count:
            return
        x, error = at.world.gather(x), at.world.gather(error)
        drawn = torch.multinomial(error.square(), count, replacement=True, generator=at.shared())
        for parameter in self.dictionary.replant(dead, x[drawn]):
            for slots in at.slots(parameter):
                for slot in slots.values():
                    if slot.shape == parameter.shape:
                        slot[dead] = 0.0
        self.idle.mul_(~dead)

    # ------------------------------------------------------------------------------------------------- using it

    def rows(self, batch: Batch) -> Float[Tensor, "rows dim"]:
        """The scaled activations of a batch, all places of an item one after the other."""
        return self.subject.activations(batch).flatten(0, 1) / self.scale

    def encode(self, batch: Batch) -> Parts:
        """The value of each feature, of several places the largest."""
        code = self.dictionary.code(self.rows(batch))
        return Parts(features=code.view(-1, self.subject.places, self.config.width).amax(1))

    def decode(self, parts: Parts) -> Float[Tensor, "batch dim"]:
        """Activations."""
        return self.dictionary.decode(parts["features"]) * self.scale

    def examine(self, data: Source) -> Findings:
        """How well the features stand in for the activations, control what the network says, and can be explained."""
        return self._judge(self.judged(), data)

    def _judge(self, judged: Sparse, data: Source) -> Findings:
        return judge(judged, cast("Dataset", data), self.config.attributes, self.config.items)

    def judged(self) -> Sparse:
        """As it is judged, on the CPU wherever the network is."""
        return Sparse(self.subject, copy.deepcopy(self.dictionary).cpu(), self.scale.cpu(), self.config.edits)

    @action
    def edit_attribute(self, data: Source, attribute: str, value: str, k: int = 2) -> Findings:
        """Give an attribute of all items another value by changing a few features, and see what the network says.

        Args:
            data: Items with factors.
            attribute: The factor to change.
            value: The value it shall have, as the factor's labels call it.
            k: Features that may be changed.
        """
        return edit_attribute(self.judged(), cast("Dataset", data), attribute, value, k)

    @action
    def score(self, data: Source, file: Path | None = None) -> Findings:
        """Judge these features, or those of a file, on a data set.

        Args:
            data: Items with factors.
            file: Features of somebody else, for the same place: .npz or .safetensors with W_enc, b_enc, W_dec and
                b_dec, and scale where activations are divided by a number first.
        """
        if file is None:
            return self.examine(data)
        dictionary, scale = read_dictionary(file, self.subject.width)
        return self._judge(Sparse(self.subject, dictionary, scale, self.config.edits), data)

    @action
    def activations(self, data: Source) -> Dataset:
        """The activations that are read, with the factors of their items, as data for whoever wants vectors.

        Args:
            data: What the network is given.
        """
        return collected(self.subject, cast("Dataset", data))


@dataclass(frozen=True)
class Sparse:
    """Sparse features as they are judged."""

    subject: Subject
    dictionary: Dictionary
    scale: Tensor
    edits: Literal["exchange", "apart"] = "exchange"

    def stand_in(self, a: Float[Tensor, "n dim"], table: FactorTable) -> Float[Tensor, "n dim"]:
        """The reconstruction, for which factors do not matter."""
        return self.dictionary.decode(self.dictionary.code(a / self.scale)) * self.scale

    def edited(self, source: Side, target: Side, k: int) -> Float[Tensor, "n dim"]:
        """The source's activations with k features exchanged for the target's, whatever they mean."""
        x, y = source.rows / self.scale, target.rows / self.scale
        edit = exchange if self.edits == "exchange" else remove_and_add
        change = edit(self.dictionary.code(x), self.dictionary.code(y), self.dictionary.decoder, y - x, k).change
        return source.rows + change * self.scale

    def features(self, a: Float[Tensor, "n dim"]) -> Features:
        """The code, and the decoder's rows in the units of activations."""
        return Features(self.dictionary.code(a / self.scale), self.dictionary.decoder * self.scale)
