import json

import pytest
import torch

from unbraid.core.errors import RunError
from unbraid.core.outcome import Findings, Table
from unbraid.report.examined import examined
from unbraid.verbs.applying import save_findings, spoken_file


def test_what_was_found_is_kept_shown_and_said(tmp_path):
    assert examined(tmp_path) is None
    found = Findings(
        {"accuracy": 0.75},
        {"curve": torch.arange(5.0), "matrix": torch.eye(3), "scalar": torch.zeros(())},
        {"accuracy": "0..1"},
        ["Small."],
        {"by class": Table({"class": ["<a>", "b"], "recall": [0.5, 1.0]})},
    )
    save_findings(found, tmp_path / "findings.json")
    page = examined(tmp_path)
    assert page.numbers == (("accuracy", "0.75", "0..1"),)
    assert page.tables == (("by class", ("class", "recall"), (("<a>", "0.5"), ("b", "1"))),)
    assert [d.name for d in page.drawings] == ["curve", "matrix"]
    assert page.drawings[0].markup.startswith("<svg")
    assert page.notes == ("Small.",)
    said = spoken_file(tmp_path / "findings.json")
    assert said[0] == "accuracy  0.75 (0..1)"
    assert said[-1] == "note: Small."


@pytest.mark.parametrize("text", ["{}", '{"numbers": [], "units": {}, "tables": {}, "notes": []}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "findings.json").write_text(text)
    with pytest.raises(RunError, match="findings"):
        examined(tmp_path)
    assert json.loads(text) is not None
