"""Means, intervals and ranks of a study against numbers worked out by hand."""

import csv
import io
import math

import pytest

from unbraid.study import Board, Recipe, Value
from unbraid.study.page import rank_plot, write_study

RECIPE = Recipe.from_json({"methods": ["ae", "vae", "qlae"], "data": ["discs", "digits"], "seeds": [0, 1]})
MIG = {
    ("discs", "ae"): (0.1, 0.2),
    ("discs", "vae"): (0.3, 0.3),
    ("discs", "qlae"): (0.9, 0.7),
    ("digits", "ae"): (0.5, 0.5),
    ("digits", "vae"): (0.4, 0.1),
    ("digits", "qlae"): (0.5, 0.6),
}
LOSS = {("discs", "ae"): (1.0, 2.0), ("discs", "vae"): (3.0, 4.0), ("discs", "qlae"): (5.0, 6.0)}


def values(table, score):
    return [Value(d, m, s, score, v) for (d, m), found in table.items() for s, v in enumerate(found)]


def board(recipe=RECIPE, failed=None, scores=("mig", "loss")):
    found = (*values(MIG, "mig"), *values(LOSS, "loss"))
    ends = {"mig": (0.0, 1.0)}
    return Board(recipe, found, failed or {}, scores, {"mig": True, "loss": False}, ends, tuple(recipe.cells()))


def test_places():
    places = board().places("discs", "mig")
    assert places["qlae"].mean == pytest.approx(0.8)
    assert (places["qlae"].best, places["qlae"].level) == (True, False)
    reach = 12.7062 * math.sqrt(0.02) / math.sqrt(2)  # Student's t with one degree of freedom
    assert places["qlae"].interval.high == pytest.approx(0.8 + reach, rel=1e-4)
    assert places["vae"].level, "0.6 and 0.4 apart: two seeds do not decide"
    assert board().places("discs", "loss")["ae"].best, "less is better"
    assert board().places("digits", "loss") == {}


def test_what_the_seeds_decide_is_not_level():
    tight = [Value("discs", m, s, "mig", v) for m, v in (("ae", 0.1), ("vae", 0.9), ("qlae", 0.9)) for s in (0, 1)]
    places = Board(RECIPE, tuple(tight), {}, ("mig",), {}, {}, ()).places("discs", "mig")
    assert not places["ae"].level
    assert places["vae"].best
    assert places["qlae"].best


def test_ranks():
    ranks = board().ranks()
    # mig: discs 3 2 1 and 3 2 1, digits 1.5 3 1.5 and 2 3 1; loss, on discs alone: 1 2 3 twice
    by_block = {"ae": (2, 2, 1.5, 2), "vae": (2, 2, 3, 3), "qlae": (2, 2, 1.5, 1)}
    for method, expected in by_block.items():
        assert ranks[method].mean == pytest.approx(sum(expected) / 4), method
        assert min(expected) <= ranks[method].interval.low <= ranks[method].interval.high <= max(expected)
    assert list(ranks) == ["qlae", "ae", "vae"]
    assert ranks["ae"].by_score == pytest.approx({"mig": (3 + 3 + 1.5 + 2) / 4, "loss": 1.0})


def test_a_cell_that_one_method_lacks_does_not_rank():
    kept = tuple(v for v in board().values if (v.data, v.method, v.seed) != ("discs", "vae", 1))
    ranks = Board(RECIPE, kept, {}, ("mig",), {}, {}, ()).ranks()
    assert ranks["vae"].mean == pytest.approx((2 + 3 + 3) / 3)
    assert Board(RECIPE, (), {}, ("mig",), {}, {}, ()).ranks() == {}
    assert Board(RECIPE, kept, {}, (), {}, {}, ()).ranks() == {}


def test_the_files(tmp_path):
    page = write_study(tmp_path, board(failed={"vae-discs-s1": "expected <more>"})).read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(rows) == 18
    assert rows[0] == {"data": "discs", "method": "ae", "seed": "0", "score": "mig", "value": "0.1"}
    best = [r for r in csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())) if r["place"] == "best"]
    assert {(r["data"], r["score"], r["method"]) for r in best} == {
        ("discs", "mig", "qlae"),
        ("discs", "loss", "ae"),
        ("digits", "mig", "qlae"),
    }
    assert "expected &lt;more&gt;" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "Loss ↓" in page


def test_one_method_has_no_rank_plot(tmp_path):
    alone = Recipe.from_json({"methods": ["ae"], "data": ["discs"], "seeds": [0]})
    single = Board(alone, (Value("discs", "ae", 0, "mig", 0.5),), {}, ("mig",), {}, {}, tuple(alone.cells()))
    assert rank_plot(single.ranks()) == ""
    assert "0.5" in write_study(tmp_path, single).read_text()


def test_ranks_over_few_data_sets_are_told_apart_only_from_afar():
    assert board().critical == pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 2)), rel=1e-3)
    alone = Recipe.from_json({"methods": ["ae", "vae", "qlae"], "data": ["discs"], "seeds": [0, 1]})
    assert board(alone).critical == math.inf


def test_who_learned_from_what_and_was_judged_on_what():
    found = [Value("discs", "ae", s, f"accuracy on {d}", v) for d, v in (("a", 0.5), ("b", 0.75)) for s in (0, 1)]
    found += [Value("digits", "ae", 0, "accuracy on b", 1.0)]
    rows = list(csv.reader(io.StringIO(Board(RECIPE, tuple(found), {}, (), {}, {}, ()).across_csv())))
    assert rows == [
        ["method", "learned from", "accuracy on a", "accuracy on b"],
        ["ae", "discs", "0.5", "0.75"],
        ["ae", "digits", "", "1"],
    ]
    assert board().across_csv() == ""


def test_scores_that_go_together():
    [row] = list(csv.DictReader(io.StringIO(board().correlations_csv())))
    # means on discs, where both are: mig .15 .3 .8, loss 1.5 3.5 5.5
    assert row == {"score": "mig", "other": "loss", "correlation": "1", "pairs": "3"}
