"""Composes the pages: reads the files of a run folder and fills the templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid._version import __version__
from unbraid.report import facts as run_facts
from unbraid.report.curves import curves, svg
from unbraid.report.examined import examined
from unbraid.report.knowledge import Row, answer, findings, heat_map, rows_of, sentences
from unbraid.report.palette import shades
from unbraid.report.plates import Plate, plates
from unbraid.report.words import finite, interval, listed, number, percent, title
from unbraid.training.files import read_json, write_text
from unbraid.training.runs import Series

if TYPE_CHECKING:
    from jinja2 import Environment

_HEADLINE = ("mig", "dci_disentanglement", "infom", "infoc", "infoe", "sap")
_MOST_SENTENCES = 6
_MOST_ROWS = 1000
_ENOUGH_NUMBERS = 64  # of a gauge with one number per column that are drawn

_LIMITS = (
    "A probe gives a lower bound: what it cannot read may still be there for a stronger reader.",
    "Shares are of a factor's entropy in this data; with other data, or other labels, they differ.",
)
_ELSEWHERE = ("command", "factors")  # facts of an audit that the page shows in another place
_GAUGES = {
    "effective_rank": "how many directions the codes use, from their singular values",
    "width": "numbers per item",
    "active_columns": "columns whose codes move by more than a twentieth of the largest range",
    "dead_columns": "columns that are the same for every item",
    "values_used": "different values that each column takes",
    "passive_latents": "latents whose posterior does not depend on the input",
    "dead_codes": "discrete values that no item uses",
    "perplexity": "discrete values in use, weighted by how often",
    "mean_cosine": "mean cosine between codes of different items; near 1 means collapse",
    "posterior_share": "share of each latent's variance that depends on the input",
}


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run folder, from what lies there.

    Read are `run.json` (needed), and where they exist `audit.json`, `series.jsonl` and the files in `pictures/`: those
    whose name begins with "recon" are reconstructions, all others count as steering. What is missing leaves its
    section out.

    Returns:
        The path of the page, which needs no other file and no network.

    Raises:
        RunError: The folder is no run, or one of its files is damaged.
    """
    facts = read_json(run_dir / "run.json")
    has_audit = (run_dir / "audit.json").exists()
    audit = read_json(run_dir / "audit.json") if has_audit else {}
    lines = list(Series(run_dir / "series.jsonl").read())
    pictures = plates(run_dir / "pictures")
    reconstructions = [p for p in pictures if p.name.lower().startswith("recon")]
    charts = [(field, [(c, svg(c)) for c in curves(lines, field)]) for field in ("terms", "notes")]
    page = {
        "title": f"{facts.get('method', 'run')} on {run_facts.short_data_name(facts)}",
        "lead": run_facts.sentence(facts),
        "paper": run_facts.paper(facts),
        "steered": _in_order([p for p in pictures if p not in reconstructions]),
        "reconstructions": reconstructions,
        "charts": {field: found for field, found in charts if found},
        "command": run_facts.command(facts),
        "reproduction": run_facts.reproduction(facts),
        "options": run_facts.options(facts.get("config")),
        "examined": examined(run_dir),
        "notes": _notes(audit, facts),
        "folder": run_dir.resolve().name,
        **_audited(audit),
    }
    out = run_dir / "report.html"
    write_text(out, fill("run", page))
    return out


def write_audit_page(audit_json: Mapping[str, Any] | str, out: Path) -> Path:
    """Write a page for an audit of plain codes: do they still know the site, the scanner, the speaker?

    Args:
        audit_json: What `Audit.to_json` gives, as text or as an object. Of its "meta", "codes" (the file) and
            "command" are shown where they are there.
        out: The file.
    """
    audit = json.loads(audit_json) if isinstance(audit_json, str) else audit_json
    meta = audit.get("meta") or {}
    source = next((str(meta[k]) for k in ("codes", "source", "name") if isinstance(meta.get(k), str)), "")
    shown = _audited(audit)
    if not audit.get("sentences") and not any(row.get("column") is not None for row in rows_of(audit)):
        shown |= {"sentences": [], "more_sentences": []}  # they would repeat the answer
    page = {
        "title": f"What does {Path(source).name} still know?" if source else "What do these codes still know?",
        "answer": answer(audit),
        "command": str(meta.get("command") or ""),
        "reproduction": [(title(str(k)), _plain(v)) for k, v in meta.items() if k not in _ELSEWHERE and _plain(v)],
        "notes": _notes(audit, {}),
        **shown,
    }
    write_text(out, fill("audit", page))
    return out


