"""What an audit found, laid out for a page: the heat map, the findings in order of weight, the answer in a sentence.

Reads `audit.json` as plain data: rows of {part, column, factor, probe, bits, share, share_low, share_high, verdict,
declared, note, ...}, scores and gauges by part, notes, sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbraid.report.palette import level
from unbraid.report.words import THIN, finite, interval, listed, percent

Row = Mapping[str, Any]

_WEIGHT = {"leaks": 5, "carries": 4, "knows": 3, "not decided": 2, "clean": 1, "no evidence": 0}
_MARKS = {"leaks": "✕ leaks", "carries": "✓ carries", "clean": "✓ clean", "not decided": "? undecided"}
_MOST_COLUMNS, _MOST_FINDINGS, _MOST_NAMED, _MOST_PARTS = 40, 9, 7, 4
_VERDICTS = (
    ("leaks", "{who} still {know} {what}, which {it} should not.", True),
    ("knows", "{who} {know} {what}.", True),
    ("carries", "{who} {carry} {what}, as {it} should.", True),
    ("clean", "{who} {be} clean of {what}.", False),
    ("no evidence", "There is no evidence that {late} {know} {what}.", False),
    ("not decided", "It is not decided whether {late} {know} {what}.", False),
)
_VERBS = {
    True: {"know": "know", "carry": "carry", "be": "are"},
    False: {"know": "knows", "carry": "carries", "be": "is"},
}
_LITTLE = 0.25  # share below which a part knows too little of a factor to say where it lies
_SEAT = 0.5  # share of what a part knows of a factor that one column must hold, for the factor to lie there


@dataclass(frozen=True)
class Cell:
    """One part or column and one factor.

    Attributes:
        share: Of the factor's entropy, as text.
        range: Its interval, as text; may be empty.
        shade: Level of the palette.
        verdict: As the audit says it.
        mark: The verdict as a short text; empty for "knows" and "no evidence".
        declared: "should" or "should not" know the factor, or empty.
        title: Everything in one line, for pointers.
    """

    share: str
    range: str
    shade: int
    verdict: str
    mark: str
    declared: str
    title: str


@dataclass(frozen=True)
class Line:
    """A row of the heat map; a cell is None where the audit has nothing."""

    name: str
    whole: bool
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class HeatMap:
    """The leakage table.

    Attributes:
        factors: Names, with the entropy in bits as text.
        lines: Parts, each followed by its columns.
        left_out: Columns that are not shown because they know least.
        declared: Whether any cell is declared.
        verdicts: Those that occur, heaviest first.
    """

    factors: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    left_out: int
    declared: bool
    verdicts: tuple[str, ...]

    @property
    def cell(self) -> int:
        """Least width of a cell in CSS pixels: few factors spread out, many move together."""
        return max(84, min(128, 880 // len(self.factors)))


@dataclass(frozen=True)
class Finding:
    """What one part knows of one factor, for the first screen.

    Attributes:
        factor: Its name.
        part: Name of the part.
        share: Of the factor's entropy that the whole part knows, 0..1.
        text: The same as text, with the interval.
        column: The column that knows most; empty without columns.
        column_share: Its share, 0..1.
        column_text: The same as text.
        verdict: As the audit says it.
        mark: The verdict as a short text; empty for "knows".
        bound: Share that could be there at most, as text; for clean and undecided pairs.
        declared: "should", "should not" or empty.
    """

    factor: str
    part: str
    share: float
    text: str
    range: str
    column: str
    column_share: float
    column_text: str
    verdict: str
    mark: str
    bound: str
    declared: str


def rows_of(audit: Mapping[str, Any]) -> list[Row]:
    """The rows that name a part and a factor."""
    return [row for row in audit.get("rows") or () if "part" in row and "factor" in row]


def heat_map(audit: Mapping[str, Any]) -> HeatMap | None:
    """The leakage table; None without rows."""
    strongest = _strongest(rows_of(audit))
    if not strongest:
        return None
    factors = list(dict.fromkeys(str(row["factor"]) for row in strongest.values()))
    parts = list(dict.fromkeys(part for part, _, _ in strongest))
    lines: list[Line] = []
    left_out = 0
    for part in parts:
        columns = sorted({column for p, column, _ in strongest if p == part and column is not None})
        kept = _most_telling(strongest, part, columns, factors)
        left_out += len(columns) - len(kept)
        for column in (None, *kept):
            cells = tuple(_cell(strongest.get((part, column, factor))) for factor in factors)
            if any(cells):
                lines.append(Line(part if column is None else f"{part}[{column}]", column is None, cells))
    found = [cell for line in lines for cell in line.cells if cell]
    verdicts = sorted({cell.verdict for cell in found}, key=lambda v: -_WEIGHT.get(v, 0))
    heads = tuple((factor, _entropy(strongest, factor)) for factor in factors)
    return HeatMap(heads, tuple(lines), left_out, any(cell.declared for cell in found), tuple(verdicts))


def findings(audit: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The pairs of part and factor that matter most, heaviest verdict first; declared pairs before others.

    In a single part they keep the order of the factors, so that the eye finds them again.
    """
    strongest = _strongest(rows_of(audit))
    wholes = [row for (_, column, _), row in strongest.items() if column is None]
    several = len({row["part"] for row in wholes}) > 1
    found = [_finding(row, strongest) for row in wholes]
    if several or len(found) > _MOST_FINDINGS or any(f.declared for f in found):
        found.sort(key=lambda f: (not f.declared, -_WEIGHT.get(f.verdict, 0), -f.share))
    return tuple(found[:_MOST_FINDINGS])


