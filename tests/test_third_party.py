"""A method of another package is found, checked, trained, audited, reported and applied without an edit of ours."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "third_party"


def unbraid(*arguments, cwd):
    there = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "unbraid", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "PYTHONPATH": there})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    done = unbraid("train", "tiny-autoencoder", "--data", "discs", "--preset", "tiny", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "squared error" in done.stdout
    return folder / "run"


def test_it_is_listed_and_shown(tmp_path):
    listed = unbraid("list", cwd=tmp_path)
    assert "unbraid_tiny\n  tiny-autoencoder" in listed.stdout
    shown = unbraid("show", "tiny-autoencoder", cwd=tmp_path).stdout
    assert "takes:  lens: a network from observations to vectors of 8" in shown
    assert "action: scale: Scale the code." in shown


def test_it_keeps_the_contract(tmp_path):
    code = "from unbraid import check_method; import unbraid_tiny as t; print(check_method(t.TinyAutoencoder)[-1])"
    there = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
    env = {**os.environ, "PYTHONPATH": there}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stdout.strip() == "actions", done.stderr


def test_it_is_audited_and_reported(run):
    page = (run / "report.html").read_text()
    assert "Evaluation" in page
    assert "squared error" in page
    assert "by item" in page
    assert json.loads((run / "audit.json").read_text())["rows"]
    facts = json.loads((run / "run.json").read_text())
    assert facts["given"]["lens"]["source"] == "stand-in"
    assert len(facts["given"]["lens"]["hash"]) == 16


def test_its_actions_are_listed_and_helped(run):
    listed = unbraid("apply", run, cwd=run.parent).stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["scale", "show", "weigh"]
    helped = unbraid("apply", run, "show", "--help", cwd=run.parent)
    assert "--items" in helped.stdout
    assert "How many." in helped.stdout


def test_its_actions_are_done(run):
    out = run.parent / "seen.png"
    assert unbraid("apply", run, "show", "--items", "2", "--loud", "--out", out, cwd=run.parent).returncode == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    other = unbraid("apply", run, "show", "--data", "discs", cwd=run.parent)
    assert other.stdout.startswith("wrote "), other.stderr
    table = run.parent / "weights.csv"
    assert (
        unbraid("apply", run, "weigh", "--words", "a", "--words", "b", "--out", table, cwd=run.parent).returncode == 0
    )
    assert [row["unit"] for row in csv.DictReader(table.read_text().splitlines())] == ["a", "b"]


def test_an_action_that_changes_weights_makes_a_run(run):
    refused = unbraid("apply", run, "scale", "--by", "2", cwd=run.parent)
    assert refused.returncode == 2
    assert "--out" in refused.stderr
    done = unbraid("apply", run, "scale", "--by", "2", "--out", "scaled", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    audit = unbraid("audit", run.parent / "scaled", cwd=run.parent)
    assert audit.returncode == 0, audit.stderr
    from unbraid.training.checkpoints import load_tensors

    before, after = (load_tensors(f / "model.safetensors")["encoder.weight"] for f in (run, run.parent / "scaled"))
    assert (after == 2 * before).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sing"], "did you mean|choose from"),
        (["weigh", "--by", "2"], "No such option"),
        (["scale", "--by", "much"], "valid number"),
        (["scale"], "Missing option"),
        (["weigh", "--out", "table.txt"], "ending in .csv"),
    ],
)
def test_what_is_wrong_is_said(run, arguments, said):
    import re

    done = unbraid("apply", run, *arguments, cwd=run.parent)
    assert done.returncode == 2
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_another_network_is_refused(run, tmp_path):
    facts = json.loads((run / "run.json").read_text())
    facts["given"]["lens"]["hash"] = "0" * 16
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    (other / "run.json").write_text(json.dumps(facts))
    done = unbraid("audit", other, cwd=tmp_path)
    assert done.returncode == 2
    assert "the network 'lens' with hash 0000000000000000" in done.stderr
