"""Stand-ins are trained once: the next process that asks for the same one finds its weights in the user's cache."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unbraid.core.given import Standin, weights_hash
from unbraid.data.dataset import Dataset
from unbraid.data.order import key_of
from unbraid.data.origin import held_out_of, origin_of
from unbraid.training.files import write_with

WORTH = 0.5
"""Seconds: what is made faster is made again instead of kept."""

_ROOMS = ("core", "ops", "data", "views", "nets", "losses", "metrics", "training", "standins")


def trained_once(standin: Standin, data: Any, seed: int) -> nn.Module:
    """What `standin.make(data, seed)` gives, trained now or found in the cache; in eval mode.

    It is found by its content: the class of the stand-in and its settings, the data and what they come from, the seed,
    the source text of everything it may call, the version of torch and the number of threads. A file that is damaged,
    a folder that cannot be written and a disk that is full only mean that it is trained again.
    """
    seed = 0 if getattr(standin, "seedless", False) else seed
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key_of(seed, "stand-in"))
        path = _place(standin, data, seed)
        found = None if path is None else _found(path, standin, data)
        if found is not None:
            return found
        began = time.monotonic()
        net = standin.make(data, seed).eval()
        if path is not None and time.monotonic() - began >= WORTH:
            _keep(path, net)
        return net


def cache_folder() -> Path | None:
    """`UNBRAID_CACHE`, or the folder `unbraid` in the user's cache; None where there is neither."""
    if named := os.environ.get("UNBRAID_CACHE"):
        return Path(named)
    general = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if general.is_absolute():
        return general / "unbraid"
    try:
        return Path.home() / ".cache" / "unbraid"
    except RuntimeError:  # a user without a home
        return None


def _place(standin: Standin, data: Any, seed: int) -> Path | None:
    """The file of a stand-in; None where there is no folder, or where it cannot be told from others."""
    folder, cls = cache_folder(), type(standin)
    code, settings = _code(cls.__module__), _settings(standin)
    if folder is None or code is None or settings is None or not isinstance(data, Dataset):
        return None
    kin = [source.hash for source in (origin_of(data), held_out_of(data)) if source is not None]
    facts = {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "settings": settings,
        "data": [data.hash, data.fields.to_json(), *kin],
        "seed": seed,
        "code": code,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    return folder / "stand-ins" / f"{cls.__name__}-{key}.safetensors"


def _settings(standin: Standin) -> str | None:
    """What tells a stand-in from others of its class; None where that is an address in memory."""
    if dataclasses.is_dataclass(standin):
        names = [f.name for f in dataclasses.fields(standin) if f.compare]
    else:
        names = sorted(vars(standin))
    text = repr([(name, getattr(standin, name)) for name in names])
    return None if " at 0x" in text else text


@functools.cache
def _code(module: str) -> str | None:
    """A hash of the source files that training a stand-in of this module may run; None where there are none."""
    ours = Path(__file__).parents[1]
    top = module.partition(".")[0]
    own = getattr(sys.modules.get(module), "__file__", None)
    there = own if top == ours.name else getattr(sys.modules.get(top), "__file__", None) or own
    if there is None:
        return None
    files = [path for room in _ROOMS for path in sorted((ours / room).rglob("*.py"))]
    package = Path(there).name == "__init__.py"
    files += sorted(Path(there).parent.rglob("*.py")) if package else [Path(there)]
    digest = hashlib.blake2b(digest_size=16)
    try:
        for path in files:
            digest.update(path.name.encode() + path.read_bytes())
    except OSError:
        return None
    return digest.hexdigest()


def _found(path: Path, standin: Standin, data: Dataset) -> nn.Module | None:
    """The network in a file, where it is there, whole, and of the stand-in's shape."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            told = (file.metadata() or {}).get("hash")
        net = standin.shape(data.fields)
        net.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, ValueError):
        return None
    return net.eval() if weights_hash(net) == told else None


def _keep(path: Path, net: nn.Module) -> None:
    """Write the weights of a network, if that can be done."""
    tensors = net.state_dict()
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        return
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_with(path, lambda temporary: save_file(whole, temporary, {"hash": weights_hash(net)}))
    except (OSError, SafetensorError):
        return