def fill(template: str, page: Mapping[str, Any]) -> str:
    """A page of its own in the style of the others.

    Args:
        template: Name of a file in `templates`, without its ending.
        page: What it shows; everything is escaped but what is marked as safe.
    """
    return _templates().get_template(f"{template}.html.j2").render(page)


# ------------------------------------------------------------------------------------------------------ the pieces


@dataclass(frozen=True)
class ScoreLine:
    """A score as the page shows it; `at` is where it stands between its worst (0) and best (1) value."""

    part: str
    name: str
    value: str
    at: float | None
    scale: str
    better: str
    meaning: str
    reference: str
    note: str


@dataclass(frozen=True)
class GaugeLine:
    """A gauge as the page shows it; `bars` are shares of the largest, where there is one number per column."""

    part: str
    name: str
    value: str
    bars: tuple[float, ...]
    meaning: str


@dataclass(frozen=True)
class LatentsLine:
    """Which latents of a part are in use, as the page shows it.

    Attributes:
        part: Its name.
        advice: A sentence.
        groups: (group, how many, which).
        totals: (which latents, total correlation of their means, of their samples).
    """

    part: str
    advice: str
    groups: tuple[tuple[str, str, str], ...]
    totals: tuple[tuple[str, str, str], ...]


def _audited(audit: Mapping[str, Any]) -> dict[str, Any]:
    """What both pages show of an audit."""
    lines = _scores(audit)
    found = findings(audit)
    said = sentences(audit)
    rows, shown = rows_of(audit), _weightiest(rows_of(audit))
    return {
        "heat": heat_map(audit),
        "findings": found,
        "several_parts": len({f.part for f in found}) > 1,
        "sentences": said[:_MOST_SENTENCES],
        "more_sentences": said[_MOST_SENTENCES:],
        "scores": lines,
        "headline": _headline(lines, audit),
        "gauges": _gauges(audit),
        "latents": _latents(audit),
        "rows": [_row(row) for row in shown],
        "all_rows": len(rows),
    }


def _scores(audit: Mapping[str, Any]) -> list[ScoreLine]:
    found = []
    for part, scores in (audit.get("scores") or {}).items():
        for score in scores or ():
            low, high = finite(score.get("low")), finite(score.get("high"))
            value = finite(score.get("value"))
            scaled = value is not None and low is not None and high is not None and high > low
            at = max(0.0, min(1.0, (value - low) / (high - low))) if scaled else None  # type: ignore[operator]
            up = bool(score.get("higher_is_better", True))
            scale = f"{number(low)} to {number(high)}" if low is not None and high is not None else ""
            better = "↑ higher is better" if up else "↓ lower is better"
            text = [str(score.get(k) or "") for k in ("name", "meaning", "reference", "note")]
            found.append(ScoreLine(str(part), title(text[0]), number(value), at, scale, better, *text[1:]))
    return found


def _headline(lines: list[ScoreLine], audit: Mapping[str, Any]) -> list[ScoreLine]:
    """The scores of the first part that most readers look for."""
    wanted = {title(name): i for i, name in enumerate(_HEADLINE)}
    first = next(iter(audit.get("scores") or {}), None)
    found = [line for line in lines if line.part == first and line.name in wanted and line.at is not None]
    return sorted(found, key=lambda line: wanted[line.name])[:5]


