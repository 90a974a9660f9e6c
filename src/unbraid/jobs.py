"""Jobs of the command line that are more than one call: auditing a target, showing data."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.training.files import write_text
from unbraid.training.progress import Progress

if TYPE_CHECKING:
    from unbraid.audit import Audit


def audit_target(
    target: Path,
    *,
    factors: Path | None,
    group: str | None,
    parts: Sequence[str],
    carries: Sequence[str],
    free_of: Sequence[str],
    metrics: str | None,
    samples: int,
    seed: int,
    out: Path | None,
    progress: Progress,
) -> tuple[Audit, list[Path]]:
    """Audit a run or a file of codes and write what was found.

    Args:
        target: A run folder, or a file that `read_codes` reads.
        factors: A file of factors, by row or by id.
        group: The factor whose groups no split may cut.
        parts: "name=0-15,20": parts cut from the columns of the only part in the file.
        carries: "part=factor,factor".
        free_of: "part=factor,factor".
        metrics: Scores separated by commas, or "none".
        samples: Most items of a run.
        seed: Of the splits.
        out: Folder for the results; the run's own, or none, where None.
        progress: Who is told.

    Returns:
        The audit and the files written.
    """
    from unbraid import verbs

    options: dict[str, Any] = {"group": group, "carries": _roles(carries, "--carries")}
    options["free_of"] = _roles(free_of, "--free-of")
    if metrics is not None:
        options["metrics"] = _metrics(metrics)
    if target.is_dir():
        if parts or factors:
            raise ConfigError("--part and --factors with a file of codes", got=f"the folder {target}")
        found = verbs.audit_run(verbs.load(target), samples=samples, progress=progress, **options)
        return found, _write(found, out or target)
    if not target.exists():
        hint = nearest(target.name, [p.name for p in target.parent.glob("*")] or ["a run under runs/"])
        raise DataError("a run folder or a file of codes", got="nothing there", fix=hint, where=str(target))
    options |= {"seed": seed, "progress": verbs.told(progress)}
    found = verbs.audit_file(target, factors, cut=lambda arrays: _cut(arrays, parts), **options)
    words = ["unbraid audit", str(target), *(["--factors", str(factors)] if factors else [])]
    words += ["--group", group] if group else []
    for option, texts in (("--part", parts), ("--carries", carries), ("--free-of", free_of)):
        words += [word for text in texts for word in (option, text)]
    found = dataclasses.replace(found, meta={**found.meta, "codes": str(target), "command": " ".join(words)})
    return found, _write(found, out) if out else []


def _write(found: Audit, folder: Path) -> list[Path]:
    from unbraid.report import write_audit_page

    folder.mkdir(parents=True, exist_ok=True)
    found.save(folder / "audit.json")
    write_text(folder / "audit.csv", tidy(found))
    write_audit_page(found.to_json(), folder / "audit.html")
    return [folder / name for name in ("audit.json", "audit.csv", "audit.html")]


def tidy(found: Audit) -> str:
    """The rows of an audit as CSV, one row for each part or column, factor and probe."""
    text = io.StringIO()
    names = [f.name for f in dataclasses.fields(found.rows[0])] if found.rows else []
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in found.rows)
    return text.getvalue()


def _roles(texts: Sequence[str], where: str) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for text in texts:
        part, equals, names = text.partition("=")
        if not equals or not part or not names:
            raise ConfigError("PART=FACTOR,FACTOR", got=f"'{text}'", where=where)
        roles.setdefault(part, []).extend(names.split(","))
    return roles


def _metrics(text: str) -> list[str]:
    from unbraid.metrics.registry import SCORES

    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in SCORES:
            raise ConfigError("the name of a score", got=f"'{name}'", fix=nearest(name, SCORES), where="--metrics")
    return names


def _cut(arrays: dict[str, np.ndarray], parts: Sequence[str]) -> dict[str, np.ndarray]:
    """The named columns of the only part in a file, or the parts as they are."""
    if not parts:
        return arrays
    whole = np.concatenate([a.reshape(len(a), -1) for a in arrays.values()], axis=1)
    return {name: whole[:, columns] for name, columns in (_columns(text, whole.shape[1]) for text in parts)}


def _columns(text: str, width: int) -> tuple[str, list[int]]:
    name, equals, spans = text.partition("=")
    if not equals or not name.isidentifier() or not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", spans):
        raise ConfigError("NAME=COLUMNS such as identity=0-15,20", got=f"'{text}'", where="--part")
    columns = []
    for span in spans.split(","):
        first, _, last = span.partition("-")
        columns += list(range(int(first), int(last or first) + 1))
    if not columns or max(columns) >= width:
        raise ConfigError(f"columns 0..{width - 1}", got=f"'{text}'", where="--part")
    return name, columns


def list_data() -> str:
    """The data sets that can be opened by name, and those below `UNBRAID_DATA`."""
    from unbraid.data.catalog import sources

    lines = []
    for source in sources():
        lines.append(f"{source.name:<10} {source.summary}")
        lines += [f"{'':<10}   {name}: {text}" for name, text in source.options.items()]
    lines.append("PATH       .npz, .npy, .csv, .parquet, IDX files, or a folder of images of yours")
    return "\n".join(lines)


def show_data(name: str) -> str:
    """Items, shape, hash and factors of a data set."""
    from unbraid.data.catalog import open_data

    data = open_data(name)
    lines = [f"{data.name}: {len(data):,} items", f"x: {tuple(data.fields['x'].shape)}"]
    lines[1] += ", values in [0, 1]" if data.fields["x"].unit else ""
    for factor in data.factors:
        values = ", ".join(factor.labels[:8]) + (", ..." if factor.size > 8 else "")
        lines.append(f"factor {factor.name}: {factor.kind}, {factor.size or 'any'} values  {values}")
    if not data.factors:
        lines.append("no factors: it can be trained on, not audited")
    return "\n".join([*lines, f"hash: {data.hash}"])
