"""Trains every autoencoder on two worlds over fixed seeds: `python docs/_compare.py [METHOD ...]`.

Adds what is missing to `comparison.csv`, from which the page `comparison.md` is made. Everything counts as it comes:
the seeds are those of the claims, on which nothing was chosen.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from unbraid.claims.claim import SEEDS
from unbraid.claims.scoring import METRICS, Trained, score
from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.data.catalog import open_data
from unbraid.training.build import build
from unbraid.training.fit import fit

RESULTS = Path(__file__).with_name("comparison.csv")
COLUMNS = ("data", "method", "seed", "score", "value")
WORLDS = ("sprites:size=32", "scenes:size=32")
METHODS = (
    "ae",
    "vae",
    "beta-vae",
    "annealed-vae",
    "factor-vae",
    "dip-vae",
    "dip-vae-ii",
    "beta-tcvae",
    "ada-gvae",
    "ada-ml-vae",
    "qlae",
    "quantized-infogan",
)
STEPS = 2000
"""Of the preset `quick`, half of its own: a comparison of 72 trainings must end."""

SCORES = ("mig", "dci_disentanglement", "infom", "infoe", "factor_vae")


def measure(method: str, data: str, seed: int) -> dict[str, float]:
    """Train once; the scores of 3,000 items, and the share of the pixels' variance that the code explains."""
    entry = find(method)
    cls = entry.load()
    config = cls.Config()
    for changes in (cls.presets["quick"], entry.overrides, {"steps": STEPS}):
        config = override(config, changes)
    world = open_data(data)
    trained = Trained(build(cls, config, world.fields, seed), world)
    fit(trained.method, world, seed=seed)
    return {
        **{name: float(score(name).of(trained)) for name in SCORES},
        "explained": float(METRICS["explained"].of(trained)),
    }


def wanted(methods: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """What is asked for and not yet there."""
    there = {(row["data"], row["method"], row["seed"]) for row in read()}
    for seed in SEEDS:
        for data in WORLDS:
            for method in methods:
                if (data, method, str(seed)) not in there:
                    yield data, method, seed


def read() -> list[dict[str, str]]:
    """The rows that were measured."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(methods: Sequence[str]) -> None:
    """Measure one after the other, writing each down at once."""
    torch.set_num_threads(1)
    if not RESULTS.exists():
        RESULTS.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for data, method, seed in wanted(methods):
        found = measure(method, data, seed)
        with RESULTS.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(
                (data, method, seed, name, f"{value:.6g}") for name, value in found.items()
            )
        print(data, method, seed, {name: round(value, 3) for name, value in found.items()}, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or METHODS)