def _gauges(audit: Mapping[str, Any]) -> list[GaugeLine]:
    found = []
    for part, gauges in (audit.get("gauges") or {}).items():
        for name, said in (gauges or {}).items():
            rich = isinstance(said, Mapping) and "value" in said
            value = said["value"] if rich else said
            meaning = str((said.get("meaning") if rich else "") or _GAUGES.get(str(name), ""))
            numbers = [finite(v) or 0.0 for v in value] if isinstance(value, list) else []
            largest = max((abs(v) for v in numbers), default=0.0)
            few = 1 < len(numbers) <= _ENOUGH_NUMBERS and any(isinstance(v, float) and v % 1 for v in value)
            bars = tuple(max(0.0, v) / largest for v in numbers) if few else ()
            found.append(GaugeLine(str(part), title(str(name)), _plain(value), bars, meaning))
    return found


def _latents(audit: Mapping[str, Any]) -> list[LatentsLine]:
    """Audits of earlier versions have none."""
    found = []
    for part, said in (audit.get("latents") or {}).items():
        said = said if isinstance(said, Mapping) else {}
        chosen = {group: said.get(group) or [] for group in ("active", "mixed", "passive")}
        groups = tuple((title(group), str(len(which)), _plain(which)) for group, which in chosen.items())
        totals = tuple(
            (name, number(said.get(f"{key}_mean")), number(said.get(f"{key}_sampled")))
            for name, key in (("All", "total"), ("Active and mixed", "kept"))
        )
        found.append(LatentsLine(str(part), f"{said.get('advice') or part}.", groups, totals))
    return found


def _plain(value: Any) -> str:
    """Any JSON value in a few words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(_plain(v) for v in value[:12])
        return f"{shown} and {len(value) - 12} more" if len(value) > 12 else shown or "none"
    if value is None:
        return ""
    return number(value) if isinstance(value, int | float) else str(value)


def _weightiest(rows: list[Row]) -> list[Row]:
    """The rows with the largest shares, in their order; a page of many thousand rows opens slowly."""
    if len(rows) <= _MOST_ROWS:
        return rows
    by_share = sorted(range(len(rows)), key=lambda i: -(finite(rows[i].get("share")) or 0.0))
    return [rows[i] for i in sorted(by_share[:_MOST_ROWS])]


def _row(row: Row) -> dict[str, str]:
    column = row.get("column")
    part = str(row["part"])
    p = finite(row.get("p_adjusted", row.get("p")))
    return {
        "part": part if column is None else f"{part}[{column}]",
        "factor": str(row["factor"]),
        "probe": str(row.get("probe") or ""),
        "bits": number(row.get("bits")),
        "share": percent(row.get("share")),
        "range": interval(row.get("share_low"), row.get("share_high")),
        "samples": number(row.get("samples")),
        "p": "" if p is None else ("<0.001" if p < 0.001 else f"{p:.3f}"),
        "verdict": str(row.get("verdict") or ""),
        "declared": str(row.get("declared") or ""),
    }


def _notes(audit: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """What limits the reading, each once."""
    notes = [str(n) for n in audit.get("notes") or ()]
    by_note: dict[str, list[str]] = {}
    rows = rows_of(audit)
    several = len({row["part"] for row in rows}) > 1
    for row in rows:
        if row.get("note") and not any(str(row["note"]) in note for note in notes):
            who = f"{row['part']} and {row['factor']}" if several else str(row["factor"])
            by_note.setdefault(str(row["note"]), []).append(who)
    notes += [f"{listed(list(dict.fromkeys(who)))}: {note}" for note, who in by_note.items()]
    notes += [str(n) for n in facts.get("notes") or ()]
    return list(dict.fromkeys([*notes, *(_LIMITS if audit.get("rows") else ())]))


def _in_order(found: list[Plate]) -> list[Plate]:
    """Traversals first, and of each picture the still one before the one that moves."""
    return sorted(found, key=lambda p: (not p.name.lower().startswith("travers"), Path(p.name).stem, p.moves))


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.globals |= {"version": __version__, "light": shades(), "dark": shades(dark=True)}
    return found
