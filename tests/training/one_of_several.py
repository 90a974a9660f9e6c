"""Small trainings of every method, run as one of several processes: prints terms and saves tensors."""

import dataclasses
import json
import sys
from pathlib import Path

import torch

from unbraid.core.catalog import catalog
from unbraid.core.config import override
from unbraid.core.method import Optim
from unbraid.testing.made import tiny_config, tiny_data
from unbraid.training.build import build, stand_in
from unbraid.training.checkpoints import save_tensors
from unbraid.training.fit import fit
from unbraid.training.world import processes


def tame(config):
    """Options with which rounding stays rounding: where a gradient is only that, Adam makes a whole step of it."""
    optims = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    optims = {name: value for name, value in optims.items() if isinstance(value, Optim)}
    tamed = {f"{name}.lr": min(value.lr, 1e-3) for name, value in optims.items()}
    return tamed | {f"{name}.eps": 1e-3 for name in optims} | ({"dropout": 0.0} if hasattr(config, "dropout") else {})


def main(out):
    torch.set_num_threads(1)
    terms = {}
    with processes(torch.device("cpu")) as world:
        for name, entry in catalog().items():
            cls = entry.load()
            config, data = tiny_config(cls, entry.overrides), tiny_data(cls)
            config = override(config, {"steps": 5}) if hasattr(config, "steps") else config
            config = override(config, tame(config))
            method = build(cls, config, data.fields, given=stand_in(cls, data, 0))
            terms[name] = [line["terms"] for line in fit(method, data, seed=1)]
            if world.rank == 0:
                save_tensors(out / name, method.tensors())
        if world.rank == 0:
            print(json.dumps(terms))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
