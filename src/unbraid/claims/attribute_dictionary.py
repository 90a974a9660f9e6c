"""The dictionary of attributes: its vectors stand in for activations and steer what a network says."""

from __future__ import annotations

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained


def number(name: str) -> Metric:
    """One of the numbers of the examination."""
    return Metric(f'The examination\'s "{name}".', lambda arm: arm.findings.numbers[name])


def gained(arm: Trained) -> float:
    """How much more often edits of the subject make the network say what its twin says than doing nothing does."""
    numbers = arm.findings.numbers
    return numbers["s, edited"] - numbers["s, none"]


_END = {"attributes": ("io", "s", "pos"), "items": 4000}

CLAIM = Claim(
    method="attribute-dictionary",
    task=(
        "The 48,640 sentences of `ioi` and, for each seed, a transformer of two blocks that was trained on them in 400 "
        "steps; its residual stream at the last token after the last attention. Vectors from 4,000 sentences, judged "
        "on 1,000."
    ),
    data="ioi",
    arms=(
        Arm("attributes", "attribute-dictionary", _END),
        Arm("least squares", "attribute-dictionary", {**_END, "codes": "least-squares"}),
        Arm("shuffled", "attribute-dictionary", {**_END, "shuffled": True}),
        Arm("repeated name", "attribute-dictionary", {**_END, "at": "body.blocks.0.post", "position": 6}),
    ),
    contrasts=(
        Contrast(
            "Reconstructions do for what the network says what activations do; those of shuffled labels do not.",
            "sufficiency",
            "attributes",
            "shuffled",
            margin=0.5,
        ),
        Contrast(
            "What they leave out matters little; what those leave out matters.",
            "necessity",
            "attributes",
            "shuffled",
            margin=0.5,
        ),
        Contrast(
            "Another indirect object by its vectors is what the network then says.",
            "io, edited",
            "attributes",
            "shuffled",
            margin=0.5,
        ),
        Contrast("Without an edit it is not.", "io, none", "attributes", 0.1, expect="worse"),
        Contrast(
            "Least squares, where attributes are as good as independent, explain what means do.",
            "explained variance",
            "least squares",
            "attributes",
            expect="same",
            margin=0.02,
        ),
        Contrast("All of the effect would be 1.", "sufficiency", "attributes", 1.0, expect="report"),
        Contrast("And so would this.", "necessity", "attributes", 1.0, expect="report"),
        Contrast("The paper finds more than this.", "io, edited", "attributes", 0.8, expect="report"),
        Contrast(
            "At the name that is repeated, another subject by its vectors changes what is said as its twin does.",
            "subject gained",
            "repeated name",
            0.25,
            expect="report",
        ),
    ),
    metrics={
        **{n: number(n) for n in ("sufficiency", "necessity", "io, edited", "io, none", "explained variance")},
        "subject gained": Metric("Agreement of edits of the subject above that without an edit.", gained),
    },
    note=(
        "The prompts are those of a small grammar instead of GPT-2's, and the network is small. Three networks differ "
        "too much for absolute bounds: sufficiency within 0.15 of 1, necessity above 0.85 and agreement above 0.95 "
        "were asserted first and could not be decided, so they are reported; about ten networks would decide. Where "
        "the subject is kept differs, too: the row on the repeated name is reported. And as a network can do without "
        "`pos`, edits of that say nothing: `ioi:which=true` is the grammar in which it cannot."
    ),
)
