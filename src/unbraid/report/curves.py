"""Training curves as inline SVG, one small chart per term, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from unbraid.report.words import finite, number

_WIDTH, _HEIGHT = 340, 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 8, 24
_MOST_POINTS = 300
_LOG_ABOVE = 10.0  # ratio of the largest value to the middle one from which a logarithmic axis shows more

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One term of the series.

    Attributes:
        name: The term, without its update's name where there is only one.
        points: (step over all stages, value), gaps left out.
        stages: (name, first step) of every stage of the run.
        end: Step over all stages at which the run ended.
    """

    name: str
    points: tuple[Point, ...]
    stages: tuple[tuple[str, float], ...]
    end: float

    @property
    def log(self) -> bool:
        """Whether the values call for a logarithmic axis."""
        values = sorted(y for _, y in self.points)
        spread = values[0] > 0 and values[-1] / values[0] > _LOG_ABOVE
        return spread and values[len(values) // 2] < values[-1] / _LOG_ABOVE

    @property
    def last(self) -> str:
        """The last value as text."""
        return number(self.points[-1][1])


def curves(lines: Iterable[Mapping[str, Any]], field: str = "terms") -> list[Curve]:
    """The curves of a series.

    Args:
        lines: Objects {"stage", "step", "terms": {name: value}, "notes": {...}} in the order they were logged.
        field: "terms" or "notes".
    """
    stages: list[tuple[str, float]] = []
    points: dict[str, list[Point]] = {}
    offset = end = 0.0
    for line in lines:
        step, stage = finite(line.get("step")), str(line.get("stage", ""))
        if step is None:
            continue
        if not stages or stages[-1][0] != stage:
            offset = end
            stages.append((stage, offset))
        end = offset + step + 1
        for name, value in (line.get(field) or {}).items():
            y = finite(value)
            if y is not None:
                points.setdefault(str(name), []).append((offset + step, y))
    short = _shortened(points)
    return [Curve(short[name], tuple(p), tuple(stages), end) for name, p in points.items() if len(p) > 1]


def svg(curve: Curve) -> str:
    """The chart; its text and lines take the page's colours by class."""
    up = math.log10 if curve.log else float
    heights = [up(y) for _, y in curve.points]
    low, high = min(heights), max(heights)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - margin, high + margin

    def at(point: Point) -> Point:
        x = _LEFT + point[0] / max(1.0, curve.end - 1) * (_WIDTH - _LEFT - _RIGHT)
        return x, _HEIGHT - _BOTTOM - (up(point[1]) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    first, last = curve.points[0], curve.points[-1]
    said = f"{curve.name}: {number(first[1])} at step {number(first[0])}, {number(last[1])} at step {number(last[0])}"
    pieces = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}">']
    pieces += [_across(at((0.0, y))[1], number(y)) for y in _y_ticks(low, high, curve.log)]
    pieces += [_down(at((x, first[1]))[0], number(x)) for x in ticks(0, max(1.0, curve.end - 1), 4)]
    pieces += [_border(at((x, first[1]))[0], name) for name, x in curve.stages[1:]]
    thinned = _thinned(curve.points)
    smooth = _smoothed(curve.points)
    pieces.append(f'<path class="raw" d="{_path(map(at, thinned))}"/>')
    pieces.append(f'<path class="line" d="{_path(map(at, _thinned(smooth)))}"/>')
    x, y = at(smooth[-1])
    pieces.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/></svg>')
    return "".join(pieces)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between two ends, about `count` of them.

    >>> ticks(0, 2999, 4)
    [0.0, 1000.0, 2000.0]
    """
    rough = (high - low) / max(1, count)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = min((m * scale for m in (1, 2, 2.5, 5, 10) if m * scale >= rough * 0.999), default=10 * scale)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _y_ticks(low: float, high: float, log: bool) -> list[float]:
    if not log:
        return ticks(low, high, 4)
    decades = [10.0**d for d in range(math.ceil(low), math.floor(high) + 1)]
    finer = [m * 10.0**d for d in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    return decades if len(decades) > 2 else [y for y in finer if low <= math.log10(y) <= high]


def _shortened(points: Mapping[str, Sequence[Point]]) -> dict[str, str]:
    prefixes = {name.partition("/")[0] for name in points if "/" in name}
    one = len(prefixes) == 1 and all("/" in name for name in points)
    return {name: name.partition("/")[2] if one else name for name in points}


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(i * step)] for i in range(_MOST_POINTS)]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """A running mean over about a twentieth of the points, equal weights at the ends as far as they reach."""
    reach = max(1, len(points) // 40)
    values = [y for _, y in points]
    smooth = []
    for i, (x, _) in enumerate(points):
        near = min(reach, i, len(points) - 1 - i)
        smooth.append((x, math.fsum(values[i - near : i + near + 1]) / (2 * near + 1)))
    return smooth


def _path(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _across(y: float, text: str) -> str:
    grid = f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
    return f'{grid}<text x="{_LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{escape(text)}</text>'


def _down(x: float, text: str) -> str:
    anchor = "end" if x > _WIDTH - 30 else "middle"
    return f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{escape(text)}</text>'


def _border(x: float, name: str) -> str:
    line = f'<path class="border" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
    return f'{line}<text x="{x + 4:.1f}" y="{_TOP + 9}">{escape(name)}</text>'
