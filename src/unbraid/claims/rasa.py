"""RASA: patches cluster by content once their place is taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import found
from unbraid.core.method import Optim

if TYPE_CHECKING:
    from unbraid.claims.scoring import Trained
    from unbraid.core.method import Method

LAYERS = 4


def clusters(arm: Trained) -> float:
    """How much five clusters of the patches tell of their content: normalised mutual information."""
    from unbraid.core.parts import Parts
    from unbraid.metrics.information import entropy, mutual_information
    from unbraid.ops.kmeans import kmeans

    data: Any = arm.data
    with torch.no_grad():
        parts: Parts = arm.method.encode(data.take(torch.arange(len(data))))
    z = parts["content"].flatten(2).mT.flatten(0, 1)
    kinds = int(data.contents.max()) + 1
    tries = [kmeans(z, kinds, torch.Generator().manual_seed(seed)) for seed in range(4)]
    _, told = min(tries, key=lambda t: float((z - t[0][t[1]]).square().sum()))
    both = [labels.reshape(-1, 1).numpy() for labels in (told, data.contents)]
    shared = float(mutual_information(*both)[0, 0])
    return 2 * shared / float(sum(entropy(labels)[0] for labels in both))


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The algebra of erasure, RASA's and LEACE's."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    from unbraid.data.made.placed_features import Placed, places
    from unbraid.ops.erasure import Concept, leace, rasa
    from unbraid.training.build import build

    data = Placed(seed=1)
    method = build(cls, cls.Config(layers=LAYERS, start="random"), data.fields)
    whole = data.take(torch.arange(4))
    parts = method.encode(whole)
    gap = float((parts["content"] + parts["position"] - whole["x"]).abs().max())
    yield Gate("Content and position are all there was.", "largest difference", gap, 0.0, margin=1e-5)
    z = data.take(torch.arange(len(data)))["x"].flatten(2).mT.flatten(0, 1).double()
    place = places(8).repeat(len(data), 1).double()
    concept = Concept(place, classes=False)

    def covariance(codes: torch.Tensor) -> float:
        return float(((codes - codes.mean(0)).mT @ (place - place.mean(0)) / len(codes)).abs().max())

    closed, chain = leace(z, [concept]), rasa(z, [concept], 4)
    least = closed(z)
    yield Gate("LEACE leaves no covariance with the place.", "largest covariance", covariance(least), 0.0, margin=1e-8)
    again = float((closed(least) - least).abs().max())
    yield Gate("Done twice it changes nothing more.", "largest change", again, 0.0, margin=1e-8)
    yield Gate("It takes out two directions of 32.", "directions", float(closed.rank), 2.0)
    moved, further = (float((m(z) - z).square().mean()) for m in (closed, chain))
    yield Gate("Planes change codes more than the closed form.", "mean square of the change", further, moved, "better")
    worse = min(b / a for a, b in zip(chain.losses, chain.losses[1:], strict=False))
    yield Gate("Each plane leaves new heads less to read.", "error, of that before it", worse, 0.9, "better")
    total = chain.losses[-1] / chain.losses[0]
    yield Gate("After some, they err ten times as much.", "error, of that at first", total, 10.0, "better")


CLAIM = Claim(
    method="rasa",
    task=(
        "48 maps `placed` of 8 x 8 patch features with 32 numbers: one of 5 contents in each cell, its place linearly "
        "and by squares, three times as strong, and noise; heads by Adam, 400 steps for each plane."
    ),
    data="placed",
    settings={"layers": LAYERS, "optim": Optim("adam", lr=0.03)},
    arms=(
        Arm("rasa", "rasa"),
        Arm("two planes", "rasa", {"layers": 2}),
        Arm("random planes", "rasa", {"start": "random", "steps": 1, "optim": Optim("sgd", lr=0.0)}),
        Arm("patches", "rasa", {"steps": 1, "optim": Optim("sgd", lr=0.0)}),
    ),
    contrasts=(
        Contrast("After two planes, clusters tell the content.", "clusters", "two planes", "patches", margin=0.5),
        Contrast("After four random ones, they do not.", "clusters", "rasa", "random planes", margin=0.5),
        Contrast("Nor more than before.", "clusters", "random planes", 0.1, "worse"),
        Contrast("New heads err more on what is left, by 0.02.", "error", "rasa", "patches", margin=0.02),
        Contrast("Least squares still finds some of the place.", "explained", "rasa", 0.0, "report"),
    ),
    metrics={
        "clusters": Metric("Normalised mutual information of five clusters of patches and their content.", clusters),
        "error": found(
            "error of new heads on content", "Squared error of a place, 0 to 1, told by heads without bias."
        ),
        "explained": found("place explained by content", "Share of the place that least squares tell.", more=False),
    },
    gates=gates,
    note=(
        "The paper's own numbers, the overlap of clusters of patches with objects in photographs, are not tried: they "
        "need a network that learned from millions of images. A regression with an intercept still reads much of the "
        "place: a plane holds only what a head without one reads. LEACE takes out all that any linear map reads, which "
        "leaves the squares in."
    ),
)
