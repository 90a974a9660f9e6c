"""Audit a run or a file of codes, and write down what was found."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.training.files import write_text
from unbraid.training.progress import Progress
from unbraid.verbs.request import asked_for
from unbraid.verbs.steering import pictures
from unbraid.verbs.trained import Trained, load

if TYPE_CHECKING:
    import numpy as np
    import torch

    from unbraid.audit import Audit
    from unbraid.core.method import Infers
    from unbraid.core.outcome import Findings
    from unbraid.data.dataset import Dataset

AUDITED = 5000
"""Items of a run that an audit looks at, unless told otherwise."""

_DECODED = 1000  # items whose reconstruction is judged
_EXPLAINED = "share of the variance of the observations that the decoded parts explain"


@dataclass(frozen=True)
class Question:
    """What a user asks of a run or of a file of codes.

    Attributes:
        factors: A file of factors, by row or by id.
        group: The factor whose groups no split may cut.
        parts: "name=0-15,20": parts cut from the columns in the file.
        carries: "part=factor,factor": what parts should know.
        free_of: "part=factor,factor": what they should not.
        roles: "role=factor", where the names differ.
        columns: Whether to ask each column of every part, too.
        metrics: Scores separated by commas, "all" or "none"; the usual ones where None.
        samples: Most items of a run.
        seed: Of the splits; the run's own, or 0, where None.
    """

    factors: Path | None = None
    group: str | None = None
    parts: Sequence[str] = ()
    carries: Sequence[str] = ()
    free_of: Sequence[str] = ()
    roles: Sequence[str] = ()
    columns: bool = False
    metrics: str | None = None
    samples: int = AUDITED
    seed: int | None = None

    def options(self) -> dict[str, Any]:
        """What `unbraid.audit.audit` takes of it."""
        options: dict[str, Any] = {"group": self.group}
        options |= {} if self.seed is None else {"seed": self.seed}
        options["carries"], options["free_of"] = _lists(self.carries, "--carries"), _lists(self.free_of, "--free-of")
        options["roles"] = {role: factor for role, [factor] in _lists(self.roles, "--role").items()}
        return options if self.metrics is None else {**options, "metrics": _metrics(self.metrics)}

    def command(self, target: Path) -> str:
        """The command line that asks it."""
        words = ["unbraid", "audit", str(target)]
        words += ["--factors", str(self.factors)] if self.factors else []
        words += ["--group", self.group] if self.group else []
        several = (
            ("--part", self.parts),
            ("--carries", self.carries),
            ("--free-of", self.free_of),
            ("--role", self.roles),
        )
        words += [word for option, texts in several for text in texts for word in (option, text)]
        words += ["--columns"] if self.columns else []
        return shlex.join(words)


def document(folder: Path, progress: Progress | None = None) -> Audit | None:
    """Audit a run, make its pictures, and write its report.

    Args:
        folder: A run that has finished training.
        progress: Who is told.

    Returns:
        The audit, or None when the data have no factors.
    """
    trained = load(folder)
    ask = Question(metrics=asked_for(trained.run).metrics)
    found = audit_run(trained, ask, progress) if trained.data.audited.factors else None
    if found is not None:
        found.save(folder / "audit.json")
    _examine(trained)
    pictures(trained, found)
    from unbraid.report import write_report

    write_report(folder)
    return found


def _examine(trained: Trained) -> None:
    """Judge a method as it is usually judged, where it knows how, and keep what was found."""
    from unbraid.core.method import Decodes, Examines
    from unbraid.core.outcome import Findings
    from unbraid.verbs.applying import save_findings

    found = None
    if isinstance(trained.method, Examines):
        found = _examination(trained)
    elif isinstance(trained.method, Decodes):
        found = Findings({"explained": explained(trained)}, units={"explained": _EXPLAINED})
    if found is not None:
        save_findings(found, trained.run.folder / "findings.json")


def _examination(trained: Trained) -> Findings:
    import torch

    from unbraid.core.method import Examines
    from unbraid.training.fit import own_chance

    assert isinstance(trained.method, Examines)
    with own_chance(torch.device("cpu")):
        torch.manual_seed(int(trained.run.facts["seed"]))
        return trained.method.examine(trained.data)


def explained(trained: Trained) -> float:
    """Share of the variance of the observations that what is decoded from their parts explains.

    1 - squared error / squared distance to the mean observation, over some items of an audit; below 0 where the mean
    would do better.
    """
    import torch

    from unbraid.core.fields import observation
    from unbraid.core.method import Decodes
    from unbraid.data.loader import batches

    decoder = trained.method
    assert isinstance(decoder, Decodes)
    drawn = batches(trained.data.audited, torch.split(trained.sample(_DECODED), 256), torch.device("cpu"))
    error = total = squares = torch.tensor(0.0, dtype=torch.float64)
    count = 0
    with torch.no_grad():
        for _, batch in drawn:
            x = batch[observation(batch)].double()
            error = error + (decoder.decode(trained.method.encode(batch)).double() - x).square().sum()
            total, squares, count = total + x.sum(0), squares + x.square().sum(), count + len(x)
    spread = squares - total.square().sum() / count
    return 1.0 - float(error / spread.clamp_min(1e-12))


def audit_run(trained: Trained, ask: Question | None = None, progress: Progress | None = None) -> Audit:
    """Which part of a run knows which factor (see `unbraid.audit.audit`).

    Raises:
        ConfigError: The data have no factors.
    """
    from unbraid.audit import audit
    from unbraid.core.method import Infers

    data = trained.data.audited
    if not data.factors:
        fix = "give some with --factors FILE when training"
        raise ConfigError("data with factors", got=f"none in {data.name}", fix=fix)
    ask = ask or Question()
    indices = trained.sample(ask.samples)
    part, posterior = (
        posterior_of(trained.method, data, indices) if isinstance(trained.method, Infers) else (None, None)
    )
    options = ask.options()
    names = [f.name for f in data.factors]
    own = {role: factor for role, factor in trained.data.roles.items() if factor in names}
    return audit(
        trained.encode(indices),
        data.table(indices),
        specs=trained.method.parts(),
        posterior=posterior,
        posterior_part=part,
        progress=told(progress) if progress else None,
        **{"seed": int(trained.run.facts["seed"]), **options, "roles": {**own, **options["roles"]}},
    )


def posterior_of(method: Infers, data: Dataset, indices: torch.Tensor) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """The first part that has a posterior, and its means and log variances (N, D)."""
    import torch

    with torch.no_grad():
        pairs = [method.posterior(data.take(i)) for i in torch.split(indices, 512)]
    name = next(iter(pairs[0][0]))
    mu, logvar = (torch.cat([pair[which].matrix(name) for pair in pairs]).numpy() for which in (0, 1))
    return name, (mu, logvar)


def audit_file(path: Path, ask: Question, tell: Callable[[str, float], None] | None = None) -> Audit:
    """Audit plain codes in a file, against the factors in it or in another (see `read_codes`, `read_factors`).

    Raises:
        DataError: A file cannot be read, or the rows do not match.
        ConfigError: There are no factors, or a name is not there.
    """
    from unbraid.audit import audit
    from unbraid.core.parts import PartSpec
    from unbraid.data.codes import read_codes, read_factors

    codes = read_codes(path)
    table = codes.factors
    if ask.factors is not None:
        table = table.joined(read_factors(ask.factors, codes.ids, len(codes)))
    if not table.factors:
        raise ConfigError("factors to audit against", got="none", fix="give some with --factors FILE", where=str(path))
    parts = _cut(codes.parts, ask.parts)
    specs = [PartSpec(name, "fam", (x.shape[1],)) for name, x in parts.items()] if ask.columns else None
    found = audit(parts, table, specs=specs, progress=tell, **ask.options())
    return dataclasses.replace(found, meta={**found.meta, "codes": str(path), "command": ask.command(path)})


def audit_target(target: Path, ask: Question, out: Path | None, progress: Progress) -> tuple[Audit, list[Path]]:
    """Audit a run or a file of codes and write what was found.

    Args:
        target: A run folder, or a file that `read_codes` reads.
        ask: The question.
        out: Folder for the results; the run's own, or none, where None.
        progress: Who is told.

    Returns:
        The audit and the files written.
    """
    if target.is_dir():
        if ask.parts or ask.factors or ask.columns:
            raise ConfigError("--part, --columns and --factors with a file of codes", got=f"the folder {target}")
        found = audit_run(load(target), ask, progress)
        return found, _write(found, out) if out else _write(found, target, report=True)
    if not target.exists():
        hint = nearest(target.name, [p.name for p in target.parent.glob("*")] or ["a run under runs/"])
        raise DataError("a run folder or a file of codes", got="nothing there", fix=hint, where=str(target))
    found = audit_file(target, ask, told(progress))
    return found, _write(found, out) if out else []


def _write(found: Audit, folder: Path, *, report: bool = False) -> list[Path]:
    from unbraid.report import write_audit_page, write_report

    folder.mkdir(parents=True, exist_ok=True)
    found.save(folder / "audit.json")
    write_text(folder / "audit.csv", tidy(found))
    page = write_report(folder) if report else folder / "audit.html"
    if not report:
        write_audit_page(found.to_json(), page)
    return [folder / "audit.json", folder / "audit.csv", page]


def tidy(found: Audit) -> str:
    """The rows of an audit as CSV, one row for each part or column, factor and probe."""
    text = io.StringIO()
    names = [f.name for f in dataclasses.fields(found.rows[0])] if found.rows else []
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in found.rows)
    return text.getvalue()


def _lists(texts: Sequence[str], where: str) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for text in texts:
        part, equals, names = text.partition("=")
        if not equals or not part or not names:
            raise ConfigError("PART=FACTOR,FACTOR", got=f"'{text}'", where=where)
        roles.setdefault(part, []).extend(names.split(","))
    return roles


def _metrics(text: str) -> list[str]:
    from unbraid.metrics.registry import named

    return [] if text == "none" else named(text.split(","), where="--metrics")


def _cut(arrays: dict[str, np.ndarray], parts: Sequence[str]) -> dict[str, np.ndarray]:
    """The named columns of the only part in a file, or the parts as they are."""
    import numpy as np

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
