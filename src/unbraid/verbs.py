"""The verbs as whole jobs: train -> audit -> steer -> report, and what the command line calls."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.catalog import find
from unbraid.core.errors import ConfigError, RunError, UnbraidError
from unbraid.training.files import write_with
from unbraid.training.progress import Progress, Silent
from unbraid.training.runs import Run

if TYPE_CHECKING:
    import numpy as np
    import torch

    from unbraid.audit import Audit
    from unbraid.core.method import Infers, Method
    from unbraid.core.parts import Parts
    from unbraid.data.dataset import Dataset
    from unbraid.steer.edit import Grid

DEFAULT_METHOD = "ada-gvae"
DEFAULT_DATA = "sprites"
AUDITED = 5000
"""Items that an audit looks at, unless told otherwise."""

PICTURES = {
    "reconstructions.png": "Items of the data above, what the method makes of their codes below.",
    "traversals.png": "Each row moves one code through the range the data use, all else kept.",
    "traversals.gif": "The same as an animation.",
}


@dataclass(frozen=True)
class Request:
    """What a user asked `train` for; written to the run folder before anything heavy happens.

    Attributes:
        method: A name of the catalog.
        data: What `open_data` takes.
        preset: A preset of the method, or "paper" for its defaults.
        set: Options that differ from the preset, by dotted name.
        seed: Of everything drawn.
        size: Side that images are brought to, or None.
        factors: A file with factors, or None.
        device: "cpu", "cuda", or "auto".
        precision: "fp32" or "bf16".
        start: A run whose weights training starts from, or None.
        audit: Whether to audit, steer and report at the end.
    """

    method: str = DEFAULT_METHOD
    data: str = DEFAULT_DATA
    preset: str = "quick"
    set: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    size: int | None = None
    factors: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    start: str | None = None
    audit: bool = True


# ------------------------------------------------------------------------------------------------------------ train


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
    request = replace(request, **{name: whole(name, getattr(request, name)) for name in ("data", "factors", "start")})
    find(request.method)
    if rank := int(os.environ.get("RANK", "0")):
        return _follow(request, out, rank)
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
        asked: Options given again; they must be those of the run.
        progress: Who is told how far it is.

    Returns:
        What differs from the first start without forbidding to go on.

    Raises:
        RunError: The folder is no run, or an option, the data or the program differ; names which.
    """
    run = Run(folder)
    request = asked_for(run)
    for name, value in (asked or {}).items():
        was = getattr(request, name) if name != "set" else {k: request.set.get(k) for k in value}
        if was != whole(name, value):
            fix = f"leave it out, or begin a new run from these weights with --start {folder}"
            raise RunError(f"{name} {was!r} as recorded", got=repr(value), fix=fix, where=str(folder))
    return _go(run, request, progress or Silent())


def asked_for(run: Run) -> Request:
    """What a run was asked for.

    Raises:
        RunError: Its `run.json` does not say.
    """
    try:
        return Request(**run.facts["request"])
    except (KeyError, TypeError):
        raise RunError("a run.json that says what was asked for", got="another one", where=str(run.folder)) from None


def whole(name: str, value: Any) -> Any:
    """An option, with a path that exists made absolute, so that a run is found from any folder."""
    is_path = name in ("data", "factors", "start") and isinstance(value, str)
    return str(Path(value).resolve()) if is_path and Path(value).exists() else value


def _go(run: Run, request: Request, progress: Progress) -> list[str]:
    """Do what is still to be done of a run."""
    said: list[str] = []
    if run.status in ("starting", "training"):
        said = _train(run, request, progress)
    if request.audit and run.status != "done":
        document(run.folder, progress=progress)
    if run.status != "done":
        run.update(status="done")
    return said


