"""The tables and the page of a study."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from unbraid._version import __version__
from unbraid.report import fill, level
from unbraid.report.words import duration, interval_reach, number, title
from unbraid.study.board import MINUTES, Board, Place, Rank
from unbraid.study.recipe import Recipe
from unbraid.training.files import write_text

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 720, 26, 190, 24, 22

_NOTES = (
    "An interval of a mean over few seeds is wide: that is what few seeds know. It says how the mean would move with "
    "other seeds, not with other data.",
    "Ranks compare what was measured here, at this budget and size; a method that needs longer training, or another "
    "architecture, is not judged by them.",
    "Methods that see pairs, labels or groups are told more than those that see items alone.",
)


def write_study(folder: Path, board: Board) -> Path:
    """Write `study.html` and its tables into the folder of a study.

    These are `results.csv`, `leaderboard.csv` and `correlations.csv`, and `across.csv` where methods were judged on
    data that they did not learn from.

    Returns:
        The path of the page; it loads nothing, but links to the reports of the runs beside it.
    """
    write_text(folder / "results.csv", board.results_csv())
    write_text(folder / "leaderboard.csv", board.leaderboard_csv())
    write_text(folder / "correlations.csv", board.correlations_csv())
    if across := board.across_csv():
        write_text(folder / "across.csv", across)
    ranks = board.ranks()
    methods = list(ranks) or list(board.recipe.methods)
    page = {
        "title": board.recipe.title or f"{_counted(len(methods), 'method')} compared",
        "lead": _lead(board),
        "ranks": rank_plot(ranks),
        "ranked": _ranked(board),
        "boards": [_table(board, data, methods) for data in board.recipe.data],
        "failed": list(board.failed.items()),
        "runs": [(cell.name, cell.name not in board.failed and _done(board, cell)) for cell in board.cells],
        "command": "unbraid study --recipe recipe.toml --out FOLDER\n\n" + to_toml(board.recipe),
        "reproduction": [
            ("Version", __version__),
            ("Beside this page", "recipe.toml, results.csv, leaderboard.csv, correlations.csv"),
        ],
        "notes": _NOTES,
    }
    out = folder / "study.html"
    write_text(out, fill("study", page))
    return out


def _done(board: Board, cell: Any) -> bool:
    return bool(board.at(cell.data, cell.method, MINUTES).get(cell.seed))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _lead(board: Board) -> str:
    recipe = board.recipe
    minutes = [v.value for v in board.values if v.score == MINUTES]
    words = f"{_counted(len(recipe.methods), 'method')} on {_counted(len(recipe.data), 'data set')}, "
    words += f"{_counted(len(recipe.seeds), 'seed')} each: {len(minutes)} of {len(board.cells)} trainings are done"
    words += f", {duration(60 * math.fsum(minutes))} of training in all" if minutes else ""
    return words + (f"; {len(board.failed)} failed." if board.failed else ".")


def _ranked(board: Board) -> str:
    scores = ", ".join(title(s) for s in board.scores)
    words = f"Ranked by {scores}, where every method has them; whole pairs of data and seed are drawn again."
    if math.isfinite(board.critical):
        words += f" Over these data sets alone, mean ranks less than {number(board.critical)} apart are not told apart"
        words += " (Nemenyi, 5 %)."
    return words


def _table(board: Board, data: str, methods: list[str]) -> dict[str, Any]:
    shown = [s for s in (*board.scores, MINUTES) if any(board.at(data, m, s) for m in methods)]
    places = {score: board.places(data, score) for score in shown}
    lines = [
        {"method": m, "cells": [_cell(board, s, places[s], m) for s in shown]}
        for m in methods
        if any(m in found for found in places.values())
    ]
    head = [title(s) + ("" if board.more.get(s, True) else " ↓") for s in shown]
    return {"data": data, "head": head, "lines": lines, "arrows": any(h.endswith("↓") for h in head)}


def _cell(board: Board, score: str, places: Mapping[str, Place], method: str) -> dict[str, Any] | None:
    if method not in places:
        return None
    place = places[method]
    low, high = place.interval.low, place.interval.high
    known = f"95 % interval {number(low)} to {number(high)}, " if place.interval.known else ""
    judged = score != MINUTES
    return {
        "mean": number(place.mean),
        "reach": interval_reach(low, high),
        "shade": level(_share(board, score, places, place.mean)) if judged else 0,
        "mark": "●" if place.best and judged else "○" if place.level and judged else "",
        "said": "best" if place.best else "level with the best",
        "title": f"{method}, {title(score)}: {number(place.mean)}, {known}{_counted(place.seeds, 'seed')}",
    }


def _share(board: Board, score: str, places: Mapping[str, Place], value: float) -> float:
    """Where a value stands between the worst and the best: of the score's own scale, or of what was found."""
    means = [p.mean for p in places.values()]
    low, high = board.ends.get(score, (min(means), max(means)))
    share = (value - low) / (high - low) if high > low else 1.0
    return share if board.more.get(score, True) else 1 - share


def rank_plot(ranks: Mapping[str, Rank]) -> str:
    """Mean ranks as dots on lines, best on top; small dots are the single scores. Empty for fewer than two methods."""
    if len(ranks) < 2:
        return ""
    most = len(ranks)
    height = _TOP + _ROW * most + 6

    def x(rank: float) -> float:
        return _LEFT + (rank - 1) / (most - 1) * (_WIDTH - _LEFT - _RIGHT)

    said = "; ".join(f"{method} {number(rank.mean)}" for method, rank in ranks.items())
    pieces = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Mean ranks: {escape(said, quote=True)}">']
    step = max(1, math.ceil(most / 12))
    for tick in range(1, most + 1, step):
        pieces.append(f'<path class="grid" d="M{x(tick):.1f} {_TOP}V{height - 4}"/>')
        pieces.append(f'<text x="{x(tick):.1f}" y="{_TOP - 8}" text-anchor="middle">{tick}</text>')
    for i, (method, rank) in enumerate(ranks.items()):
        y = _TOP + _ROW * (i + 0.5)
        pieces.append(f'<text x="{_LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(method)}</text>')
        for score, single in rank.by_score.items():
            name = escape(f"{title(score)}: {number(single)}")
            pieces.append(
                f'<circle class="faint" cx="{x(single):.1f}" cy="{y:.1f}" r="2.2"><title>{name}</title></circle>'
            )
        if rank.interval.known:
            pieces.append(f'<path class="line" d="M{x(rank.interval.low):.1f} {y:.1f}H{x(rank.interval.high):.1f}"/>')
        pieces.append(f'<circle class="dot" cx="{x(rank.mean):.1f}" cy="{y:.1f}" r="4.5"/>')
    return "".join([*pieces, "</svg>"])


def to_toml(recipe: Recipe) -> str:
    """The recipe as a file that `unbraid study --recipe` takes; what is at its default is left out."""
    told = recipe.to_json()
    plain = Recipe({}, {}).to_json()
    lines = [f"{key} = {_toml(v)}" for key, v in told.items() if key not in ("methods", "data") and v != plain[key]]
    if "seeds" in told and not any(line.startswith("seeds") for line in lines):
        lines.append(f"seeds = {_toml(told['seeds'])}")
    for key in ("data", "methods"):
        lines += ["", f"[{key}]"]
        lines += [f"{json.dumps(name)} = {_toml(_spoken(options))}" for name, options in told[key].items()]
    return "\n".join(lines) + "\n"


def _spoken(options: Mapping[str, Any]) -> Any:
    told = {key: value for key, value in options.items() if value not in (None, "", {}, [])}
    return told["data"] if set(told) == {"data"} else told


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return json.dumps(value)
