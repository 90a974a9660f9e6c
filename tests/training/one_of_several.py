"""Small trainings of every method, run as one of several processes: prints terms and saves tensors."""

import json
import sys
from pathlib import Path

import torch

from unbraid.core.catalog import catalog
from unbraid.core.config import override
from unbraid.testing.made import tiny_vectors
from unbraid.training.build import build
from unbraid.training.checkpoints import save_tensors
from unbraid.training.fit import fit
from unbraid.training.world import processes


def main(out):
    torch.set_num_threads(1)
    data, terms = tiny_vectors(), {}
    with processes(torch.device("cpu")) as world:
        for name, entry in catalog().items():
            cls = entry.load()
            config = override(cls.Config(), {**cls.presets["tiny"], **entry.overrides, "steps": 5})
            method = build(cls, config, data.fields)
            terms[name] = [line["terms"] for line in fit(method, data, seed=1)]
            if world.rank == 0:
                save_tensors(out / name, method.tensors())
        if world.rank == 0:
            print(json.dumps(terms))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
