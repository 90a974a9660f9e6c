"""A small training, run as one of several processes: prints its terms and saves its tensors."""

import json
import sys
from pathlib import Path

import torch

from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.testing.made import tiny_images, tiny_vectors
from unbraid.training.build import build
from unbraid.training.checkpoints import save_tensors
from unbraid.training.fit import fit
from unbraid.training.world import processes

name, kind, out = sys.argv[1:]
torch.set_num_threads(1)
data = tiny_images() if kind == "images" else tiny_vectors()
entry = find(name)
cls = entry.load()
config = override(override(override(cls.Config(), entry.overrides), cls.presets["tiny"]), {"steps": 5})
with processes(torch.device("cpu")) as world:
    method = build(cls, config, data.fields)
    lines = fit(method, data, seed=1)
    if world.rank == 0:
        save_tensors(Path(out), method.tensors())
        print(json.dumps([line["terms"] for line in lines]))
