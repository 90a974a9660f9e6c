"""Disentangled time series, the segments: what happens in one, where it was recorded in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained, found

if TYPE_CHECKING:
    from unbraid.core.method import Method
    from unbraid.methods.signal.dts import DTSGroup


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """Which way each adversary pulls the encoder, and what labels of the target weigh."""
    import torch

    from unbraid.core.config import override
    from unbraid.core.method import At
    from unbraid.data.catalog import open_data
    from unbraid.data.wrapped import in_roles
    from unbraid.training.build import build

    data = in_roles(open_data(cls.card.tiny), cls.card.needs, {}, cls.card.wants, cls.card.partly)
    method = cast("DTSGroup", build(cls, override(cls.Config(), cls.presets["tiny"]), data.fields))
    method.measure(method.sources(data), At())
    batch = data.take(torch.arange(len(data)))
    encoder = list(method.encoder.parameters())
    z = method.infer(method.observed(batch["x"]))[0]

    def pulled(step: int, term: str) -> torch.Tensor:
        value = method.knowledge(batch, z, At(step=step, steps=10))[term]
        raw = value[1] if isinstance(value, tuple) else value
        found_ = torch.autograd.grad(raw.mean(), encoder, retain_graph=True)
        return torch.cat([g.flatten() for g in found_])

    content = torch.split(z, list(method.widths), 1)[0]
    answers = method.adversaries["domain"](content)
    told = torch.nn.functional.cross_entropy(answers, batch["domain"])
    plain = torch.cat([g.flatten() for g in torch.autograd.grad(told, encoder, retain_graph=True)])
    full = pulled(10, "domain_adversary")
    other = {**batch, "label": torch.where(batch["domain"] == 1, (batch["label"] + 1) % 4, batch["label"])}
    losses = [method.knowledge(b, z, At())["label"] for b in (batch, other)]
    one, two = (float((v[1] if isinstance(v, tuple) else v).detach().mean()) for v in losses)
    return [
        Gate("In the end the adversary pulls the encoder the other way, as strongly.", "gradient left",
             float((full + plain).abs().max()), 0.0, margin=1e-3),
        Gate("In the beginning it does not pull.", "largest gradient",
             float(pulled(0, "domain_adversary").abs().max()), 0.0),
        Gate("Other labels at the target change nothing.", "loss", two, one),
    ]  # fmt: skip


def means(arm: Trained) -> float:
    """How often a linear probe tells the place from the means of the content."""
    table = arm.findings.tables["Factors read"].columns
    return float(table["content"][list(table["factor"]).index("place")])


CLAIM = Claim(
    method="dts-group",
    task=(
        "4,000 series of 32 steps of the world `sines`, at two places of which one lifts every value and has no "
        "labels; three phases; the label is the frequency. LSTMs of width 32, 6 numbers of content and 4 of domain, "
        "600 steps of 64 series at rate 0.01 falling to 0."
    ),
    data="sines:phases=3",
    settings={
        "hidden": 32,
        "content": 6,
        "domain": 4,
        "critic_width": 32,
        "alpha": 0.0,
        "beta": 1.0,
        "predict": 10.0,
        "adverse": 3.0,
        "steps": 600,
        "optim.lr": 1e-2,
        "optim.schedule.kind": "cosine",
    },
    arms=(
        Arm("dts-group", "dts-group"),
        Arm("no adversaries", "dts-group", {"adverse": 0.0}),
    ),
    contrasts=(
        Contrast("The place is hardly told from a draw of the content.", "place from content", "dts-group", 0.65),
        Contrast("It is told from the other segment.", "place from domain", "dts-group", 0.9),
        Contrast("The label is told from the content.", "label from content", "dts-group", 0.4),
        Contrast("It is hardly told from the other segment.", "label from domain", "dts-group", 0.35),
        Contrast("Labels are told where they were learnt.", "source", "dts-group", 0.8),
        Contrast("Labels told at the other place.", "target", "dts-group", "no adversaries", "report"),
        Contrast("The place, from a draw.", "place from content", "dts-group", "no adversaries", "report"),
        Contrast("The place, from the means.", "place from means", "dts-group", "no adversaries", "report"),
    ),
    gates=gates,
    metrics={
        "place from content": found("domain from content", "Accuracy of a probe on draws of the content.", more=False),
        "place from domain": found("domain from domain", "Accuracy of a probe on draws of the other segment."),
        "label from content": found("label from content", "Accuracy of a probe on draws of the content."),
        "label from domain": found(
            "label from domain", "Accuracy of a probe on draws of the other segment.", more=False
        ),
        "source": found("accuracy of source", "Share of labels told right at the place that was learnt from."),
        "target": found("accuracy of target", "Share of labels told right at the place without labels."),
        "place from means": Metric("Accuracy of a probe on the means of the content.", means, False),
    },
    note=(
        "The settings were chosen on seed 1. Draws of the content do not tell the place without adversaries either: "
        "the segment that is asked for the place holds it, and one number is enough. Its means betray the place, by "
        "less than the spread of the code, with adversaries as without. And at the place without labels the "
        "adversaries do harm here (0.48 against 0.75): contents of the two places may have one distribution and still "
        "mean other labels. So the paper's claim on target accuracy does not show in this world, whose shift is an "
        "offset; nothing was tried against it on the reported seeds. The five sets of the paper on an accelerator "
        "would decide; UCI HAR is read as `series:FOLDER`."
    ),
)
