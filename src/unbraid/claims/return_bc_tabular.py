"""Tabular return-conditioned cloning: whoever earned most was lucky, and is imitated."""

from __future__ import annotations

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.dichotomy_tabular import METRICS, chosen
from unbraid.claims.scoring import Trained


def gambles(arm: Trained) -> float:
    """How often the policy gambles, averaged over the states."""
    return float(chosen(arm)[0][:, 1].mean())


CLAIM = Claim(
    method="return-bc-tabular",
    task=(
        "`gamble-chain`: five steps, each worked for 1 or gambled for 5 with chance 0.1 and -1 otherwise; 1,000 walks "
        "of a coin. Four bins of returns, all tables at rate 0.02 for 800 steps of 1,000."
    ),
    data="gamble-chain",
    settings={"bins": 4, "batch": 1000, "steps": 800, "optim.lr": 0.02},
    arms=(
        Arm("by return", "return-bc-tabular"),
        Arm("dichotomy", "dichotomy-tabular", {"energy_optim.lr": 0.1}),
    ),
    contrasts=(
        Contrast(
            "Asked for the highest return it gambles, where a policy asked by a code without luck works.",
            "gambles",
            "by return",
            "dichotomy",
            margin=0.2,
        ),
        Contrast(
            "It earns less than a policy asked by a code without luck.",
            "earned",
            "by return",
            "dichotomy",
            "worse",
            1.0,
        ),
        Contrast("It earns far less than it was asked for.", "gap", "by return", "dichotomy", "worse", 5.0),
        Contrast("The other one works.", "earned", "dichotomy", 5.0, expect="same", margin=0.1),
        Contrast("How far the other's promise is off.", "gap", "dichotomy", 0.0, expect="report"),
    ),
    metrics={**METRICS, "gambles": Metric("Chance of a gamble, mean over the states.", gambles)},
    note=(
        "The tables of the other policy promise the return of the next action and the logged policy after it, about 2; "
        "it chooses anew at every step, and so earns 5."
    ),
)
