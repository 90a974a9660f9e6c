"""What the claims of self-supervised methods share: a very small transformer on written digits, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from unbraid.claims.claim import Contrast, Expect, Metric
from unbraid.claims.scoring import found
from unbraid.core.method import Optim

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.claims.scoring import Trained
    from unbraid.core.method import Method

DATA = "digits:size=8"
LEARNED, HELD_OUT = "digits:size=8,split=train", "digits:size=8,split=test"

SMALL: Mapping[str, Any] = {
    "backbone": "vit",
    "width": 48,
    "patch": 2,
    "depth": 2,
    "heads": 4,
    "views": "written",
    "batch": 64,
    "drop_path": 0.0,
    "epochs": 6.0,
    "warmup": 1.0,
}
"""16 patches, two blocks, 169 steps: some seconds for each arm and seed."""

RATE = 8e-3
"""Of Adam, for 256 items; a quarter of it for the 64 of a step."""

UNTRAINED: Mapping[str, Any] = {"steps": 1, "optim": Optim("sgd", lr=0.0)}
"""Options of an arm that stays as it was made."""

METRICS: Mapping[str, Metric] = {
    "probe": found("linear probe of digit", "Share of digits that a linear probe tells, on items it did not see."),
    "votes": found("nearest neighbours of digit", "Share of digits that the 20 nearest neighbours tell."),
    "rank": found("effective rank", "Directions that the representation fills."),
    "cosine": found("mean cosine there", "Mean cosine of two items' embeddings behind the head.", more=False),
    "use": found("use of prototypes", "Entropy of the mean over items of prototypes, of the largest there is."),
    "in use": found("prototypes in use", "Share of prototypes that are some item's likeliest."),
    "doubt": found("doubt of prototypes", "Mean entropy of an item's prototypes, of the largest there is.", more=False),
    "held out": Metric(
        "Squared error at hidden patches of new images, of that of the mean image.",
        lambda arm: held_out(arm),
        more=False,
    ),
    "lead": found("lead over the commonest token", "Share of hidden tokens told right, less that of the commonest."),
    "told": found(
        "error relative to the mean feature", "Squared error of hidden features, of their variance.", more=False
    ),
}


def held_out(arm: Trained) -> float:
    """The error at hidden patches of items that were not learned from."""
    from unbraid.data.catalog import open_data

    method: Any = arm.method
    found = method.errors(open_data(HELD_OUT), method.mean(arm.data))
    return float(found.numbers["error relative to the mean image"])


def task(words: str, epochs: int = 6) -> str:
    """The world and the network, and what a method has besides."""
    return (
        "The 1,797 `digits` at 8 pixels, turned, scaled and shifted; a transformer over 16 patches with two "
        f"blocks of 48 numbers; {epochs} epochs of batches of 64 by Adam; {words}. Probes are five-fold."
    )


def probes(ours: str, probe: Expect = "better", votes: Expect = "better") -> tuple[Contrast, ...]:
    """What can be read, over an untrained network: by a linear probe three points more."""
    return (
        Contrast(
            "A linear probe reads more digits from it than without training, by three in a hundred.",
            "probe",
            ours,
            "untrained",
            expect=probe,
            margin=0.03 if probe == "better" else 0.0,
        ),
        Contrast("Neighbours tell more digits than untrained.", "votes", ours, "untrained", expect=votes),
    )


def tiny(cls: type[Method[Any]], **changes: Any) -> Any:
    """A very small method for gates, in eval mode."""
    from unbraid.core.config import override
    from unbraid.core.fields import Field, Fields
    from unbraid.training.build import build

    config = override(override(cls.Config(), cls.presets["tiny"]), changes)
    return build(cls, config, Fields(x=Field((1, 16, 16), unit=True))).eval()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
