"""The tabular Dichotomy of Control: luck that is kept out of a code cannot be promised."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained


def chosen(arm: Trained) -> tuple[Tensor, Tensor]:
    """The policy (S, A) that is asked for the best, and what it promises in each state."""
    method: Any = arm.method
    policy, promised = method.chosen()
    return policy, promised


def earned(arm: Trained) -> float:
    """The expected return of that policy, computed exactly."""
    world: Any = arm.data
    return float(world.environment.expected(chosen(arm)[0]))


def gap(arm: Trained) -> float:
    """How far what it promises at the first step is from what it earns."""
    world: Any = arm.data
    promised = float(world.environment.start @ chosen(arm)[1].double())
    return abs(promised - earned(arm))


def leakage(arm: Trained) -> float:
    """MI(z; return | state, action) over the training data, computed exactly."""
    method: Any = arm.method
    return float(method.leakage())


METRICS = {
    "earned": Metric("Expected return of the policy that is asked for the best, computed exactly.", earned),
    "gap": Metric("Distance of what is promised from what is earned.", gap, more=False),
    "leakage": Metric("MI(z; return | state, action) in nats, computed exactly.", leakage, more=False),
}

_PULLED = {"quirks": "joint_value"}

CLAIM = Claim(
    method="dichotomy-tabular",
    task=(
        "The `bandit` with p 0.1: 1,000 pulls, 90 % of them of the arm that pays 1 in 10 times, the others of the one "
        "that pays 9 in 10. Four codes, 1,000 steps at rate 0.02, f at 0.1, all pulls in every step."
    ),
    data="bandit",
    settings={"bins": 2, "batch": 1000, "steps": 1000, "optim.lr": 0.02},
    arms=(
        Arm("dichotomy", "dichotomy-tabular", {"energy_optim.lr": 0.1}),
        Arm("pulled", "dichotomy-tabular", {"energy_optim.lr": 0.1, **_PULLED}),
        Arm("pulled, beta 0", "dichotomy-tabular", {"energy_optim.lr": 0.1, "beta": 0.0, **_PULLED}),
        Arm("beta 0", "dichotomy-tabular", {"energy_optim.lr": 0.1, "beta": 0.0}),
        Arm("released", "dichotomy-tabular", {"quirks": "released_sign,joint_value"}),
        Arm("by return", "return-bc-tabular"),
    ),
    contrasts=(
        Contrast("Asked for the best it pulls the better arm.", "earned", "dichotomy", 0.9, expect="same", margin=0.05),
        Contrast("It promises what it earns.", "gap", "dichotomy", 0.0, expect="same", margin=0.08),
        Contrast(
            "It earns more than the policy that is asked for the highest return, which pulls either arm.",
            "earned",
            "dichotomy",
            "by return",
            margin=0.2,
        ),
        Contrast(
            "Its code tells nothing of luck, even where the value pulls the return into it.",
            "leakage",
            "pulled",
            0.0,
            expect="same",
            margin=0.01,
        ),
        Contrast(
            "Without the information term that code tells of luck.", "leakage", "pulled", "pulled, beta 0", margin=0.1
        ),
        Contrast(
            "With the sign of the released program it does, too: there f and the code help each other.",
            "leakage",
            "pulled",
            "released",
            margin=0.1,
        ),
        Contrast("So it keeps its promise there.", "gap", "pulled", 0.0, expect="same", margin=0.08),
        Contrast("The gap without the term.", "gap", "pulled", "pulled, beta 0", expect="report"),
        Contrast("What is earned without the term.", "earned", "pulled", "pulled, beta 0", expect="report"),
        Contrast("What is earned with the released sign.", "earned", "pulled", "released", expect="report"),
        Contrast(
            "What is earned without the term where nothing pulls.", "earned", "dichotomy", "beta 0", expect="report"
        ),
    ),
    metrics=METRICS,
    note=(
        "Nothing in the imitation loss asks a code for luck, so without the term it is mostly free of it by itself "
        "(one seed of eight, when this was explored, was not). What brings luck in is the value's loss where it may "
        "move the encoder, as in the released program; the arms called *pulled* let it, and then only the information "
        "term keeps luck out. Without it the policy may still, by the accident of its first weights, pull the better "
        "arm: its earnings scatter over 0.1, 0.5 and 0.9, which three seeds cannot settle, so they are only reported."
    ),
)
