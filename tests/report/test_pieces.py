from __future__ import annotations

import math
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from unbraid.report.curves import curves, svg, ticks
from unbraid.report.knowledge import sentences
from unbraid.report.palette import LEVELS, contrast, level, shades


@pytest.mark.parametrize("dark", [False, True])
def test_every_shade_can_be_read(dark: bool) -> None:
    found = shades(dark)
    assert len(found) == LEVELS + 1
    assert min(contrast(ground, ink) for ground, ink in found) >= 4.5
    steps = [contrast(ground, found[0][0]) for ground, _ in found]
    assert steps == sorted(steps)
    assert level(float(1)) == LEVELS


def test_stages_follow_each_other() -> None:
    lines = [{"stage": s, "step": i, "terms": {"a/loss": 1.0 + i}} for s in ("one", "two") for i in range(10)]
    [curve] = curves(lines)
    assert curve.name == "loss"
    assert curve.stages == (("one", 0.0), ("two", 10.0))
    assert curve.points[10] == (10.0, 1.0)
    assert curve.end == 20
    assert "two" in svg(curve)


def test_names_keep_their_update_where_there_are_several() -> None:
    lines = [{"stage": "fit", "step": i, "terms": {"g/loss": 1.0, "d/loss": 2.0}} for i in range(3)]
    assert [c.name for c in curves(lines)] == ["g/loss", "d/loss"]


@pytest.mark.parametrize(
    "values",
    [[1.0, 1.0, 1.0], [0.0, 0.0], [-5.0, 5.0], [1e-12, 1e12, 1.0, 1.0], [math.pi * 1e30, 1.0, 2.0], [1.0] * 5000],
)
def test_any_numbers_make_a_chart(values: list[float]) -> None:
    [curve] = curves([{"stage": "fit", "step": i, "terms": {"a": v}} for i, v in enumerate(values)])
    drawn = svg(curve)
    HTMLParser().feed(drawn)
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert len(drawn) < 20_000


def test_a_steep_fall_is_logarithmic_and_a_rise_is_not() -> None:
    fall = [{"stage": "fit", "step": i, "terms": {"a": 1000 * math.exp(-i / 5) + 1}} for i in range(100)]
    rise = [{"stage": "fit", "step": i, "terms": {"a": 10.01 - 10 * math.exp(-i / 5)}} for i in range(100)]
    assert curves(fall)[0].log
    assert not curves(rise)[0].log


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3e-7, 2e-7), (0, 299999), (17.2, 17.3)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 4)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 * abs(high) <= t <= high + 1e-9 * abs(high) for t in found)


def test_a_factor_lies_in_a_column_only_when_no_other_holds_as_much(audit_row: Callable[..., dict[str, Any]]) -> None:
    rows = [audit_row("z", c, "x", s, "knows") for c, s in ((None, 0.9), (0, 0.8), (1, 0.1), (2, 0.0))]
    rows += [audit_row("z", c, "scale", s, "knows") for c, s in ((None, 0.7), (0, 0.02), (1, 0.5), (2, 0.45))]
    rows += [audit_row("z", c, "hue", 0.0, "no evidence") for c in (None, 0, 1, 2)]
    assert [s.replace("\u202f", " ") for s in sentences({"rows": rows})] == [
        "x lies in z[0] (80 %).",
        "scale is spread over several columns: z knows 70 % of it, the most in z[1] (50 %).",
        "There is no evidence that z knows hue.",
    ]