def _train(run: Run, request: Request, progress: Progress) -> list[str]:
    import torch

    from unbraid.training.fit import fit

    device = device_for(request.device)
    method, data = _make(request, run.facts.get("config"))
    began = time.monotonic()
    facts = _facts(request, method, data, device)
    said = run.begin(facts) if int(os.environ.get("RANK", "0")) == 0 else []
    fit(
        method,
        data,
        seed=request.seed,
        device=device,
        precision="bf16" if request.precision == "bf16" else "fp32",
        run=run,
        progress=progress,
    )
    if int(os.environ.get("RANK", "0")) == 0:
        from unbraid.training.checkpoints import save_tensors

        write_with(run.folder / "model.safetensors", lambda path: save_tensors(path, exported(method)))
        run.update(status="trained", seconds=round(run.facts.get("seconds", 0) + time.monotonic() - began, 1))
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return said


def _follow(request: Request, out: Path | None, rank: int) -> Path:
    """What every process but the first does under `torchrun`: train, and leave files to the first."""
    if out is None:
        raise ConfigError("--out with several processes", got="none", fix="name a new folder")
    deadline = time.monotonic() + 60
    while not (out / "run.json").exists():
        if time.monotonic() > deadline:
            raise RunError("the run folder of the first process", got=f"none after a minute in process {rank}")
        time.sleep(0.1)
    _train(Run(out), request, Silent())
    return out


def _make(request: Request, recorded: Mapping[str, Any] | None = None) -> tuple[Method[Any], Dataset]:
    """The method and data of a request; a run's recorded config wins, because presets may change between versions."""
    from unbraid.core.config import from_json, override
    from unbraid.data.catalog import open_data
    from unbraid.training.build import build

    if request.precision not in ("fp32", "bf16"):
        raise ConfigError("one of fp32, bf16", got=f"'{request.precision}'", where="--precision")
    entry = find(request.method)
    cls = entry.load()
    presets: dict[str, Mapping[str, Any]] = {"paper": {}, **cls.presets}
    if request.preset not in presets:
        raise ConfigError("one of " + ", ".join(presets), got=f"'{request.preset}'", where="--preset")
    config = cls.Config()
    for changes in (presets[request.preset], entry.overrides, request.set):
        config = override(config, changes)
    config = config if recorded is None else from_json(cls.Config, recorded)
    factors = Path(request.factors) if request.factors else None
    data = open_data(request.data, size=request.size, factors=factors)
    method = build(cls, config, data.fields, request.seed)
    if request.start:
        _start_from(method, Path(request.start))
    return method, data


def _start_from(method: Method[Any], folder: Path) -> None:
    from unbraid.training.checkpoints import load_tensors

    Run(folder)
    path = folder / "model.safetensors"
    if not path.exists():
        fix = f"finish it with --resume {folder}"
        raise RunError("a run that has finished training", got="no model.safetensors", fix=fix, where=str(folder))
    method.load_tensors(load_tensors(path))


