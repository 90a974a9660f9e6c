"""One line of the leakage table, and the verdict on it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbraid.metrics.stats import holm

Declared = Literal["carries", "free_of", ""]
Verdict = Literal["carries", "clean", "leaks", "knows", "no evidence", "not decided"]

ALPHA = 0.05
"""Chance that a page on which nothing is known accuses anything."""
CARRIES_FROM = 0.05
"""Share of a factor's entropy that the interval's lower end must exceed before a part is said to carry it."""


@dataclass(frozen=True)
class Row:
    """What one probe reads of one factor from one part or column. Numbers are NaN where nothing was measured.

    Attributes:
        part: The part.
        column: The column of a family, None for the whole part.
        factor: The factor, or the role that no factor is mapped to.
        probe: "linear", "mlp", "table" (of a column), a column such as "latents[3]" where a whole family is judged by
            what that column knows, or "" where none was run.
        bits: Information in bits per item; a little below 0 by chance when there is none.
        low, high: Its 95 % interval; both ends may be below 0.
        share, share_low, share_high: The same, divided by the entropy; 1 is all there is to know.
        entropy: Bits there are to know, within the folds.
        bound: Share that the part could hold at most, counting what a probe taught by so few items would miss.
        samples: Items counted.
        p: Chance that shuffled labels score as high.
        p_adjusted: The same after Holm's correction for all rows of the page.
        verdict: *carries*, *clean*, *leaks* or *not decided* for declared pairs; *knows* or *no evidence* for others.
        declared: What the part was declared to do with the factor, "" for nothing.
        note: What a reader should know.
    """

    part: str
    column: int | None
    factor: str
    probe: str
    bits: float = math.nan
    low: float = math.nan
    high: float = math.nan
    share: float = math.nan
    share_low: float = math.nan
    share_high: float = math.nan
    entropy: float = math.nan
    bound: float = math.nan
    samples: int = 0
    p: float = math.nan
    p_adjusted: float = math.nan
    verdict: Verdict = "not decided"
    declared: Declared = ""
    note: str = ""

    @property
    def name(self) -> str:
        """The part, or the column as in "latents[3]"."""
        return self.part if self.column is None else f"{self.part}[{self.column}]"

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.p)


def judged(rows: Sequence[Row], clean_below: float) -> tuple[Row, ...]:
    """The rows with adjusted p-values and verdicts; all probes of a pair share a verdict.

    Args:
        rows: The whole page.
        clean_below: Share of the entropy that a part may hold at most to be called clean.
    """
    measured = [i for i, row in enumerate(rows) if row.measured]
    found = list(rows)
    for i, p in zip(measured, holm(np.array([rows[i].p for i in measured])), strict=True):
        found[i] = dataclasses.replace(rows[i], p_adjusted=float(p))
    found += _through_columns(found)
    pairs: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(found):
        if row.measured:
            pairs.setdefault((row.name, row.factor), []).append(i)
    for indices in pairs.values():
        verdict, note = _verdict([found[i] for i in indices], clean_below)
        bound = max(found[i].bound for i in indices)  # of the part, whichever probe leaves most room
        for i in indices:
            notes = "; ".join(n for n in (found[i].note, note) if n)
            found[i] = dataclasses.replace(found[i], verdict=verdict, note=notes, bound=bound)
    return tuple(found)


def _through_columns(rows: Sequence[Row]) -> list[Row]:
    """Of each family and factor the column that tells most, as a row of the family: it knows what its columns know.

    These repeat what was measured, so they enter no correction for the number of questions.
    """
    whole: dict[tuple[str, str], list[Row]] = {}
    single: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.measured:
            (whole if row.column is None else single).setdefault((row.part, row.factor), []).append(row)
    found = []
    for pair, columns in single.items():
        if pair in whole:
            row, declared = best(columns), whole[pair][0].declared
            bound = max(row.share_high, *(w.bound for w in whole[pair]))
            found.append(dataclasses.replace(row, column=None, probe=row.name, declared=declared, bound=bound))
    return found


def best(rows: Sequence[Row]) -> Row:
    """The row of the probe that reads most; the first one where nothing was measured."""
    return max(rows, key=lambda row: -math.inf if math.isnan(row.bits) else row.bits)


def _verdict(rows: Sequence[Row], clean_below: float) -> tuple[Verdict, str]:
    """Of one part or column and one factor, from all its probes, and the reason where there is one."""
    found = any(row.p_adjusted < ALPHA for row in rows)
    most, bound = best(rows), max(row.bound for row in rows)
    if rows[0].declared == "free_of":
        if found:
            return "leaks", ""
        if bound < clean_below:
            return "clean", ""
        return "not decided", f"{most.samples} items leave room for {bound * 100:.1f} % of it"
    if rows[0].declared == "carries":
        if found and any(row.p_adjusted < ALPHA and row.share_low > CARRIES_FROM for row in rows):
            return "carries", ""
        if found:
            return "not decided", f"some of it is there, but not surely more than {CARRIES_FROM * 100:.0f} %"
        return "not decided", "no sign that it carries it"
    return ("knows" if found else "no evidence"), ""
