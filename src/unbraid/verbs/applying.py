"""`unbraid apply RUN ACTION`: the typed actions of a method as commands."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from unbraid.core.errors import ConfigError, RunError
from unbraid.verbs.trained import Trained, load

if TYPE_CHECKING:
    from unbraid.core.action import Action, Parameter
    from unbraid.core.outcome import Findings
    from unbraid.data.dataset import Dataset

_FILES = {"Source": "DATA", "Sound": "FILE"}
"""Annotations that are given as text: what a data set is called, or where a recording lies."""

_ROWS = 12
"""Most rows of a table that are said."""

_KINDS = {"Findings": ".json", "Sound": ".wav", "Pictures": ".png", "Table": ".csv", "data": ".npz"}


def apply(folder: Path, arguments: Sequence[str]) -> list[str]:
    """Do what `unbraid apply RUN ARGUMENTS...` asks for.

    Args:
        folder: A finished run.
        arguments: The action and its options; none lists the actions.

    Returns:
        Lines for the terminal.

    Raises:
        ConfigError: No such action, or an option is wrong.
    """
    from unbraid.core.action import actions, find_action

    trained = load(folder)
    known = actions(type(trained.method))
    if not arguments or arguments[0] in ("-h", "--help"):
        name = trained.method.card.name
        listed = [f"  {a.name:<14} {a.summary}" for a in known.values()]
        return [f"actions of {name}:", *listed] if known else [f"{name} has no actions"]
    action = find_action(type(trained.method), arguments[0])
    return _run(trained, action, list(arguments[1:]), f"unbraid apply {folder}")


def _run(trained: Trained, action: Action, arguments: list[str], program: str) -> list[str]:
    """Read the options of an action as a command of its own, and do it.

    A wrong option ends as on any other command: usage on stderr and exit code 2.
    """
    import typer

    said: list[str] = []

    def call(**values: Any) -> None:
        said.extend(_call(trained, action, values, values.pop("out")))

    where = "The new run." if action.changes else "Where the result goes."
    out = typer.Option("--out", help=where, show_default=False)
    options = [*map(_option, action.parameters), _named("out", Annotated[Path | None, out], None)]
    call.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in options}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command(help=action.summary)(call)
    try:
        app(arguments, prog_name=f"{program} {action.name}")
    except SystemExit as stop:
        if stop.code:
            raise
    return said


def _option(parameter: Parameter) -> inspect.Parameter:
    import typer

    kind = _plain(parameter.type)
    named = getattr(kind, "__name__", "")
    kind = str if named in _FILES or (kind not in (int, float, bool, str, Path) and get_origin(kind) is None) else kind
    many = get_origin(kind) is tuple
    kind = list[str] if many else kind
    optional = parameter.default is None or many
    flag = f"--{parameter.name.replace('_', '-')}"
    flags = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    option = typer.Option(*flags, help=parameter.help, metavar=_FILES.get(named))
    default = inspect.Parameter.empty if parameter.required else (None if many else parameter.default)
    return _named(parameter.name, Annotated[kind | None if optional else kind, option], default)


def _named(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _plain(annotation: Any) -> Any:
    """The type itself of `T | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [a for a in get_args(annotation) if a is not type(None)]
        return kinds[0] if len(kinds) == 1 else str
    return annotation


def _call(trained: Trained, action: Action, values: dict[str, Any], out: Path | None) -> list[str]:
    if action.changes and out is None:
        raise ConfigError("--out with a new folder", got="none", fix=f"{action.name} changes the weights")
    read = {p.name: _read(trained, p, values[p.name]) for p in action.parameters}
    result = getattr(trained.method, action.function)(**read)
    if action.changes and out is not None:
        moved = None
        if trained.method.fields != trained.data.fields:
            moved = next(((values[n], d) for n, d in read.items() if _is_data(d) and values[n] is not None), None)
        saved = _save(trained, action, out, moved)
        return [*([] if result is None else _write(result, _kept(result, out, action), out, action)), saved]
    return [] if result is None else _write(result, out, trained.run.folder, action)


def _kept(result: Any, run: Path, action: Action) -> Path:
    """Where a changed run keeps what the change itself found."""
    return _free(run / "applied", action.name, _KINDS.get(type(result).__name__, _KINDS["data"]))


def _read(trained: Trained, parameter: Parameter, value: Any) -> Any:
    name = getattr(_plain(parameter.type), "__name__", "")
    if get_origin(_plain(parameter.type)) is tuple:
        return tuple(value or ())
    if value is None:
        if name == "Source" and not parameter.required:
            return trained.data
        return None
    if name == "Source":
        return _data(trained, value)
    if name == "Sound":
        from unbraid.data.readers.sounds import read_sound

        return read_sound(Path(value))
    return value


def _data(trained: Trained, spec: str) -> Any:
    """A data set by its spec, with the run's own roles and size; it may lack roles that training needed.

    For a method of waves a folder alone means the recordings in it, at the run's own rate.
    """
    from unbraid.core.errors import DataError
    from unbraid.data.catalog import open_data
    from unbraid.data.readers.waves import open_waves
    from unbraid.data.wrapped import ATTRIBUTES, ROLES, in_roles
    from unbraid.verbs.request import asked_for

    if trained.data.rate and Path(spec).is_dir():
        return open_waves(Path(spec), rate=trained.data.rate)
    request = asked_for(trained.run)
    data = open_data(spec, size=request.size, pattern=request.pattern)
    names = {f.name for f in data.factors}
    present = {role: f for role, f in request.role.items() if f in names or {*f.split(",")} <= names}
    card = trained.method.card
    needs = []
    for field in card.needs:
        try:
            in_roles(data, [field], present, partly=card.partly)
        except DataError:
            if field not in (*ROLES, ATTRIBUTES):
                raise
        else:
            needs.append(field)
    return in_roles(data, needs, present, card.wants, card.partly)


def _write(result: Any, out: Path | None, run: Path, action: Action) -> list[str]:
    from unbraid.core.outcome import Findings, Pictures, Sound, Table
    from unbraid.data.dataset import Dataset

    kind = next((k for k in (Findings, Sound, Pictures, Table) if isinstance(result, k)), None)
    name = kind.__name__ if kind else "data"
    if kind is None and not isinstance(result, Dataset):
        raise ConfigError(
            "an action that returns findings, a sound, pictures, a table or data", got=type(result).__name__
        )
    lines = spoken(result) if isinstance(result, Findings | Table) else []
    path = _free(run / "applied", action.name, _KINDS[name]) if out is None else out
    if path.suffix.lower() != _KINDS[name] and not (name == "Sound" and path.suffix.lower() == ".flac"):
        raise ConfigError(f"a file ending in {_KINDS[name]}", got=f"'{path.name}'", where="--out")
    if isinstance(result, Findings | Table) and out is None:
        return lines
    path.parent.mkdir(parents=True, exist_ok=True)
    _store(result, path)
    return [*lines, f"wrote {path}"]


def _free(folder: Path, stem: str, suffix: str) -> Path:
    names = (f"{stem}{suffix}" if i == 1 else f"{stem}-{i}{suffix}" for i in range(1, 10_000))
    return next(path for name in names if not (path := folder / name).exists())


def _store(result: Any, path: Path) -> None:
    from unbraid.core.outcome import Findings, Pictures, Sound, Table
    from unbraid.training.files import write_with

    if isinstance(result, Findings):
        save_findings(result, path)
    elif isinstance(result, Sound):
        from unbraid.data.readers.sounds import write_sound

        write_with(path, lambda temporary: write_sound(temporary, result, path.suffix))
    elif isinstance(result, Pictures):
        from unbraid.steer.pictures import write_images

        write_images(path, result.images, result.labels)
    elif isinstance(result, Table):
        write_with(path, lambda temporary: _write_csv(temporary, result))
    else:
        from unbraid.data.codes import write_data

        write_data(path, result)


def _write_csv(path: Path, table: Any) -> None:
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(table.rows())


def save_findings(found: Findings, path: Path) -> None:
    """Write the numbers as JSON, and the arrays beside them as safetensors; complete or not at all."""
    from unbraid.training.checkpoints import save_tensors
    from unbraid.training.files import write_json, write_with

    if found.arrays:
        arrays = {name: value.detach().cpu().contiguous() for name, value in found.arrays.items()}
        write_with(path.with_suffix(".safetensors"), lambda temporary: save_tensors(temporary, arrays))
    write_json(path, found.to_json())


def spoken(result: Any) -> list[str]:
    """Findings or a table as lines for the terminal.

    >>> from unbraid.core.outcome import Findings
    >>> spoken(Findings({"accuracy": 0.5, "auc": 0.75}, units={"auc": "0..1"}))
    ['accuracy  0.5', 'auc       0.75 (0..1)']
    """
    from unbraid.core.outcome import Table

    if isinstance(result, Table):
        rows = [tuple(result.columns), *result.rows()[:_ROWS]]
        cells = [[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(result.columns))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        more = len(result.rows()) - _ROWS
        return [*lines, f"... and {more} more rows"] if more > 0 else lines
    width = max((len(name) for name in result.numbers), default=0)
    lines = []
    for name, value in result.numbers.items():
        unit = f" ({result.units[name]})" if name in result.units else ""
        lines.append(f"{name:<{width}}  {value:.4g}{unit}")
    for name, table in result.tables.items():
        lines += ["", name, *spoken(table)]
    return [*lines, *(f"note: {note}" for note in result.notes)]


def _is_data(value: Any) -> bool:
    from unbraid.data.dataset import Dataset

    return isinstance(value, Dataset)


def _save(trained: Trained, action: Action, out: Path, moved: tuple[str, Dataset] | None = None) -> str:
    """The changed method as a run of its own, on the data (by name, and opened) that it has moved to, if it has."""
    from unbraid.core.config import to_json
    from unbraid.training.checkpoints import save_tensors
    from unbraid.training.files import write_with
    from unbraid.training.runs import Run
    from unbraid.verbs.request import asked_for, located
    from unbraid.verbs.training import exported, schema

    if out.exists() and any(out.iterdir()):
        raise RunError("a new folder", got="one that is not empty", where=str(out))
    facts = {k: v for k, v in trained.run.facts.items() if k not in ("format", "status", "request")}
    facts |= {"config": to_json(trained.method.config), "schema": schema(trained.method)}
    request = asked_for(trained.run)
    if moved is not None:
        name, data = moved
        request = located(replace(request, data=name, factors=None))
        facts |= {"fields": data.fields.to_json(), "notes": list(data.notes)}
        facts["data"] = {"name": request.data, "hash": data.hash, "items": len(data)}
    run = Run.create(out, asdict(request))
    write_with(out / "model.safetensors", lambda path: save_tensors(path, exported(trained.method)))
    run.update(**facts, status="done", origin={"run": trained.run.folder.name, "action": action.name})
    return f"wrote {out}"


def spoken_file(path: Path) -> list[str]:
    """What `save_findings` wrote, as lines for the terminal."""
    from unbraid.core.outcome import Findings, Table
    from unbraid.training.files import read_json

    found = read_json(path)
    tables = {name: Table(columns) for name, columns in found.get("tables", {}).items()}
    return spoken(Findings(found["numbers"], {}, found["units"], found["notes"], tables))
