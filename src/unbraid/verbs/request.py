"""What a user asked for, and the method and data that it means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.catalog import find
from unbraid.core.errors import ConfigError, RunError
from unbraid.training.runs import Run

if TYPE_CHECKING:
    import torch

    from unbraid.core.method import Method
    from unbraid.data.dataset import Dataset

DEFAULT_METHOD = "ada-gvae"
DEFAULT_DATA = "sprites"


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
        pattern: What the names of files in a folder tell, such as "{digit}_{speaker}_{take}", or None.
        device: "cpu", "cuda", "mps", or "auto" for the first of cuda, mps and cpu that is here.
        precision: "fp32" or "bf16".
        compile: Whether the networks go through `torch.compile`.
        threads: Processor threads; 0 chooses (see `threads_for`).
        track: Where the series goes besides `series.jsonl`: any of "tensorboard", "mlflow", "wandb".
        role: Batch field (label, group, domain, instance) -> the factor that fills it.
        given: Port -> where its network comes from (see `giving.hand_over`).
        start: A run whose weights training starts from, or None.
        audit: Whether to audit, steer and report at the end.
        metrics: Scores of that audit, separated by commas, "all" or "none"; the usual ones where None.
    """

    method: str = DEFAULT_METHOD
    data: str = DEFAULT_DATA
    preset: str = "quick"
    set: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    size: int | None = None
    factors: str | None = None
    pattern: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    compile: bool = False
    threads: int = 0
    track: Sequence[str] = ()
    role: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    audit: bool = True
    metrics: str | None = None


def asked_for(run: Run) -> Request:
    """What a run was asked for.

    Raises:
        RunError: Its `run.json` does not say.
    """
    try:
        return Request(**run.facts["request"])
    except (KeyError, TypeError):
        raise RunError("a run.json that says what was asked for", got="another one", where=str(run.folder)) from None


def located(request: Request) -> Request:
    """The request with paths made absolute, so that the data of a run are found from any folder."""
    paths: dict[str, Any] = {n: _absolute(n, getattr(request, n)) for n in ("data", "factors", "start")}
    given = {port: str(_absolute("given", source)) for port, source in request.given.items()}
    return replace(request, **paths, given=given)


def _absolute(name: str, value: str | None) -> str | None:
    from unbraid.data.catalog import KINDS, sources

    if value is None or (name == "data" and value.partition(":")[0] in {s.name for s in sources()}):
        return value
    kind, _, rest = value.partition(":") if name == "data" and value.partition(":")[0] in KINDS else ("", "", value)
    path, comma, options = rest.partition(",") if kind else (rest, "", "")
    if not path or not Path(path).exists():
        return value
    return f"{kind}:{Path(path).resolve()}{comma}{options}" if kind else str(Path(path).resolve())


@dataclass(frozen=True)
class Made:
    """What a request means.

    Attributes:
        method: As built, on the CPU.
        data: With the fields that the method needs.
        given: Port -> where its network came from.
    """

    method: Method[Any]
    data: Dataset
    given: Mapping[str, Mapping[str, str]]


def make(request: Request, facts: Mapping[str, Any] | None = None) -> Made:
    """The method and data of a request.

    Args:
        request: What was asked for.
        facts: What `run.json` says of an earlier start: its config wins, because presets may change between versions,
            and its networks must be the same.
    """
    from unbraid.core.config import from_json
    from unbraid.data.catalog import open_data
    from unbraid.data.wrapped import in_roles
    from unbraid.training.build import build
    from unbraid.verbs.giving import hand_over

    if request.precision not in ("fp32", "bf16"):
        raise ConfigError("one of fp32, bf16", got=f"'{request.precision}'", where="--precision")
    cls = find(request.method).load()
    recorded = facts or {}
    config = from_json(cls.Config, recorded["config"]) if "config" in recorded else config_of(request)
    factors = Path(request.factors) if request.factors else None
    opened = open_data(request.data, size=request.size, factors=factors, pattern=request.pattern)
    data = in_roles(opened, cls.card.needs, request.role, cls.card.wants, cls.card.partly)
    handed = hand_over(cls, request.given, data, request.seed, recorded.get("given"))
    method = build(cls, config, data.fields, request.seed, handed.networks)
    if request.start:
        start_from(method, Path(request.start))
    return Made(method, data, handed.sources)


def config_of(request: Request) -> Any:
    """The options of a method: of the preset, of the alias, then those that were asked for.

    Raises:
        ConfigError: No such method, preset or option.
    """
    from unbraid.core.config import override

    entry = find(request.method)
    cls = entry.load()
    presets: dict[str, Mapping[str, Any]] = {"paper": {}, **cls.presets}
    if request.preset not in presets:
        raise ConfigError("one of " + ", ".join(presets), got=f"'{request.preset}'", where="--preset")
    config = cls.Config()
    for changes in (presets[request.preset], entry.overrides, request.set):
        config = override(config, changes)
    return config


def start_from(method: Method[Any], folder: Path) -> None:
    from unbraid.training.checkpoints import load_tensors

    Run(folder)
    path = folder / "model.safetensors"
    if not path.exists():
        fix = f"finish it with --resume {folder}"
        raise RunError("a run that has finished training", got="no model.safetensors", fix=fix, where=str(folder))
    method.load_tensors(load_tensors(path))
    method.refresh()


def device_for(name: str) -> torch.device:
    """The device of a name; "auto" is the first accelerator there is.

    Raises:
        ConfigError: No such device here.
    """
    import torch

    if name == "auto":
        return torch.device(next(kind for kind, here in _here().items() if here))
    kind = name.partition(":")[0]
    if kind not in _here():
        raise ConfigError("one of auto, cuda, mps, cpu", got=f"'{name}'", where="--device")
    if not _here()[kind]:
        raise ConfigError("a device that is here", got=f"'{name}'", fix="use --device cpu", where="--device")
    return torch.device(name)


def _here() -> dict[str, bool]:
    """Kinds of devices, the most able first, and whether there is one."""
    import torch

    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}


def reproduce(request: Request) -> str:
    """The command that makes the same run again.

    >>> reproduce(Request(method="qlae", seed=3, set={"steps": "300"}))
    'unbraid train qlae --data sprites --preset quick --seed 3 --set steps=300'
    """
    words = ["unbraid train", request.method, "--data", _quoted(request.data), "--preset", request.preset]
    words += ["--seed", str(request.seed)]
    for name, value in request.set.items():
        text = json.dumps(list(value)) if isinstance(value, list | tuple) else value  # values may hold commas
        words += ["--set", _quoted(f"{name}={text}")]
    for name in ("size", "factors", "pattern", "start", "metrics"):
        if (value := getattr(request, name)) is not None:
            words += [f"--{name}", _quoted(str(value))]
    words += [word for role, factor in request.role.items() for word in ("--role", _quoted(f"{role}={factor}"))]
    words += [word for port, source in request.given.items() for word in ("--given", _quoted(f"{port}={source}"))]
    words += ["--precision", request.precision] if request.precision != "fp32" else []
    words += ["--compile"] if request.compile else []
    return " ".join(words)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./:=,+-]+", text) else "'" + text.replace("'", "'\\''") + "'"
