"""DeYO: learn from samples whose prediction rests on the shape of what they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Terms
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.entropy import entropy, probability_lost
from unbraid.methods.robust.adaptation import CLASSIFIER, Adaptation, Options, mean_over, most, none_of
from unbraid.methods.robust.tent import QUICK, TINY
from unbraid.views.destroy import occlude, patch_shuffle, pixel_shuffle

_WILD = {"tau_plpd": 0.2}
_BIASED = {"tau_plpd": 0.5, "optim.lr": 5 * 2.5e-4}


class DeYO(Adaptation["DeYO.Config"]):
    """Descends the weighted entropy of samples that need their object whole (Lee et al., 2024, algorithm 1).

    1. Keep samples that are sure enough: H < tau_entropy. 2. Destroy their objects and ask again, with the
    statistics of what is asked about: PLPD is how much less probable the predicted class became. 3. Keep those with
    PLPD > tau_plpd. 4. Descend (exp(ent0 - H) + exp(PLPD)) H, the bracket being constant.
    """

    card = Card(
        name="deyo",
        title="Entropy is not Enough for Test-Time Adaptation: From the Perspective of Disentangled Factors",
        paper="arXiv:2403.07366",
        year=2024,
        number=27,
        summary="Adapts the norms of a classifier to the samples of a stream that it tells by their shape.",
        modality=("image",),
        scope="batch",
        claim="Where a colour deceives, it beats no adaptation and Tent in the worst group; entropy alone does not.",
        ports=(CLASSIFIER,),
        wants=("label", "domain"),
        example="coloured-digits",
    )
    presets = {
        "tiny": {**TINY, "tau_entropy": 1.0, "tau_plpd": 0.0},
        "quick": {**QUICK, "tau_entropy": 1.0, "ent0": 1.0, "tau_plpd": 0.5},
        "imagenet-c": {},
        "wild-resnet50-gn": _WILD,
        "wild-resnet50-gn-one": {**_WILD, "batch": 1, "optim.lr": 2 * 2 * 2.5e-4 / 64},
        "wild-vit": {**_WILD, "optim.lr": 1e-3},
        "wild-vit-one": {**_WILD, "batch": 1, "optim.lr": 2 * 1e-3 / 64},
        "waterbirds": _BIASED,
        "coloured-mnist": {**_BIASED, "tau_entropy": 1.0, "ent0": 1.0},
    }

    @dataclass(frozen=True)
    class Config(Options):
        """Options of DeYO.

        Attributes:
            tau_entropy: Entropy below which a sample is sure enough, as a share of the greatest there is.
            ent0: Entropy at which its weight is 1, likewise.
            tau_plpd: PLPD above which a sample is learnt from.
            destroy: How objects are destroyed: patches shuffled for each image, pixels shuffled alike for all, or the
                middle covered.
            patches: Patches a side.
            filter_entropy: Whether step 1 filters.
            filter_plpd: Whether step 3 filters.
            weight_entropy: Whether the weight has its first term.
            weight_plpd: Whether it has its second; without either, samples weigh the same.
        """

        tau_entropy: float = told(0.5, by="code")
        ent0: float = told(0.4, by="code")
        tau_plpd: float = told(0.3, by="code")
        destroy: Literal["patch", "pixel", "occlude"] = told("patch", by="code")
        patches: int = told(4, by="code")
        filter_entropy: bool = told(True, by="code")
        filter_plpd: bool = told(True, by="code")
        weight_entropy: bool = told(True, by="code")
        weight_plpd: bool = told(True, by="code")

        shares = ("tau_entropy", "ent0")

    def __init__(self, config: DeYO.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        shape = fields["x"].shape
        if len(shape) != 3:
            raise DataError("images (C, H, W)", got=f"items of shape {shape}", where="field 'x'")
        if not 2 <= config.patches <= min(shape[1:]):
            raise ConfigError(f"2 to {min(shape[1:])} patches a side", got=str(config.patches), where="patches")

    def parts(self) -> tuple[PartSpec, ...]:
        return (*super().parts(), PartSpec("reliance", "sca", carries=("shape",)))

    def encode(self, batch: Batch) -> Parts:
        x, at = batch["x"], At(device=batch["x"].device)
        logits = self.classify(x, at)
        everyone = torch.ones(len(x), dtype=torch.bool, device=x.device)
        return Parts(evidence=logits, reliance=self.reliance(x, logits, everyone, at))

    def objective(self, x: Tensor, logits: Tensor, at: At) -> Terms | None:
        c, top = self.config, most(self.classes)
        unsure = entropy(logits)
        sure = unsure < c.tau_entropy * top if c.filter_entropy else torch.ones_like(unsure, dtype=torch.bool)
        at.note(sure=sure.float().mean())
        if none_of(sure, at):
            return None
        unsure, plpd = unsure[sure], self.reliance(x, logits, sure, at)
        kept = plpd > c.tau_plpd if c.filter_plpd else torch.ones_like(plpd, dtype=torch.bool)
        at.note(kept=kept.sum() / len(x))
        if none_of(kept, at):
            return None
        weight = self.weight(unsure[kept].detach(), plpd[kept])
        return {"entropy": mean_over(weight * unsure[kept], at)}

    def weight(self, unsure: Float[Tensor, " kept"], plpd: Float[Tensor, " kept"]) -> Float[Tensor, " kept"]:
        """How much each sample counts."""
        c = self.config
        terms = [(c.ent0 * most(self.classes) - unsure).exp()] if c.weight_entropy else []
        terms += [plpd.exp()] if c.weight_plpd else []
        return torch.stack(terms).sum(0) if terms else torch.ones_like(unsure)

    @torch.no_grad()
    def reliance(
        self, x: Float[Tensor, "batch c h w"], logits: Tensor, chosen: Bool[Tensor, " batch"], at: At
    ) -> Float[Tensor, " chosen"]:
        """PLPD of the chosen images: what the predicted class loses when the object is destroyed."""
        return probability_lost(logits[chosen], self.classify(self.destroyed(x, chosen, at), at))

    def destroyed(self, x: Float[Tensor, "batch c h w"], chosen: Bool[Tensor, " batch"], at: At) -> Tensor:
        """The chosen images without their objects."""
        if self.config.destroy == "occlude":
            return occlude(x[chosen])
        if self.config.destroy == "pixel":
            return pixel_shuffle(x[chosen], at.permutation(x.shape[2] * x.shape[3]))
        order = at.rand((len(x), self.config.patches**2)).argsort(1)
        return patch_shuffle(x[chosen], order[chosen])
