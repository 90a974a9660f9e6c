"""EATA: learn from reliable and new samples only, and do not forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import parameters_to_vector

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Source, Stage, Terms
from unbraid.data.order import key_of, shuffled
from unbraid.data.origin import origin_of
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.adaptation import CLASSIFIER, Adaptation, Options, mean_over, most, none_of
from unbraid.methods.robust.tent import QUICK, TINY


class EATA(Adaptation["EATA.Config"]):
    """Descends the weighted entropy of few samples, near the weights that mattered (Niu et al., 2022, algorithm 1).

    1. Keep samples that are sure enough: H < E_0. 2. Of these keep those unlike the moving average of what was
    predicted so far: |cos| < epsilon. 3. Descend exp(E_0 - H) H, and the Fisher information of clean samples times the
    squared distance to the first weights, where clean samples are there.
    """

    card = Card(
        name="eata",
        title="Efficient Test-Time Model Adaptation without Forgetting",
        paper="arXiv:2204.02610",
        year=2022,
        summary="Adapts the norms of a classifier to the sure and new samples of a stream, held back by clean samples.",
        modality=("image", "vector", "series"),
        scope="batch",
        ports=(CLASSIFIER,),
        wants=("label", "domain"),
        example="coloured-digits",
    )
    presets = {"tiny": {**TINY, "margin": 1.0, "redundancy": 1.0}, "quick": {**QUICK, "redundancy": 0.9}}
    aliases = {"eta": {"fisher": 0.0}}
    about = {"eta": "Adapts the norms of a classifier to the surest and newest samples, free to forget what it knew."}

    @dataclass(frozen=True)
    class Config(Options):
        """Options of EATA.

        Attributes:
            margin: E_0 as a share of the greatest entropy there is.
            redundancy: Absolute cosine similarity below which a prediction is new; chosen for many classes. Of two, a
                sure prediction is hardly ever less than 0.7 like the average.
            keep: Share of the moving average that stays at each step.
            fisher: Weight of the Fisher regulariser; 0 is ETA.
            clean: Most clean samples that its information is taken from.
        """

        margin: float = told(0.4, by="code")
        redundancy: float = told(0.05, by="code")
        keep: float = told(0.9, by="code")
        fisher: float = told(2000.0, by="code")
        clean: int = told(2000, by="code")

        shares = ("margin", "redundancy", "keep")

    average: Tensor
    information: Tensor

    def __init__(self, config: EATA.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.slot("average")
        self.slot("information")

    def restart(self) -> None:
        super().restart()
        self.average = self.average.new_zeros(0)

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The stream, and the data that the classifier has seen before where they are known."""
        clean = origin_of(data)
        return {"train": data} if clean is None else {"train": data, "clean": clean}

    def stages(self) -> Sequence[Stage]:
        [stage] = super().stages()
        solve = self.inform if self.config.fisher else None
        return [replace(stage, solve=solve, after=self.remember)]

    def objective(self, x: Tensor, logits: Tensor, at: At) -> Terms | None:
        margin = self.config.margin * most(self.classes)
        unsure, probable = entropy(logits), logits.softmax(1)
        chosen = unsure < margin
        if len(self.average):
            alike = functional.cosine_similarity(self.average[None], probable)
            chosen = chosen & (alike.abs() < self.config.redundancy)
        at.note(kept=chosen.float().mean())
        if none_of(chosen, at):
            return None
        at.memo["predicted"] = at.world.sum(probable[chosen].detach().sum(0))
        weight = (margin - unsure[chosen].detach()).exp()
        return {"entropy": mean_over(weight * unsure[chosen], at), **self.regulariser()}

    def regulariser(self) -> Terms:
        """How far the weights that matter for clean samples have moved."""
        if not len(self.information):
            return {}
        away = parameters_to_vector(self.affine) - self.start
        return {"fisher": (self.config.fisher, (self.information * away.square()).sum())}

    def remember(self, batch: Batch, at: At) -> None:
        """Move the average of the predictions that were learnt from."""
        if (total := at.memo.get("predicted")) is None:
            return
        new = total / total.sum()
        keep = self.config.keep
        self.average = keep * self.average + (1 - keep) * new if len(self.average) else new

    def inform(self, sources: Mapping[str, Source], at: At) -> None:
        """The Fisher information of weights and biases: squared gradients of the likeliest class, mean over batches."""
        if "clean" not in sources:
            return
        clean, size = sources["clean"], self.config.batch
        count = min(self.config.clean, len(clean))
        rows = shuffled(len(clean), key_of("eata", "clean"), torch.arange(count))
        batches = torch.split(rows, size)
        found = [self._squared_gradient(clean.take(rows, at.device)["x"], at) for rows in batches]
        self.information = torch.stack(found).mean(0)

    def _squared_gradient(self, x: Float[Tensor, "batch *item"], at: At) -> Float[Tensor, " affine"]:
        with torch.enable_grad():
            logits = self.classify(x, at)
            gradients = torch.autograd.grad(functional.cross_entropy(logits, logits.argmax(1)), self.affine)
        return parameters_to_vector(gradients).square()
