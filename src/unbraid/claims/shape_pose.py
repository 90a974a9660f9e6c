"""Shape and pose: what exchanging shapes does to the parts, and how near a camera comes to a preferred view."""

from __future__ import annotations

import math

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained, found
from unbraid.methods.decision.viewing import QUICK

_OWN = ("pose varies with its own", "shape varies with its own")


def log_separation(arm: Trained) -> float:
    """The mean logarithm of both ratios; a logarithm, so that a margin is a factor."""
    return sum(math.log(arm.findings.numbers[name]) for name in _OWN) / len(_OWN)


def angle_left(arm: Trained) -> float:
    """The share of the angle to the preferred view that is left after three motions."""
    numbers = arm.findings.numbers
    return numbers["angle at last"] / numbers["angle at first"]


def error_left(arm: Trained) -> float:
    """The error of what is imagined after a motion, as a share of that of the view before it."""
    numbers = arm.findings.numbers
    return numbers["error after a motion"] / numbers["error of the view before"]


CLAIM = Claim(
    method="shape-pose",
    task=(
        "`objects:turn=90`: 40 ellipses with a handle, 24x24 and 60 views of each, a camera above that slides and "
        "turns by up to 90 degrees either way. The preset `quick`: perceptrons of width 256, 2,000 steps of 32 pairs. "
        "Measured on 10 other instances: parts on 16 common poses of each; 64 journeys of three motions, each the best "
        "of 200 by the pose part, to a view of any of them."
    ),
    data="objects:turn=90",
    settings=QUICK,
    arms=(
        Arm("shape-pose", "shape-pose"),
        Arm("no exchange", "shape-pose-unswapped"),
        Arm("one code", "view-vae"),
    ),
    contrasts=(
        Contrast("The pose part varies 5 times as much with pose as with shape.", "pose", "shape-pose", 5.0),
        Contrast("The shape part varies twice as much with shape as with pose.", "shape", "shape-pose", 2.0),
        Contrast(
            "Without exchanging shapes the geometric mean of both ratios is lower by a factor of 2 at least.",
            "log separation",
            "shape-pose",
            "no exchange",
            margin=math.log(2),
        ),
        Contrast("What is imagined after a motion errs 40 % less than the view before.", "error", "shape-pose", 0.6),
        Contrast("Three motions take away half of the angle to the preferred view.", "angle", "shape-pose", 0.5),
        Contrast("More of it than without exchanging shapes.", "angle", "shape-pose", "no exchange"),
        Contrast("More of it than with one entangled code.", "angle", "shape-pose", "one code", expect="report"),
        Contrast("Predictions err less than with one code.", "error", "shape-pose", "one code", expect="report"),
    ),
    metrics={
        "pose": found(_OWN[0], "Variance of the pose part where only pose varies, over that where only shape does."),
        "shape": found(_OWN[1], "Variance of the shape part where only shape varies, over that where only pose does."),
        "log separation": Metric("Mean logarithm of these two.", log_separation),
        "angle": Metric("Share of the angle to the preferred view that three motions leave.", angle_left, more=False),
        "error": Metric("Squared error after a motion, as a share of that of the view before.", error_left, more=False),
    },
    note=(
        "The seeds are of training; the world is one. On seeds 1 and 2, where settings were chosen, 10 degrees were "
        "left of 63 on seed 1 with the exchange and 31 and 21 without it; three seeds could not decide it. One "
        "entangled code reached as near as separate parts there (11 and 10 degrees), so that this is only reported: "
        "the abstract's claim that better parts reach better is not shown here. ShapeNet's mugs, bottles, bowls and "
        "cans at 120x120, 100,000 steps on an accelerator, would decide it. With the whole circle to turn in, 3,000 "
        "steps with convolutions left 67 degrees of 97 in the mean, and 25 of 102 in the median."
    ),
)
