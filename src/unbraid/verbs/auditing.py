"""Audit a run or a file of codes, and write down what was found."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.training.files import write_text
from unbraid.training.progress import Progress
from unbraid.verbs.steering import pictures
from unbraid.verbs.trained import Trained, load

if TYPE_CHECKING:
    import numpy as np
    import torch

    from unbraid.audit import Audit
    from unbraid.core.method import Infers
    from unbraid.data.dataset import Dataset

Arrays = dict[str, "np.ndarray"]

AUDITED = 5000
"""Items of a run that an audit looks at, unless told otherwise."""


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
    options: dict[str, Any] = {"group": group, "carries": _roles(carries, "--carries")}
    options["free_of"] = _roles(free_of, "--free-of")
    if metrics is not None:
        options["metrics"] = _metrics(metrics)
    if target.is_dir():
        if parts or factors:
            raise ConfigError("--part and --factors with a file of codes", got=f"the folder {target}")
        found = audit_run(load(target), samples=samples, progress=progress, **options)
        return found, _write(found, out or target)
    if not target.exists():
        hint = nearest(target.name, [p.name for p in target.parent.glob("*")] or ["a run under runs/"])
        raise DataError("a run folder or a file of codes", got="nothing there", fix=hint, where=str(target))
    options |= {"seed": seed, "progress": told(progress)}
    found = audit_file(target, factors, cut=lambda arrays: _cut(arrays, parts), **options)
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
