"""Disentangled time series, on two levels: single numbers, and segments of the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Prediction, Source, Terms
from unbraid.core.outcome import Findings
from unbraid.core.parts import PartSpec
from unbraid.data.dataset import Dataset
from unbraid.losses.adversarial import ramp
from unbraid.losses.total_correlation import between_segments, density_ratio, shuffled_segments, tell_apart
from unbraid.methods.signal.series_judged import Judged, adapted, moved, probed
from unbraid.methods.signal.series_vae import SeriesOptions, SeriesVAE
from unbraid.nets.mlp import mlp
from unbraid.ops.autograd import reverse


class DTS(SeriesVAE["DTS.Config"]):
    """A recurrent VAE whose single numbers are independent and keep what they tell (Li et al., 2022).

    Minimises reconstruction + KL + (beta - 1) TC + (gamma - 1) dimension-wise KL - (1 + alpha) MI, each term from the
    posteriors of the batch.
    """

    card = Card(
        name="dts",
        title="Towards Learning Disentangled Representations for Time Series",
        paper="arXiv:2105.08179",
        year=2022,
        number=14,
        modality=("signal",),
        summary="A recurrent VAE of series, rewarded for what its code tells while its numbers stay independent.",
        claim="Its code keeps telling of the series where the same penalties make a plain one empty.",
        example="sines",
        tiny="sines:rows=24,steps=8",
    )
    aliases = {"lstm-vae": {"alpha": -1.0, "beta": 1.0, "gamma": 1.0, "teacher_forcing": True}}
    about = {"lstm-vae": "A VAE of series with a recurrent decoder that sees the true steps before each; often empty."}
    presets = {
        "quick": {**SeriesVAE.presets["quick"], "latents": 8},
        "tiny": {**SeriesVAE.presets["tiny"], "latents": 3},
    }

    @dataclass(frozen=True)
    class Config(SeriesOptions):
        """Options of the individual level.

        Attributes:
            latents: Numbers in the code.
        """

        latents: int = told(16, by="memory")

        counts = (*SeriesOptions.counts, "latents")

    def __init__(self, config: DTS.Config, fields: Fields) -> None:
        super().__init__(config, fields, (config.latents,))

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("factors", "fam", (self.config.latents,), one=True),)

    @action
    def examine(self, data: Source) -> Findings:
        """Tell what the code says of each factor, the parts of its divergence, and what moving each number does.

        Args:
            data: Series like those of training.
        """
        judged = Judged.of(self, cast(Dataset, data))
        return judged.findings(tables={"Factors read": probed(judged), "From -3 to 3": moved(self, judged)})


class DTSGroup(SeriesVAE["DTSGroup.Config"]):
    """A code of two segments: `content` knows the label in any domain, `domain` the domain (Li et al., 2022).

    To the loss of the individual level are added: the label told from the content where it is known, the domain from
    the segment of that name; the domain told from the content and the label from the other, through reversed
    gradients whose strength rises; and the dependence between the segments.
    """

    card = Card(
        name="dts-group",
        title="Towards Learning Disentangled Representations for Time Series",
        paper="arXiv:2105.08179",
        year=2022,
        number=14,
        modality=("signal",),
        needs=("x", "label"),
        wants=("domain", "group"),
        partly=("label",),
        summary="A recurrent VAE of series whose code has a part for what happens and one for where it was recorded.",
        claim="Draws of its content tell what happens and not where it was recorded; the other segment tells where.",
        example="sines",
        tiny="sines:rows=24,steps=8",
    )
    scaffold = ("critics", "adversaries")
    presets = {
        "quick": {
            **SeriesVAE.presets["quick"],
            "content": 8,
            "domain": 4,
            "alpha": 0.0,
            "beta": 1.0,
            "predict": 10.0,
            "adverse": 3.0,
        },
        "tiny": {**SeriesVAE.presets["tiny"], "content": 3, "domain": 2},
    }

    @dataclass(frozen=True)
    class Config(SeriesOptions):
        """Options of the group level.

        Attributes:
            content: Numbers in the segment that is to know the label.
            domain: Numbers in the segment that is to know the domain.
            target: Domains whose labels are never learnt from: a name, several joined by "+", "last" or "none".
            predict: Weight of label and domain told from the segment of each.
            adverse: Weight of label and domain told, through reversed gradients, from the other's.
            steepness: How soon the reversed gradients have their full strength.
            segments: Weight of the dependence between the segments.
            independence: Who tells it: the posteriors of the batch, or a critic of shuffled segments.
        """

        content: int = told(8, by="ours")
        domain: int = told(8, by="ours")
        target: str = told("last", by="ours")
        predict: float = told(1.0, by="ours")
        adverse: float = told(1.0, by="ours")
        steepness: float = told(10.0, by="second")
        segments: float = told(1.0, by="ours")
        independence: Literal["tc", "ratio"] = told("tc", by="ours")

        counts = (*SeriesOptions.counts, "content", "domain")

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("predict", "adverse", "steepness", "segments"):
                if not 0 <= getattr(self, name) < float("inf"):
                    raise ConfigError("a number from 0 on", got=f"{getattr(self, name):g}", where=name)

    learnt: Tensor

    def __init__(self, config: DTSGroup.Config, fields: Fields) -> None:
        super().__init__(config, fields, (config.content, config.domain))
        classes = _classes(fields, "label")
        domains = _classes(fields, "domain") if "domain" in fields else 0
        hidden = config.critic_width

        def head(width: int, out: int) -> nn.Sequential:
            return mlp((width, hidden, out))

        self.label = head(config.content, classes)
        self.adversaries = nn.ModuleDict({"label": head(config.domain, classes)})
        if domains:
            self.place = head(config.domain, domains)
            self.adversaries["domain"] = head(config.content, domains)
        if config.independence == "ratio":
            self.critics["segments"] = mlp((sum(self.widths), hidden, hidden, 2))
        self.register_buffer("learnt", torch.ones(max(1, domains), dtype=torch.bool))

    def parts(self) -> tuple[PartSpec, ...]:
        where = ("domain",) if "domain" in self.fields else ()
        return (
            PartSpec("content", "vec", (self.config.content,), carries=("label",), free_of=where),
            PartSpec("domain", "vec", (self.config.domain,), carries=where, free_of=("label",)),
        )

    def sources(self, data: Source) -> Mapping[str, Source]:
        """The rows of the split "train"; all where there is no such factor, or it is the domain."""
        if cast(Dataset, data).roles.get("domain") == "split":
            return {"train": data}
        return super().sources(data)

    def measure(self, sources: Mapping[str, Source], at: At) -> None:
        """Besides, of which domains the labels are learnt from."""
        super().measure(sources, at)
        if "domain" in self.fields:
            self.learnt.copy_(_learnt(cast(Dataset, sources["train"]), len(self.learnt), self.config.target))

    def besides(self, batch: Batch, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        """What each segment is to know and not to know, and their dependence."""
        return {**self.knowledge(batch, z, at), **self.apart(z, mu, logvar, at)}

    def knowledge(self, batch: Batch, z: Tensor, at: At) -> Terms:
        """Labels and domains told from draws, by those who should and, reversed, by those who should not."""
        c = self.config
        content, domain = torch.split(z, list(self.widths), 1)
        strength = ramp(at.progress, c.steepness)
        at.note(reversal=strength)
        known = self.known(batch).to(z)
        share = at.world.mean(known.mean())
        counted = known / torch.where(share > 0, share, 1.0)

        def labelled(head: nn.Module, seen: Tensor) -> Float[Tensor, " batch"]:
            return counted * functional.cross_entropy(head(seen), batch["label"].clamp(min=0), reduction="none")

        adversaries = self.adversaries
        terms = {
            "label": (c.predict, labelled(self.label, content)),
            "label_adversary": (c.adverse, labelled(adversaries["label"], reverse(domain, strength))),
        }
        if "domain" in self.fields:
            where = batch["domain"]
            against = adversaries["domain"](reverse(content, strength))
            terms["domain"] = (c.predict, functional.cross_entropy(self.place(domain), where, reduction="none"))
            terms["domain_adversary"] = (c.adverse, functional.cross_entropy(against, where, reduction="none"))
        return {name: term for name, term in terms.items() if term[0]}

    def apart(self, z: Tensor, mu: Tensor, logvar: Tensor, at: At) -> Terms:
        """The dependence between the segments."""
        if not self.config.segments:
            return {}
        if self.config.independence == "ratio":
            return {"segments": (self.config.segments, density_ratio(self.critics["segments"](z)))}
        value = between_segments(z, at.world.gather(mu), at.world.gather(logvar), self.widths)
        return {"segments": (self.config.segments, value)}

    def critic_loss(self, batch: Batch, at: At) -> Terms:
        """Besides, how badly segments that belong together are told from shuffled ones."""
        terms = dict(super().critic_loss(batch, at))
        if "segments" in self.critics:
            z, critic = at.memo["z"], self.critics["segments"]
            terms["segments"] = tell_apart(critic(z), critic(shuffled_segments(z, self.widths, at)))
        return terms

    def known(self, batch: Batch) -> Bool[Tensor, " batch"]:
        """Of which items the label may be learnt from."""
        known: Tensor = batch["label"] >= 0
        return known & self.learnt[batch["domain"]] if "domain" in self.fields else known

    def predict(self, batch: Batch) -> Prediction:
        """The label of each series, told from its content alone."""
        return Prediction(self.label(self.encode(batch)["content"]))

    @action
    def examine(self, data: Source) -> Findings:
        """Tell labels at each domain, and what each part says of each factor.

        Args:
            data: Series like those of training, with the domains of training.
        """
        judged = Judged.of(self, cast(Dataset, data))
        numbers, table = adapted(self, judged, self.learnt)
        return judged.findings(numbers, tables={"Labels told": table, "Factors read": probed(judged)})


def _classes(fields: Fields, name: str) -> int:
    classes = fields[name].classes
    if classes is None or classes < 2:
        raise DataError(f"a {name} of two values or more", got=f"{classes or 'no'} values", where=name)
    return classes


def _learnt(data: Dataset, domains: int, target: str) -> Bool[Tensor, " domains"]:
    """Of which domains the labels are learnt from."""
    learnt = torch.ones(domains, dtype=torch.bool)
    if target == "none":
        return learnt
    factor = next((f for f in data.factors if f.name == data.roles.get("domain")), None)
    names = list(factor.labels) if factor else [str(i) for i in range(domains)]
    for name in [names[-1]] if target == "last" else target.split("+"):
        if name not in names:
            raise ConfigError("the name of a domain", got=f"'{name}'", fix=nearest(name, names), where="target")
        learnt[names.index(name)] = False
    if not learnt.any():
        raise ConfigError("one domain at least to learn labels from", got=f"'{target}', all of them", where="target")
    return learnt
