"""Take a factor out of a file of codes or the codes of a run, and audit them before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.training.progress import Progress
from unbraid.verbs.auditing import AUDITED, told
from unbraid.verbs.trained import load

if TYPE_CHECKING:
    import numpy as np

    from unbraid.audit import Audit
    from unbraid.data.codes import Codes
    from unbraid.steer.erasing import Erased

_ENDS = (".npz", ".csv", ".parquet")


@dataclass(frozen=True)
class Wish:
    """What a user wants taken out of codes.

    Attributes:
        factors: Names of the factors, all taken out at once.
        known: A file of factors, by row or by id.
        parts: The parts; all where there are none.
        method: "leace", "rasa" or "rasa-exact".
        rounds: Planes at most that RASA takes out; 9 where None.
        group: The factor whose groups are either fitted to or audited.
        samples: Most items of a run.
        seed: Of the halves and of the audit's folds.
    """

    factors: Sequence[str]
    known: Path | None = None
    parts: Sequence[str] = ()
    method: str = "leace"
    rounds: int | None = None
    group: str | None = None
    samples: int = AUDITED
    seed: int = 0


def erase(target: Path, wish: Wish, out: Path | None, progress: Progress) -> tuple[list[str], list[Path]]:
    """Write codes without some factors, and what can be read from them before and after.

    The map is fitted to one half of the rows, drawn by the seed, and applied to all; both audits are of the other half.

    Args:
        target: A run folder, or a file that `read_codes` reads.
        wish: What is to be taken out.
        out: A `.npz`, `.csv` or `.parquet` file; the audit goes beside it.
        progress: Who is told.

    Returns:
        What was found, and the files written: codes, audit as JSON and as a page.
    """
    from unbraid.data.codes import write_codes
    from unbraid.data.order import grouped_folds
    from unbraid.report import write_audit_page
    from unbraid.steer import erasing

    if out is None or out.suffix not in _ENDS:
        got = "none" if out is None else f"'{out.name}'"
        raise ConfigError(f"a file ending in {', '.join(_ENDS)}", got=got, where="--out")
    codes = _codes(target, wish)
    if not codes.factors.factors:
        raise ConfigError("factors", got="none", fix="give some with --factors FILE", where=str(target))
    groups = None if wish.group is None else codes.factors.column(wish.group)
    fit: np.ndarray = grouped_folds(groups, len(codes), 2, wish.seed).numpy() == 0
    rounds = erasing.ROUNDS if wish.rounds is None else wish.rounds
    done = erasing.erase(
        codes.parts,
        codes.factors,
        wish.factors,
        how=wish.method,  # type: ignore[arg-type]  # checked there
        rounds=rounds,
        fit=fit,
        names=wish.parts,
    )
    found = _audited(codes, done, ~fit, wish, progress)
    found = dataclasses.replace(found, meta={**found.meta, **_facts(target, wish, done, rounds)})
    out.parent.mkdir(parents=True, exist_ok=True)
    write_codes(out, done.parts, codes.ids, codes.factors)
    json, page = (out.with_name(f"{out.stem}.audit{end}") for end in (".json", ".html"))
    found.save(json)
    write_audit_page(found.to_json(), page)
    return [*told_of(found, done, wish), *(f"note: {note}" for note in found.notes)], [out, json, page]


def _codes(target: Path, wish: Wish) -> Codes:
    """The codes in a file, or those of a run's data."""
    from unbraid.data.codes import Codes, read_codes, read_factors

    if not target.exists():
        hint = nearest(target.name, [p.name for p in target.parent.glob("*")] or ["a run under runs/"])
        raise DataError("a run folder or a file of codes", got="nothing there", fix=hint, where=str(target))
    if not target.is_dir():
        codes = read_codes(target)
        if wish.known is None:
            return codes
        return dataclasses.replace(codes, factors=codes.factors.joined(read_factors(wish.known, codes.ids, len(codes))))
    trained = load(target)
    data, indices = trained.data.audited, trained.sample(wish.samples).sort().values
    for spec in trained.method.parts():
        if (spec.kind == "ids" or spec.classes) and (spec.name in wish.parts or not wish.parts):
            others = [s.name for s in trained.method.parts() if s.kind != "ids" and not s.classes]
            fix = " ".join(f"--part {name}" for name in others) or "take another run"
            raise ConfigError("parts made of numbers", got=f"'{spec.name}', of symbols", fix=fix)
    parts = trained.encode(indices)
    table, ids = data.table(indices), data.ids(indices)
    if wish.known is not None:
        table = table.joined(read_factors(wish.known, ids, len(indices)))
    return Codes({name: parts.matrix(name).float().numpy() for name in parts}, ids, table)


def _after(part: str) -> str:
    return f"{part} after"


def _audited(codes: Codes, done: Erased, held: np.ndarray, wish: Wish, progress: Progress) -> Audit:
    """Both codes of the rows that no map was fitted to."""
    import numpy as np
    import torch

    from unbraid.audit import audit

    parts: dict[str, np.ndarray] = {}
    for name in done.maps:
        parts |= {name: codes.parts[name][held], _after(name): done.parts[name][held]}
    free = {_after(name): list(wish.factors) for name in done.maps}
    table = codes.factors.rows(torch.from_numpy(np.flatnonzero(held)))
    return audit(parts, table, group=wish.group, free_of=free, metrics=(), seed=wish.seed, progress=told(progress))


def _facts(target: Path, wish: Wish, done: Erased, rounds: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "codes": str(target),
        "erased": ", ".join(wish.factors),
        "erasure": wish.method,
        "rows fitted to": done.rows,
    }
    facts |= {f"directions taken out of {name}": found.rank for name, found in done.maps.items()}
    words = ["unbraid", "steer", str(target), "erase", *(w for name in wish.factors for w in ("--factor", name))]
    words += [w for name in wish.parts for w in ("--part", name)]
    words += ["--factors", str(wish.known)] if wish.known else []
    words += ["--group", wish.group] if wish.group else []
    words += ["--method", wish.method] if wish.method != "leace" else []
    words += ["--rounds", str(rounds)] if wish.method != "leace" else []
    return {**facts, "command": " ".join(words)}


def told_of(found: Audit, done: Erased, wish: Wish) -> list[str]:
    """What each probe reads before and after, those factors first that were taken out."""
    from unbraid.audit.text import percent

    lines = [("part", "factor", "probe", "before", "after")]
    for part in done.maps:
        for factor in sorted(found.factors, key=lambda name: name not in wish.factors):
            before, after = (
                {row.probe: row for row in found.rows if (row.part, row.factor) == (name, factor) and row.measured}
                for name in (part, _after(part))
            )
            mark = " (erased)" if factor in wish.factors else ""
            lines += [
                (part, factor + mark, p, percent(before[p]), percent(after[p]) if p in after else "-") for p in before
            ]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    parts = [
        f"{name}: {m.rank} of {len(m.mean)} directions taken out, fitted to {done.rows} rows"
        + ("; nothing is left" if m.rank == len(m.mean) else "")
        for name, m in done.maps.items()
    ]
    verdicts = [sentence for sentence in found.sentences() if any(sentence.startswith(_after(n)) for n in done.maps)]
    return [*table, "", *parts, *verdicts, "Shares of each factor's entropy among the rows that nothing was fitted to."]
