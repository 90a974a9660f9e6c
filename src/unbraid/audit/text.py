"""The audit in plain words and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from unbraid.audit.families import families
from unbraid.audit.rows import Row, best

MARKS: Mapping[str, str] = MappingProxyType(
    {"carries": "+", "clean": "o", "leaks": "!", "knows": "*", "no evidence": "", "not decided": "?"}
)
_LEGEND = "share of each factor's entropy, best probe"
_PHRASES = (
    ("leaks", "leaks"),
    ("carries", "carries"),
    ("knows", "knows"),
    ("clean", "is clean of"),
)


def sentences(rows: Sequence[Row]) -> list[str]:
    """One sentence per part, those that leak first; then one per family about its columns.

    An interval is given as in "41 % [38, 44] of its 2.3 bits".
    """
    whole = [row for row in rows if row.column is None]
    parts = sorted(
        dict.fromkeys(row.part for row in whole),
        key=lambda part: not any(row.verdict == "leaks" for row in whole if row.part == part),
    )
    told = [_sentence(part, [row for row in whole if row.part == part]) for part in parts]
    return told + _leaking_columns(rows) + [s for family in families(rows) if (s := _seats(family.part, rows))]


def table(rows: Sequence[Row], factors: Sequence[str]) -> str:
    """Parts x factors; families have a line with the best column of each factor below them."""
    lines = [["", *factors]]
    for part in dict.fromkeys(row.part for row in rows):
        mine = [row for row in rows if row.part == part]
        lines.append([part, *(_cell([r for r in mine if r.column is None and r.factor == f]) for f in factors)])
        if any(row.column is not None for row in mine):
            single = [row for row in mine if row.column is not None]
            lines.append(["  best column", *(_column_cell([r for r in single if r.factor == f]) for f in factors)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(_pad(cell, w, i) for i, (cell, w) in enumerate(zip(line, widths, strict=True))) for line in lines]
    used = {row.verdict for row in rows}
    marks = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items() if mark and verdict in used)
    return "\n".join(line.rstrip() for line in [*text, "", f"{_LEGEND}{'; ' + marks if marks else ''}"])


def percent(row: Row) -> str:
    """A share with its interval, as in "41 % [38, 44]"."""
    digits = 0 if max(row.share, row.share_high - row.share_low) >= 0.1 else 1
    low, high = max(0.0, row.share_low) * 100, max(0.0, row.share_high) * 100
    return f"{max(0.0, row.share) * 100:.{digits}f} % [{low:.{digits}f}, {high:.{digits}f}]"


def _sentence(part: str, rows: Sequence[Row]) -> str:
    pairs = [best([row for row in rows if row.factor == f]) for f in dict.fromkeys(row.factor for row in rows)]
    clauses = []
    for verdict, phrase in _PHRASES:
        found = sorted((row for row in pairs if row.verdict == verdict), key=lambda row: -row.share)
        if found and verdict == "clean":
            clauses.append(f"{phrase} " + ", ".join(f"{r.factor} (at most {r.bound * 100:.1f} %)" for r in found))
        elif found:
            clauses.append(f"{phrase} " + ", ".join(_amount(row) for row in found))
    if none := [row.factor for row in pairs if row.verdict == "no evidence"]:
        clauses.append(f"no evidence for {', '.join(none)}")
    if open_ := [row for row in pairs if row.verdict == "not decided"]:
        clauses.append("not decided: " + ", ".join(_why(row) for row in open_))
    return f"{part} {'; '.join(clauses)}"


def _amount(row: Row) -> str:
    return f"{row.factor}: {percent(row)} of its {row.entropy:.1f} bits"


def _why(row: Row) -> str:
    reason = row.note.split("; ")[-1] if row.measured else row.note  # the verdict's reason comes last
    return f"{row.factor} ({reason})" if reason else row.factor


def _leaking_columns(rows: Sequence[Row]) -> list[str]:
    found = [row for row in rows if row.column is not None and row.verdict == "leaks"]
    return [f"{row.name} leaks {_amount(row)}" for row in found]


def _seats(part: str, rows: Sequence[Row]) -> str:
    [family] = families([row for row in rows if row.part == part])
    seats = sorted((seat for seat in family.seats if seat.column), key=lambda seat: -seat.held)
    if not seats:
        return ""
    told = ", ".join(f"{s.factor} in {s.column} ({s.held * 100:.0f} % of what {part} knows of it)" for s in seats)
    return f"column by column: {told}"


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    row = best(rows)
    number = f"{max(0.0, row.share) * 100:.0f} %" if row.measured else ""
    return f"{number} {MARKS[row.verdict] or ' '}"


def _column_cell(rows: Sequence[Row]) -> str:
    found = [row for row in rows if row.p_adjusted < 0.05]
    if not found:
        return "-  "
    row = best(found)
    return f"[{row.column}] {row.share * 100:.0f} % {MARKS[row.verdict] or ' '}"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)