def answer(audit: Mapping[str, Any]) -> str:
    """What plain codes know, in a few sentences.

    >>> rows = [{"part": "codes", "column": None, "factor": "site", "share": 0.62, "verdict": "leaks"},
    ...         {"part": "codes", "column": None, "factor": "sex", "share": 0.001, "verdict": "no evidence"}]
    >>> answer({"rows": rows}).replace("\u202f", " ")
    'The codes still know site (62 %), which they should not. There is no evidence that they know sex.'
    """
    wholes = _wholes(_strongest(rows_of(audit)))
    if len(wholes) == 1:
        return _verdicts(next(iter(wholes.values())), "The codes", plural=True)
    guilty_first = sorted(wholes, key=lambda part: -max(_WEIGHT.get(str(r.get("verdict")), 0) for r in wholes[part]))
    return " ".join(_verdicts(wholes[part], f"“{part}”", plural=False) for part in guilty_first[:_MOST_PARTS])


def sentences(audit: Mapping[str, Any]) -> list[str]:
    """What was found, in plain words; the audit's own sentences where it brings some.

    >>> rows = [{"part": "z", "column": c, "factor": "x", "share": s, "verdict": "knows"} for c, s in
    ...         ((None, 0.97), (3, 0.84))]
    >>> [s.replace("\u202f", " ") for s in sentences({"rows": rows})]
    ['x lies in z[3] (84 %).']
    """
    if given := audit.get("sentences"):
        return [str(s).replace(" %", f"{THIN}%") for s in given]
    strongest = _strongest(rows_of(audit))
    found: list[str] = []
    for part, rows in _wholes(strongest).items():
        columns = sorted({c for p, c, _ in strongest if p == part and c is not None})
        # For a family whose factors were not declared, where they lie says it all.
        if not columns or any(_declared(row) for row in rows):
            found.append(_verdicts(rows, part, plural=False))
        if columns:
            found += _seats(part, rows, columns, strongest)
    return found


def _wholes(strongest: Mapping[tuple[str, int | None, str], Row]) -> dict[str, list[Row]]:
    wholes: dict[str, list[Row]] = {}
    for (part, column, _), row in strongest.items():
        if column is None:
            wholes.setdefault(part, []).append(row)
    return wholes


def _verdicts(rows: Sequence[Row], who: str, *, plural: bool) -> str:
    """A sentence for each verdict, those that matter most first."""
    ordered = sorted(rows, key=lambda row: -(finite(row.get("share")) or 0))
    it = "they" if plural else "it"
    said: list[str] = []
    for verdict, sentence, with_share in _VERDICTS:
        named = [row for row in ordered if str(row.get("verdict")) == verdict]
        words = [
            f"{row['factor']} ({percent(row.get('share'))})" if with_share else str(row["factor"]) for row in named
        ]
        if words:
            what = listed(_few(words), "or" if verdict == "no evidence" else "and")
            names = {"who": it.capitalize() if said else who, "late": it if said else who[:1].lower() + who[1:]}
            said.append(sentence.format(it=it, what=what, **names, **_VERBS[plural]))
    return " ".join(said)


def _seats(
    part: str, rows: Sequence[Row], columns: Sequence[int], strongest: Mapping[tuple[str, int | None, str], Row]
) -> list[str]:
    """Where in a family the factors lie, which are spread over it, and which columns know nothing."""
    known = sorted((_finding(row, strongest) for row in rows), key=lambda f: -f.column_share)
    known = [f for f in known if f.verdict in ("knows", "carries", "leaks")]
    little = [f for f in known if f.share < _LITTLE]
    seated = [f for f in known if f not in little and _lies_in_one(f, strongest)]
    found = []
    if seated:
        words = _few(
            [f"{f.factor} {'lies ' if i == 0 else ''}in {f.column} ({f.column_text})" for i, f in enumerate(seated)]
        )
        found.append(f"{listed(words)}.")
    for f in [f for f in known if f not in seated and f not in little][:3]:
        most = f", the most in {f.column} ({f.column_text})" if f.column else ""
        found.append(f"{f.factor} is spread over several columns: {part} knows {f.text} of it{most}.")
    if little:
        found.append(f"Of {listed(_few([f'{f.factor} only {f.text}' for f in little]))} can be read at all.")
    if nothing := [str(row["factor"]) for row in rows if str(row.get("verdict")) == "no evidence"]:
        found.append(f"There is no evidence that {part} knows {listed(_few(nothing), 'or')}.")
    idle = [c for c in columns if not any(_knows(r) for (p, k, _), r in strongest.items() if p == part and k == c)]
    if idle:
        one = f"{part}[{idle[0]}] shows"
        many = f"{len(idle)} of {len(columns)} columns show"
        found.append(f"{one if len(idle) == 1 else many} no knowledge of any factor.")
    return found