def _facts(request: Request, method: Method[Any], data: Dataset, device: torch.device) -> dict[str, Any]:
    import numpy
    import torch

    from unbraid._version import __version__
    from unbraid.core.config import to_json

    versions = {"unbraid": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
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
        "schema": {name: list(t.shape) for name, t in method.tensors().items() if t.numel()},
        "versions": {**versions, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "device": device.type,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "command": reproduce(request),
        "notes": list(data.notes),
    }


def exported(method: Method[Any]) -> dict[str, torch.Tensor]:
    """The tensors that a user needs: all but the scaffold of training."""
    scaffold = tuple(f"{name}." for name in method.scaffold)
    return {name: t for name, t in method.tensors().items() if not name.startswith(scaffold or ("\0",))}


def reproduce(request: Request) -> str:
    """The command that makes the same run again.

    >>> reproduce(Request(method="qlae", seed=3, set={"steps": "300"}))
    'unbraid train qlae --data sprites --preset quick --seed 3 --set steps=300'
    """
    words = ["unbraid train", request.method, "--data", _quoted(request.data), "--preset", request.preset]
    words += ["--seed", str(request.seed)]
    for name, value in request.set.items():
        words += ["--set", _quoted(f"{name}={value}")]
    for name in ("size", "factors", "start"):
        if (value := getattr(request, name)) is not None:
            words += [f"--{name}", _quoted(str(value))]
    words += ["--precision", request.precision] if request.precision != "fp32" else []
    return " ".join(words)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./:=,+-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _new_folder(request: Request) -> Path:
    data = re.sub(r"[^\w.-]+", "-", Path(request.data.partition(":")[0]).name or "data")
    stem = f"{request.method}-{data}-s{request.seed}"
    names = (stem if i == 1 else f"{stem}-{i}" for i in range(1, 10_000))
    return next(folder for name in names if not (folder := Path("runs") / name).exists())


def device_for(name: str) -> torch.device:
    """The device of a name; "auto" is the first accelerator there is.

    Raises:
        ConfigError: No such device here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigError("one of auto, cpu, cuda", got=f"'{name}'", where="--device")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("a device that is here", got=f"'{name}'", fix="use --device cpu", where="--device")
    return torch.device(name)


# ----------------------------------------------------------------------------------------------- a finished run


@dataclass(frozen=True)
class Trained:
    """A trained method with the data it was trained on.

    Attributes:
        method: In eval mode, on the CPU.
        data: The data set.
        run: Its folder and facts.
    """

    method: Method[Any]
    data: Dataset
    run: Run

    def sample(self, count: int) -> torch.Tensor:
        """Positions (n,) of at most `count` items, drawn without repetition by the run's seed."""
        import torch

        from unbraid.data.order import key_of, shuffled

        n = min(count, len(self.data))
        return shuffled(len(self.data), key_of(int(self.run.facts["seed"]), "audit"), torch.arange(n))

    def encode(self, indices: torch.Tensor, data: Dataset | None = None) -> Parts:
        """The parts of some items, of this run's data or of others."""
        return encode(self.method, data or self.data, indices)


def load(folder: Path | str) -> Trained:
    """A finished run.

    Raises:
        RunError: The folder is no run, or training is not finished.
        DataError: Its data are not where they were.
    """
    run = Run(Path(folder))
    request = asked_for(run)
    if not (run.folder / "model.safetensors").exists():
        fix = f"go on with `unbraid train --resume {folder}`"
        raise RunError("a run that has finished training", got=f"status '{run.status}'", fix=fix, where=str(folder))
    method, data = _make(replace(request, start=None), run.facts.get("config"))
    _start_from(method, run.folder)
    return Trained(method.eval(), data, run)


def encode(method: Method[Any], data: Dataset, indices: torch.Tensor, batch: int = 512) -> Parts:
    """The parts of some items of a data set, on the CPU."""
    import torch

    from unbraid.core.parts import Parts
    from unbraid.data.loader import batches

    device = next((t.device for t in method.tensors().values()), torch.device("cpu"))
    with torch.no_grad():
        drawn = batches(data, torch.split(indices, batch), device)
        return Parts.cat([method.encode(b).detach().to("cpu") for _, b in drawn])


# ------------------------------------------------------------------------------------------ audit, pictures, report


def document(folder: Path, *, samples: int = AUDITED, progress: Progress | None = None, **options: Any) -> Audit | None:
    """Audit a run, make its pictures, and write its report.

    Args:
        folder: A run that has finished training.
        samples: Items to audit.
        progress: Who is told.
        options: Passed on to `unbraid.audit.audit`: group, carries, free_of, roles, metrics.

    Returns:
        The audit, or None when the data have no factors.
    """
    trained = load(folder)
    found = audit_run(trained, samples=samples, progress=progress, **options) if trained.data.factors else None
    if found is not None:
        found.save(folder / "audit.json")
    pictures(trained, found)
    from unbraid.report import write_report

    write_report(folder)
    return found


def audit_run(trained: Trained, *, samples: int = AUDITED, progress: Progress | None = None, **options: Any) -> Audit:
    """Which part of a run knows which factor (see `unbraid.audit.audit`).

    Raises:
        ConfigError: The data have no factors.
    """
    from unbraid.audit import audit
    from unbraid.core.method import Infers

    if not trained.data.factors:
        fix = "give some with --factors FILE when training"
        raise ConfigError("data with factors", got=f"none in {trained.data.name}", fix=fix)
    indices = trained.sample(samples)
    posterior = posterior_of(trained.method, trained.data, indices) if isinstance(trained.method, Infers) else None
    return audit(
        trained.encode(indices),
        trained.data.table(indices),
        specs=trained.method.parts(),
        posterior=posterior,
        seed=int(trained.run.facts["seed"]),
        progress=told(progress) if progress else None,
        **options,
    )


def posterior_of(method: Infers, data: Dataset, indices: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Means and log variances (N, D) of the first part that has a posterior."""
    import torch

    with torch.no_grad():
        pairs = [method.posterior(data.take(i)) for i in torch.split(indices, 512)]
    name = next(iter(pairs[0][0]))
    mu, logvar = (torch.cat([pair[which].matrix(name) for pair in pairs]).numpy() for which in (0, 1))
    return mu, logvar


def told(progress: Progress) -> Callable[[str, float], None]:
    """A progress as the audit wants to be heard: what it does, and the share that is done."""
    begun = False

    def tell(_what: str, share: float) -> None:
        nonlocal begun
        if not begun:
            progress.begin("audit", 100)
            begun = True
        progress.advance(round(100 * share))
        if share >= 1:
            progress.end()

    return tell


Arrays = dict[str, "np.ndarray"]


def audit_file(
    path: Path, factors: Path | None, cut: Callable[[Arrays], Arrays] | None = None, **options: Any
) -> Audit:
    """Audit plain codes in a file, against the factors in it or in another (see `read_codes`, `read_factors`).

    Args:
        path: The codes.
        factors: The file with factors, or None.
        cut: Makes other parts of those in the file.
        options: Passed on to `unbraid.audit.audit`.

    Raises:
        DataError: A file cannot be read, or the rows do not match.
        ConfigError: There are no factors.
    """
    from unbraid.audit import audit
    from unbraid.data.codes import read_codes, read_factors

    codes = read_codes(path)
    table = codes.factors if factors is None else codes.factors.joined(read_factors(factors, codes.ids, len(codes)))
    if not table.factors:
        raise ConfigError("factors to audit against", got="none", fix="give some with --factors FILE", where=str(path))
    return audit(cut(codes.parts) if cut else codes.parts, table, **options)


def pictures(trained: Trained, found: Audit | None, *, items: int = 10, rows: int = 12) -> list[Path]:
    """Reconstructions and traversals of a run that decodes, into its folder `pictures`."""
    from unbraid.core.method import Decodes
    from unbraid.steer import pictures as paint
    from unbraid.steer.edit import traverse

    method, data = trained.method, trained.data
    if not isinstance(method, Decodes):
        return []
    folder = trained.run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    codes = trained.encode(trained.sample(2000))
    import torch

    with torch.no_grad():
        decoded = method.decode(codes.rows(slice(items)))
    x = data.take(trained.sample(items))["x"]
    unit = data.fields["x"].unit
    made = [paint.write_reconstructions(folder / "reconstructions.png", x, decoded, unit=unit)]
    tracks = tracked(found)
    grid = traverse(method, codes.rows(slice(1)), codes)
    made.append(paint.write_png(folder / "traversals.png", grid, tracks, rows=rows))
    moving = traverse(method, codes.rows(slice(1)), codes, steps=16)
    made.append(paint.write_gif(folder / "traversals.gif", moving, tracks, rows=rows))
    return made


def tracked(found: Audit | None, floor: float = 0.1) -> dict[str, str]:
    """Column -> the factor that it knows best, where it knows at least a share `floor` of its entropy."""
    best: dict[str, tuple[float, str]] = {}
    for row in found.rows if found else ():
        if row.column is None or row.share is None or row.share < floor:
            continue
        name = f"{row.part}[{row.column}]"
        best[name] = max(best.get(name, (0.0, "")), (row.share, row.factor))
    return {name: factor for name, (_, factor) in best.items()}


def steer(
    folder: Path, verb: str, parts: Sequence[str], items: Sequence[int], out: Path | None, **options: Any
) -> Path:
    """Steer items of a run's data and write pictures and arrays.

    Args:
        folder: The run.
        verb: "traverse", "interpolate", "swap" or "replace".
        parts: Parts or columns to steer; all columns of the families where empty, for a traverse.
        items: Positions in the data set.
        out: A `.png`, `.gif` or `.npz` file; one in the run's `pictures` where None.
        options: steps, beyond, value.

    Returns:
        The file written.
    """
    trained = load(folder)
    grid = _grid(trained, verb, parts, items, options)
    path = out or _free(folder / "pictures", verb)
    if path.suffix not in (".png", ".gif", ".npz"):
        raise ConfigError("a file ending in .png, .gif or .npz", got=f"'{path.name}'", where="--out")
    from unbraid.audit import Audit
    from unbraid.steer import pictures as paint

    known = folder / "audit.json"
    tracks = tracked(Audit.from_json(known.read_text(encoding="utf-8")) if known.exists() else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        return paint.write_npz(path, grid)
    return paint.write_png(path, grid, tracks) if path.suffix == ".png" else paint.write_gif(path, grid, tracks)


def _grid(trained: Trained, verb: str, parts: Sequence[str], items: Sequence[int], options: Mapping[str, Any]) -> Grid:
    import torch

    from unbraid.steer import edit

    needed = 2 if verb in ("interpolate", "swap") else 1
    if len(items) != needed:
        raise ConfigError(f"{needed} item{'s' * (needed - 1)} for {verb}", got=str(len(items)), fix="name positions")
    for item in items:
        if not 0 <= item < len(trained.data):
            raise ConfigError(f"items 0..{len(trained.data) - 1}", got=str(item))
    if verb != "traverse" and not parts:
        known = ", ".join(s.name for s in trained.method.parts())
        raise ConfigError("--part", got="none", fix=f"name a part or a column of {known}")
    codes = trained.encode(trained.sample(2000))
    chosen = [trained.encode(torch.tensor([i])) for i in items]
    steps = {"steps": options["steps"]} if options.get("steps") else {}
    beyond = float(options.get("beyond") or 0.0)
    if verb == "traverse":
        return edit.traverse(trained.method, chosen[0], codes, list(parts) or None, beyond=beyond, **steps)
    if verb == "interpolate":
        return edit.interpolate(trained.method, chosen[0], chosen[1], list(parts), codes=codes, **steps)
    if verb == "swap":
        return edit.swap(trained.method, chosen[0], chosen[1], list(parts))
    if options.get("value") is None:
        raise ConfigError("--value for replace", got="none")
    return edit.replace(trained.method, chosen[0], parts[0], float(options["value"]), codes, beyond=beyond)


def _free(folder: Path, stem: str) -> Path:
    names = (f"{stem}.png" if i == 1 else f"{stem}-{i}.png" for i in range(1, 10_000))
    return next(path for name in names if not (path := folder / name).exists())


# ------------------------------------------------------------------------------------------------------------ embed


def embed(folder: Path, data: str, out: Path, *, size: int | None = None, limit: int | None = None) -> Path:
    """Write the parts of a data set, with ids and known factors.

    Args:
        folder: A finished run.
        data: What `open_data` takes; must have the fields of the run's data.
        out: A `.npz`, `.csv` or `.parquet` file.
        size: Side that images are brought to; the run's own where None.
        limit: Most items.

    Returns:
        `out`.
    """
    import torch

    from unbraid.core.errors import DataError
    from unbraid.data.catalog import open_data
    from unbraid.data.codes import write_codes

    if out.suffix not in (".npz", ".csv", ".parquet"):
        raise ConfigError("a file ending in .npz, .csv or .parquet", got=f"'{out.name}'", where="--out")
    trained = load(folder)
    wanted = trained.data.fields["x"]
    own = size if size is not None else trained.run.facts["request"].get("size")
    source = open_data(data, size=own)
    if source.fields["x"].shape != wanted.shape and size is None and len(wanted.shape) == 3:
        source = open_data(data, size=wanted.shape[1]) if ":" not in data else source
    if source.fields["x"] != wanted:
        got = f"{source.fields['x'].shape}"
        raise DataError(f"items of shape {wanted.shape} as in the run's data", got=got, where=f"--data {data}")
    indices = torch.arange(min(limit or len(source), len(source)))
    parts = trained.encode(indices, source)
    arrays = {name: parts.matrix(name).numpy() for name in parts}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_codes(out, arrays, source.ids(indices), source.table(indices))
    return out
