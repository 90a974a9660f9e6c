"""From the name of a world to a run, its findings, its actions, and vectors for another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unbraid import verbs
from unbraid.data.catalog import open_data
from unbraid.standins import grammar


def test_a_run_on_sentences_and_one_on_their_activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "STEPS", 3)
    few = {"attributes": "io", "items": 40}
    request = verbs.Request("topk-sae", "ioi:names=3", preset="tiny", set=few, threads=1)
    run = verbs.train(request, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    assert facts["given"]["subject"]["source"] == "stand-in"
    found = json.loads((run / "findings.json").read_text())
    assert {"gap", "io, none", "io, k=2", "explained variance"} <= set(found["numbers"])
    assert found["tables"]["control"]["attribute"] == ["io"] * 7
    assert not (run / "pictures").exists()  # activations are no observations
    assert (run / "report.html").exists()
    said = verbs.apply(run, ["edit-attribute", "--data", "ioi:names=3", "--attribute", "io", "--value", "name1"])
    assert any(line.startswith("agreement without an edit") for line in said)
    vectors = tmp_path / "activations.npz"
    verbs.apply(run, ["activations", "--data", "ioi:names=3", "--out", str(vectors)])
    data = open_data(str(vectors))
    assert data.fields["x"].shape == (64,)
    assert [f.name for f in data.factors] == [f.name for f in open_data("ioi:names=3").factors]
    plain = verbs.Request("gated-sae", str(vectors), preset="tiny", set=few, threads=1, audit=False)
    assert (verbs.train(plain, tmp_path / "plain") / "model.safetensors").exists()
