"""DeYO: surer is not enough, where a colour deceives."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.accuracy import accuracies, batches, column
from unbraid.methods.robust.adaptation import Adaptation
from unbraid.methods.robust.compare import online

_SHARED = {"batch": 8, "optim.lr": 0.03}
_DEYO = {"tau_entropy": 1.0, "ent0": 1.0, "tau_plpd": 0.5}
_ENTROPY_ALONE = {**_DEYO, "filter_plpd": False, "weight_plpd": False}


def _online(key: str) -> Metric:
    meaning = f"Of answers given before the batch was learnt from, {key}; groups are class and colour."
    return Metric(meaning, lambda arm: accuracies(online(_method(arm), arm.data), arm.data)[key])


def _method(arm: Trained) -> Adaptation[Any]:
    assert isinstance(arm.method, Adaptation)
    return arm.method


def _deceived(arm: Trained) -> tuple[Bool[Tensor, " n"], Float[Tensor, "n classes"], Float[Tensor, " n"]]:
    """Of the items whose colour speaks against their class: who is right before adaptation, the logits, and PLPD."""
    method = _method(arm).restarted()
    with torch.no_grad():
        parts = [method.encode(batch) for batch in batches(arm.data)]
    logits, plpd = (torch.cat([p[name] for p in parts]) for name in ("evidence", "reliance"))
    label, colour = column(arm.data, "label"), column(arm.data, "domain")
    assert label is not None
    against = label != colour
    return (logits.argmax(1) == label)[against], logits[against], plpd[against]


def _ahead(score: Float[Tensor, " n"], right: Bool[Tensor, " n"]) -> float:
    """How often a right answer has a higher score than a wrong one; ties count half."""
    apart = score[right][:, None] - score[~right][None]
    return float((apart > 0).double().mean() + 0.5 * (apart == 0).double().mean())


def _by_plpd(arm: Trained) -> float:
    right, _, plpd = _deceived(arm)
    return _ahead(plpd, right)


def _by_entropy(arm: Trained) -> float:
    right, logits, _ = _deceived(arm)
    return _ahead(-entropy(logits), right)


CLAIM = Claim(
    method="deyo",
    task=(
        "`coloured-digits`: a small convolutional network with batch normalisation, trained where the colour goes with "
        "the class in 92 % of 898 digits, predicts 899 others where it does in 30 %, eight at a time, and adapts to "
        "each batch after it was predicted, at rate 0.03."
    ),
    data="coloured-digits",
    settings=_SHARED,
    arms=(
        Arm("deyo", "deyo", _DEYO),
        Arm("no adaptation", "tent", {"optim.lr": 0.0}),
        Arm("tent", "tent"),
        Arm("eata", "eata", {"redundancy": 0.9}),
        Arm("sar", "sar", {"floor": 0.0}),
        Arm("entropy alone", "deyo", _ENTROPY_ALONE),
        Arm("plpd alone", "deyo", {**_DEYO, "filter_entropy": False, "weight_entropy": False}),
        Arm("pixels shuffled", "deyo", {**_DEYO, "destroy": "pixel"}),
        Arm("middle covered", "deyo", {**_DEYO, "destroy": "occlude"}),
    ),
    contrasts=(
        Contrast("It is right more often than without adaptation.", "accuracy", "deyo", "no adaptation", margin=0.05),
        Contrast("And more often than Tent.", "accuracy", "deyo", "tent", margin=0.05),
        Contrast("And than EATA.", "accuracy", "deyo", "eata", margin=0.05),
        Contrast("And than SAR.", "accuracy", "deyo", "sar", margin=0.05),
        Contrast(
            "It is right more often in its worst group than without adaptation.", "worst group", "deyo", "no adaptation"
        ),
        Contrast("And than Tent in its worst group.", "worst group", "deyo", "tent"),
        Contrast(
            "With its filter and weight by entropy alone, it is not better than without adaptation.",
            "accuracy",
            "entropy alone",
            "no adaptation",
            expect="worse",
        ),
        Contrast(
            "Where the colour deceives, right answers lose more when the shape is destroyed than wrong ones do.",
            "told by plpd",
            "deyo",
            0.5,
            margin=0.1,
        ),
        Contrast("How well entropy tells the same.", "told by entropy", "deyo", 0.5, expect="report"),
        Contrast("Without filter and weight by entropy.", "accuracy", "deyo", "plpd alone", expect="report"),
        Contrast("Shuffled patches against shuffled pixels.", "accuracy", "deyo", "pixels shuffled", expect="report"),
        Contrast("And against a covered middle.", "accuracy", "deyo", "middle covered", expect="report"),
        Contrast("Tent against no adaptation, in the worst group.", "worst group", "tent", "no adaptation", "report"),
    ),
    seeds=(11, 12, 13, 14, 15, 16),
    metrics={
        "accuracy": _online("accuracy"),
        "worst group": _online("worst group"),
        "told by plpd": Metric(
            "How often, of a right and a wrong answer about digits whose colour speaks against their class, the right "
            "one has the higher PLPD.",
            _by_plpd,
        ),
        "told by entropy": Metric("The same with entropy in the place of PLPD, lower being surer.", _by_entropy),
    },
    note=(
        "Settings were chosen on seeds 1 to 4. The seeds are of the classifier, which is the same for all arms; six, "
        "because the worst group, some 130 digits, differs much from one classifier to the next."
    ),
)
