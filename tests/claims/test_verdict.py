import pytest

from unbraid.claims.claim import Gate, Result
from unbraid.claims.verdict import judge, judge_gate, of_method

UP, DOWN, NEAR = [0.9, 0.8, 0.85], [0.1, 0.12, 0.09], [0.9, 0.1, 0.5]
BASE = [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("ours", "expect", "more", "verdict"),
    [
        (UP, "better", True, "holds"),
        (DOWN, "better", True, "does not hold"),
        (NEAR, "better", True, "not decided"),
        (UP, "better", False, "does not hold"),
        (DOWN, "better", False, "holds"),
        (UP, "worse", True, "does not hold"),
        (DOWN, "worse", True, "holds"),
        (UP, "worse", False, "holds"),
        (UP, "report", True, "not decided"),
    ],
)
def test_direction_and_expectation(ours, expect, more, verdict):
    assert judge(ours, BASE, expect, more=more) == verdict


def test_the_margin_must_be_exceeded_by_the_whole_interval():
    assert judge(UP, BASE, "better", margin=0.1) == "holds"
    assert judge(UP, BASE, "better", margin=0.35) == "not decided"
    assert judge(UP, BASE, "better", margin=0.9) == "does not hold"
    assert judge(DOWN, BASE, "better", margin=0.1, more=False) == "holds"
    assert judge(DOWN, BASE, "better", margin=0.9, more=False) == "does not hold"


def test_the_same_is_within_the_margin_not_merely_undecided():
    close = [0.51, 0.5, 0.49]
    assert judge(close, BASE, "same", margin=0.1) == "holds"
    assert judge(close, BASE, "same", margin=0.001) == "not decided"
    assert judge(NEAR, BASE, "same", margin=0.1) == "not decided"
    assert judge(UP, BASE, "same", margin=0.1) == "does not hold"


def test_one_seed_decides_nothing():
    assert judge([0.9], [0.1], "better") == "not decided"
    assert judge([0.5], [0.5], "same", margin=1.0) == "not decided"


@pytest.mark.parametrize(
    ("ours", "demanded", "expect", "margin", "verdict"),
    [
        (0.0, 0.0, "same", 0.0, "holds"),
        (1e-30, 0.0, "same", 0.0, "does not hold"),
        (1e-8, 0.0, "same", 1e-6, "holds"),
        (1e-30, 0.0, "better", 0.0, "holds"),
        (0.0, 0.0, "better", 0.0, "does not hold"),
        (-1.0, 0.0, "worse", 0.5, "holds"),
        (float("nan"), 0.0, "same", 1.0, "does not hold"),
        (float("nan"), 0.0, "better", 0.0, "does not hold"),
    ],
)
def test_gates_are_exact(ours, demanded, expect, margin, verdict):
    assert judge_gate(Gate("a fact", "number", ours, demanded, expect, margin)) == verdict


def row(verdict, expect="better"):
    return Result("m", "c", "x", 1.0, 0.0, expect, 0.0, None, (), 0.0, verdict)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row("holds"), row("holds")], "holds"),
        ([row("holds"), row("not decided")], "not decided"),
        ([row("holds"), row("not decided"), row("does not hold")], "does not hold"),
        ([row("holds"), row("not decided", expect="report")], "holds"),
        ([row("not decided", expect="report")], "not decided"),
        ([], "not decided"),
    ],
)
def test_a_method_is_judged_by_what_it_asserts(rows, verdict):
    assert of_method(rows) == verdict
