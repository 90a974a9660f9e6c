"""Train: learn the parts, then document what was learnt; go on where a run was stopped."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.catalog import find
from unbraid.core.errors import ConfigError, RunError, UnbraidError
from unbraid.training.files import write_with
from unbraid.training.progress import Progress, Silent
from unbraid.training.runs import Run, Series
from unbraid.training.signals import InterruptedRunError
from unbraid.training.sinks import Track, open_sinks
from unbraid.verbs.auditing import document
from unbraid.verbs.request import Request, asked_for, device_for, located, make, reproduce

if TYPE_CHECKING:
    import torch

    from unbraid.audit import Audit
    from unbraid.core.method import Method
    from unbraid.data.dataset import Dataset


def train(request: Request | None = None, out: Path | None = None, progress: Progress | None = None) -> Path:
    """Train a method; unless told not to, audit it, steer it and write `report.html`.

    Args:
        request: What to train; the default method on the default data where None.
        out: The run folder; a new one under `runs/` where None.
        progress: Who is told how far it is.

    Returns:
        The run folder.

    Raises:
        UnbraidError: An option, the data or the folder is wrong; the folder is gone again.
        NumericsError: The loss is no longer finite; the last good checkpoint stands.
        InterruptedRunError: SIGINT or SIGTERM; the run was saved and can be resumed.
    """
    request = request or Request()
    find(request.method)
    if _rank():
        return _follow(request, out)
    folder = out or _new_folder(request)
    missing = [p for p in folder.absolute().parents if not p.exists()]
    run = Run.create(folder, asdict(request))
    try:
        _go(run, request, progress or Silent())
    except UnbraidError:
        if run.status == "starting":
            shutil.rmtree(folder, ignore_errors=True)
            for parent in missing:
                parent.rmdir()
        raise
    return folder


def resume(folder: Path, asked: Mapping[str, Any] | None = None, progress: Progress | None = None) -> list[str]:
    """Go on with a run that was stopped; ends in the bits of one that was not.

    Args:
        folder: The run folder.
        asked: Options given again; they must be those of the run, all but `threads` and `track`, which hold for now.
        progress: Who is told how far it is.

    Returns:
        What differs from the first start without forbidding to go on.

    Raises:
        RunError: The folder is no run, or an option, the data or the program differ; names which.
    """
    run = Run(folder)
    request = asked_for(run)
    asked = dict(asked or {})
    request = replace(request, **{name: asked.pop(name) for name in ("threads", "track") if name in asked})
    again = located(replace(request, **{k: v for k, v in asked.items() if k != "set"}))
    for name, value in asked.items():
        was = getattr(request, name) if name != "set" else {k: request.set.get(k) for k in value}
        if was != (value if name == "set" else getattr(again, name)):
            fix = f"leave it out, or begin a new run from these weights with --start {folder}"
            raise RunError(f"{name} {was!r} as recorded", got=repr(value), fix=fix, where=str(folder))
    if _rank():
        return _train(run, request, Silent()) if run.status in ("starting", "training") else []
    return _go(run, request, progress or Silent())


def _rank() -> int:
    """Which of the processes that `torchrun` started this is."""
    return int(os.environ.get("RANK", "0"))


def _go(run: Run, request: Request, progress: Progress) -> list[str]:
    """Do what is still to be done of a run."""
    said: list[str] = []
    if run.status == "done":
        return said
    with _tracking(request) as track:
        if run.status in ("starting", "training"):
            said = _train(run, request, progress, track)
        else:
            track.begin(run.folder, run.facts, Series(run.folder / "series.jsonl").read())
        if request.audit:
            track.summary |= _headline(document(run.folder, progress))
    run.update(status="done")
    return said


@contextmanager
def _tracking(request: Request) -> Iterator[Track]:
    """The sinks of a run, told at the end how it went."""
    track = Track(open_sinks(request.track))
    try:
        yield track
    except Exception as error:
        track.end("stopped" if isinstance(error, InterruptedRunError) else "failed")
        raise
    track.end("done")


def _headline(found: Audit | None) -> dict[str, float]:
    """The scores of each part by "audit/part/score"."""
    named = [(part, score) for part, those in (found.scores if found else {}).items() for score in those]
    return {f"audit/{part}/{score.name}": score.value for part, score in named if score.value is not None}


def _train(run: Run, request: Request, progress: Progress, track: Track | None = None) -> list[str]:
    import torch

    from unbraid.training.compiled import check_compiler
    from unbraid.training.fit import fit

    device = device_for(request.device)
    request = located(request)
    made = make(request, run.facts)
    method, data = made.method, made.data
    torch.set_num_threads(request.threads or run.facts.get("threads") or threads_for(method))
    if request.compile:
        check_compiler(device)
    began = time.monotonic()
    facts = {**_facts(request, method, data, device), **({"given": made.given} if made.given else {})}
    first = _rank() == 0
    said = run.begin({**facts, "request": asdict(request)}) if first else []
    fit(
        method,
        data,
        seed=request.seed,
        device=device,
        precision="bf16" if request.precision == "bf16" else "fp32",
        run=run,
        progress=progress,
        compile=request.compile,
        track=track,
    )
    if first:
        from unbraid.training.checkpoints import save_tensors

        write_with(run.folder / "model.safetensors", lambda path: save_tensors(path, exported(method)))
        run.update(status="trained", seconds=round(run.facts.get("seconds", 0) + time.monotonic() - began, 1))
    return said


def threads_for(method: Method[Any]) -> int:
    """One thread for perceptrons, whose steps are too short to share; as many as torch likes for convolutions.

    The number is recorded, and a resumed run takes it over, because bits depend on it.
    """
    import torch
    from torch.nn.modules.conv import _ConvNd

    return torch.get_num_threads() if any(isinstance(m, _ConvNd) for m in method.modules()) else 1


def _follow(request: Request, out: Path | None) -> Path:
    """What every process but the first does under `torchrun`: train, and leave files to the first."""
    if out is None:
        raise ConfigError("--out with several processes", got="none", fix="name a new folder")
    deadline = time.monotonic() + 60
    while not (out / "run.json").exists():
        if time.monotonic() > deadline:
            raise RunError("the run folder of the first process", got=f"none after a minute in process {_rank()}")
        time.sleep(0.1)
    _train(Run(out), request, Silent())
    return out


def _facts(request: Request, method: Method[Any], data: Dataset, device: torch.device) -> dict[str, Any]:
    from importlib import metadata
    from importlib.util import find_spec

    import numpy
    import torch

    from unbraid._version import __version__
    from unbraid.core.config import to_json

    versions = {"unbraid": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
    versions["numba"] = metadata.version("numba") if find_spec("numba") else "none"  # its kernels round otherwise
    return {
        "method": request.method,
        "title": method.card.title,
        "summary": method.card.summary,
        "paper": method.card.paper,
        "seed": request.seed,
        "precision": request.precision,
        "config": to_json(method.config),
        "fields": data.fields.to_json(),
        "data": {"name": request.data, "hash": data.hash, "items": len(data)},
        "schema": schema(method),
        "versions": {**versions, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "device": device.type,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "command": reproduce(request),
        "notes": list(data.notes),
    }


def schema(method: Method[Any]) -> dict[str, list[int]]:
    """Tensor -> its shape, of all that hold anything."""
    return {name: list(t.shape) for name, t in method.tensors().items() if t.numel()}


def exported(method: Method[Any]) -> dict[str, torch.Tensor]:
    """The tensors that a user needs: all but the scaffold of training."""
    scaffold = tuple(f"{name}." for name in method.scaffold)
    return {name: t for name, t in method.tensors().items() if not name.startswith(scaffold or ("\0",))}


def _new_folder(request: Request) -> Path:
    data = re.sub(r"[^\w.-]+", "-", Path(request.data.partition(":")[0]).name or "data")
    stem = f"{request.method}-{data}-s{request.seed}"
    names = (stem if i == 1 else f"{stem}-{i}" for i in range(1, 10_000))
    return next(folder for name in names if not (folder := Path("runs") / name).exists())
