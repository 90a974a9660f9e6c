"""SAR: learn from sure samples, towards flat minima, and start again when all is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Stage, Terms
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.adaptation import CLASSIFIER, Adaptation, Options, mean_over, most, none_of
from unbraid.methods.robust.tent import QUICK, TINY


class SAR(Adaptation["SAR.Config"]):
    """Descends the entropy of sure samples where it is worst nearby (Niu et al., 2023, algorithm 1).

    1. Keep samples that are sure enough: H < E_0. 2. Ascend rho along the normalised gradient of their mean entropy.
    3. There, keep those that still are sure, and take the gradient of their mean entropy for the step. 4. Where the
    moving average of the entropy at 3 falls below a floor, put the norms and the optimiser back to the start.
    """

    card = Card(
        name="sar",
        title="Towards Stable Test-Time Adaptation in Dynamic Wild World",
        paper="arXiv:2302.12400",
        year=2023,
        summary="Adapts the norms of a classifier to sure samples with sharpness-aware steps, and resets on collapse.",
        modality=("image", "vector", "series"),
        scope="batch",
        ports=(CLASSIFIER,),
        wants=("label", "domain"),
        example="coloured-digits",
    )
    presets = {"tiny": {**TINY, "margin": 1.0}, "quick": {**QUICK, "floor": 0.0}}

    @dataclass(frozen=True)
    class Config(Options):
        """Options of SAR.

        Attributes:
            margin: E_0 as a share of the greatest entropy there is.
            rho: Length of the ascent.
            floor: Moving average of the entropy, in nats, below which everything starts again; chosen for many
                classes, 0 never does.
            keep: Share of the moving average that stays at each step.
        """

        margin: float = told(0.4, by="code")
        rho: float = told(0.05, by="code")
        floor: float = told(0.2, by="code")
        keep: float = told(0.9, by="code")

        shares = ("margin", "keep")

    level: Tensor

    def __init__(self, config: SAR.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.slot("level")

    def restart(self) -> None:
        super().restart()
        self.level = self.level.new_zeros(0)

    def stages(self) -> Sequence[Stage]:
        [stage] = super().stages()
        return [replace(stage, after=self.recover)]

    def objective(self, x: Tensor, logits: Tensor, at: At) -> Terms | None:
        margin = self.config.margin * most(self.classes)
        unsure = entropy(logits)
        sure = unsure < margin
        at.note(kept=sure.float().mean())
        if none_of(sure, at):
            return None
        uphill = self.ascent(mean_over(unsure[sure], at), at)
        there = entropy(self.classify(x, at, uphill))[sure]
        at.memo["level"] = at.world.mean(mean_over(there.detach(), at))
        still = there < margin
        return None if none_of(still, at) else {"entropy": mean_over(there[still], at)}

    def ascent(self, loss: Tensor, at: At) -> dict[int, Tensor]:
        """Weights and biases, by id, moved by rho in all along the gradient of a loss.

        Gradients of what is computed there are those of the weights themselves.
        """
        weights = self.affine
        shared = at.world.size > 1
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=shared)
        flat = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
        mean = [at.world.mean(g) for g in flat] if shared else flat
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(mean)))
        scale = self.config.rho / (length + 1e-12)
        return {id(w): w + (scale * g).detach() for w, g in zip(weights, mean, strict=True)}

    def recover(self, batch: Batch, at: At) -> None:
        """Follow the entropy, and start again where it has fallen through the floor."""
        if (level := at.memo.get("level")) is None:
            return
        keep = self.config.keep
        self.level = keep * self.level + (1 - keep) * level[None] if len(self.level) else level[None].clone()
        fallen = bool(self.level < self.config.floor)
        at.note(level=self.level[0], restarted=float(fallen))
        if not fallen:
            return
        self.restart()
        for weight in self.affine:
            for slots in at.slots(weight):
                for slot in slots.values():
                    slot.zero_()