def _lies_in_one(found: Finding, strongest: Mapping[tuple[str, int | None, str], Row]) -> bool:
    """Whether one column holds most of what the part knows of a factor, and far more than any other column."""
    rows = [r for (p, c, f), r in strongest.items() if p == found.part and f == found.factor and c is not None]
    shares = sorted((finite(row.get("share")) or 0.0 for row in rows), reverse=True)
    second = shares[1] if len(shares) > 1 else 0.0
    return bool(shares) and shares[0] >= _SEAT * found.share and second < _SEAT * shares[0]


def _knows(row: Row) -> bool:
    return str(row.get("verdict")) in ("knows", "carries", "leaks")


def _few(words: list[str]) -> list[str]:
    if len(words) <= _MOST_NAMED:
        return words
    return [*words[: _MOST_NAMED - 1], f"{len(words) - _MOST_NAMED + 1} more"]


def _strongest(rows: Sequence[Row]) -> dict[tuple[str, int | None, str], Row]:
    """Of several probes the one whose verdict weighs most, then the one that reads most."""
    best: dict[tuple[str, int | None, str], Row] = {}
    for row in rows:
        column = row.get("column")
        key = (str(row["part"]), None if column is None else int(column), str(row["factor"]))
        if key not in best or _order(row) > _order(best[key]):
            best[key] = row
    return best


def _order(row: Row) -> tuple[int, float]:
    return _WEIGHT.get(str(row.get("verdict")), 0), finite(row.get("share")) or 0.0


def _most_telling(
    strongest: Mapping[tuple[str, int | None, str], Row], part: str, columns: list[int], factors: list[str]
) -> list[int]:
    if len(columns) <= _MOST_COLUMNS:
        return columns

    def most(column: int) -> float:
        found = (strongest.get((part, column, factor)) for factor in factors)
        return max((finite(row.get("share")) or 0.0 for row in found if row), default=0.0)

    return sorted(sorted(columns, key=most, reverse=True)[:_MOST_COLUMNS])


def _declared(row: Row) -> str:
    said = str(row.get("declared") or "")
    if "free" in said or "not" in said:
        return "should not"
    return "should" if "carr" in said or "should" in said else ""


def _cell(row: Row | None) -> Cell | None:
    if row is None:
        return None
    verdict = str(row.get("verdict") or "")
    share, around = percent(row.get("share")), interval(row.get("share_low"), row.get("share_high"))
    declared = _declared(row)
    words = [f"{row['factor']}: {share} of its entropy", f"95 % interval {around} %" if around else ""]
    words += [f"at most {_bound(row)}" if _bound(row) else ""]
    words += [f"{row['probe']} probe" if row.get("probe") else "", verdict]
    words += [f"{declared} know it" if declared else "", str(row.get("note") or "")]
    shade = level(finite(row.get("share")) or 0.0)
    text = "; ".join(word for word in words if word)
    return Cell(share, around, shade, verdict, _MARKS.get(verdict, ""), declared, text)


def _finding(row: Row, strongest: Mapping[tuple[str, int | None, str], Row]) -> Finding:
    part, factor = str(row["part"]), str(row["factor"])
    columns = [(c, r) for (p, c, f), r in strongest.items() if p == part and f == factor and c is not None]
    column, best = max(columns, key=lambda item: finite(item[1].get("share")) or 0.0, default=(None, {}))
    share, column_share = finite(row.get("share")) or 0.0, finite(best.get("share")) or 0.0
    verdict = str(row.get("verdict") or "")
    return Finding(
        factor,
        part,
        max(0.0, min(1.0, share)),
        percent(row.get("share")),
        interval(row.get("share_low"), row.get("share_high")),
        "" if column is None else f"{part}[{column}]",
        max(0.0, min(1.0, column_share)),
        percent(best.get("share")),
        verdict,
        "" if verdict == "knows" else _MARKS.get(verdict, verdict),
        _bound(row) if verdict in ("clean", "not decided") else "",
        _declared(row),
    )


def _bound(row: Row) -> str:
    bound = finite(row.get("bound"))
    return "" if bound is None else percent(min(1.0, bound))


def _entropy(strongest: Mapping[tuple[str, int | None, str], Row], factor: str) -> str:
    bits = [finite(row.get("entropy")) for (_, _, f), row in strongest.items() if f == factor]
    known = [b for b in bits if b is not None]
    return f"{max(known):.2f} bits" if known else ""
