import math

import pytest

from unbraid.audit.rows import Row, judged


def row(
    part="z", factor="f", p=1e-6, share=0.3, low=0.2, high=0.4, bound=0.45, declared="", probe="linear", column=None
):
    return Row(part, column, factor, probe, share, low, high, share, low, high, 1.0, bound, 100, p, declared=declared)


def verdicts(*rows):
    return [r.verdict for r in judged(rows, 0.05)]


def test_undeclared_pairs_are_described():
    assert verdicts(row(), row(factor="g", p=0.4)) == ["knows", "no evidence"]


def test_a_declared_part_carries_only_what_is_surely_there():
    assert verdicts(row(declared="carries")) == ["carries"]
    assert verdicts(row(declared="carries", low=0.02)) == ["not decided"]
    assert verdicts(row(declared="carries", p=0.5, share=0.0)) == ["not decided"]


def test_absence_of_evidence_is_not_cleanliness():
    assert verdicts(row(declared="free_of")) == ["leaks"]
    assert verdicts(row(declared="free_of", p=0.5, bound=0.2)) == ["not decided"]
    assert verdicts(row(declared="free_of", p=0.5, bound=0.01)) == ["clean"]


def test_all_probes_of_a_pair_share_the_verdict_of_the_one_that_finds_most():
    pair = [row(declared="free_of", p=0.5, bound=0.01), row(declared="free_of", probe="mlp")]
    assert verdicts(*pair) == ["leaks", "leaks"]
    doubt = [row(declared="free_of", p=0.5, bound=0.01), row(declared="free_of", p=0.5, bound=0.1, probe="mlp")]
    assert verdicts(*doubt) == ["not decided", "not decided"]


def test_p_values_are_adjusted_over_the_page_columns_included_and_what_was_not_measured_does_not_count():
    rows = [
        row(p=0.01),
        row(factor="g", p=0.02),
        row(factor="h", p=0.9, column=0, probe="table"),
        Row("z", None, "k", ""),
    ]
    found = judged(rows, 0.05)
    assert [r.p_adjusted for r in found[:3]] == pytest.approx([0.03, 0.04, 0.9])
    assert math.isnan(found[3].p_adjusted)
    assert found[3].verdict == "not decided"
