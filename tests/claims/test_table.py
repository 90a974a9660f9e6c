import json
import subprocess
import sys
from pathlib import Path

import pytest

from unbraid.claims import claim_of, claimed
from unbraid.claims.claim import Result
from unbraid.claims.table import load, main, markdown, measured, terminal
from unbraid.core.errors import RunError

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"

ROWS = [
    Result("qlae", "A fact.", "gradient", 0.0, 0.0, "same", 0.0, None, (), 0.1, "holds"),
    Result("qlae", "A long sentence " * 8, "infoe", 0.75, 0.5, "better", 0.1, (0.2, 0.3), (11, 12), 1.2, "holds"),
    Result("qlae", "A number.", "infom", 0.4, 0.5, "report", 0.0, (-0.3, 0.1), (11, 12), 1.2, "not decided"),
    Result("ae", "Another.", "mig", 0.4, 0.5, "worse", 0.0, (-0.3, 0.1), (11, 12), 1.2, "not decided"),
]


def test_terminal():
    text = terminal(ROWS)
    assert text.splitlines()[0] == "qlae: holds   (seeds 11, 12; up to 1.2 minutes a row)"
    assert "ae: not decided" in text
    assert "0.25 [0.2, 0.3]" in text
    assert "better by 0.1" in text
    assert "only reported" in text
    assert max(map(len, text.splitlines())) < 160


def test_markdown():
    text = markdown(ROWS)
    assert "| qlae | holds | 2 of 2 rows hold |" in text
    assert "| ae | not decided | 0 of 1 rows hold |" in text
    assert claim_of("qlae").note in text
    assert "- **mig** (more is better)" in text
    lines = text.splitlines()
    table = [line for line in lines if line.startswith(("| - |", "| holds |"))]
    assert [line.count("|") for line in table] == [8, 8, 8]


def test_the_page_is_what_the_results_give():
    assert PAGE.read_text(encoding="utf-8") == markdown(measured())


def test_the_results_are_those_of_the_claims_as_they_stand():
    rows = measured()
    assert {row.method for row in rows} == set(claimed())
    for name in claimed():
        claim = claim_of(name)
        found = [(r.claim, r.metric, r.expect, r.margin) for r in rows if r.method == name and r.seeds]
        assert found == [(c.claim, c.metric, c.expect, c.margin) for c in claim.contrasts]
        assert all(r.seeds == claim.seeds for r in rows if r.method == name and r.seeds)
        assert bool(claim.gates) == any(not r.seeds for r in rows if r.method == name)


def test_the_program_writes_the_page(tmp_path):
    page = tmp_path / "claims.md"
    command = [sys.executable, "-W", "error", "-m", "unbraid.claims.table", str(page)]
    subprocess.run(command, check=True)
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="usage"):
        main([])


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps([{"method": "ae"}]), json.dumps({"a": 1})])
def test_a_damaged_results_file_is_named(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    if text == "{}":
        assert load(path) == []
        return
    with pytest.raises(RunError, match="results"):
        load(path)


def test_numbers_that_are_not_finite_are_shown_as_such():
    row = {**ROWS[2].to_json(), "ours": None, "interval": None}
    assert "nan" in terminal([Result.from_json(row)])
