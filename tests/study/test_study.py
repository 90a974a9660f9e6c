"""A study end to end: cells as runs, killed and resumed to the same bits, failures told, the folder kept."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from unbraid.cli import run
from unbraid.core.errors import DataError, RunError, UnbraidError
from unbraid.study import Recipe, restudy, study

TOLD = {"methods": ["ae", "vae"], "data": ["discs"], "seeds": [0], "preset": "tiny", "metrics": "mig"}
RECIPE = Recipe.from_json({**TOLD, "set": {"network": "mlp", "steps": 40}})


def unbraid(*words, **options):
    command = [sys.executable, "-m", "unbraid", *map(str, words)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study whose process was killed as soon as its first cell had begun, then resumed."""
    here = tmp_path_factory.mktemp("study")
    words = ["study", "ae", "vae", "--data", "discs", "--seeds", "0", "--preset", "tiny", "--steps", 40]
    words += ["--set", "network=mlp", "--metrics", "mig", "--jobs", 1, "--out", here / "s"]
    process = unbraid(*words, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((here / "s").glob("runs/*/run.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (here / "s" / "study.html").exists()
    assert restudy(here / "s", jobs=2) == {}
    return here / "s"


def test_killed_and_resumed(finished, tmp_path):
    for name in ("ae-discs-s0", "vae-discs-s0"):
        folder = finished / "runs" / name
        assert json.loads((folder / "run.json").read_text())["status"] == "done"
        assert (folder / "report.html").exists()
    alone = ["train", "vae", "--data", "discs", "--preset", "tiny", "--steps", 40, "--set", "network=mlp"]
    assert run([*map(str, alone), "--threads", "1", "--metrics", "none", "--out", str(tmp_path / "alone")]) == 0
    ours, theirs = finished / "runs" / "vae-discs-s0", tmp_path / "alone"
    assert (ours / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()
    audit = json.loads((ours / "audit.json").read_text())
    assert [score["name"] for score in audit["scores"]["latents"]] == ["mig"]
    assert json.loads((theirs / "audit.json").read_text())["scores"]["latents"] == []


def test_what_it_compares(finished):
    found = (finished / "results.csv").read_text()
    for score in ("mig", "explained", "minutes"):
        assert f"discs,vae,0,{score}," in found
    assert 'href="runs/vae-discs-s0/report.html"' in (finished / "study.html").read_text()


def test_the_same_study_goes_on_and_another_is_refused(finished, capsys):
    before = (finished / "results.csv").read_text()
    assert study(RECIPE, finished) == {}
    assert (finished / "results.csv").read_text() == before
    with pytest.raises(RunError, match="another study"):
        study(Recipe.from_json({**TOLD, "seeds": [1]}), finished)
    assert run(["study", "--resume", str(finished)]) == 0
    assert "mean rank" in capsys.readouterr().out


def test_a_cell_that_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    broken = Recipe.from_json({**TOLD, "methods": ["ae"], "set": {"network": "mlp", "steps": 3, "optim.lr": 1e30}})
    failed = study(broken, tmp_path / "s")
    assert list(failed) == ["ae-discs-s0"]
    assert "finite" in failed["ae-discs-s0"]
    assert "ae-discs-s0" in (tmp_path / "s" / "study.html").read_text()
    assert list(restudy(tmp_path / "s")) == ["ae-discs-s0"]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"set": {"nonsense": 1}}, "nonsense"),
        ({"preset": "none"}, "preset"),
        ({"data": ["disks"]}, "discs"),
        ({"methods": {"ae": {"set": {"steps": "many"}}}}, "steps"),
    ],
)
def test_what_cannot_begin_leaves_nothing(tmp_path, told, says):
    with pytest.raises(UnbraidError, match=says):
        study(Recipe.from_json({**TOLD, **told}), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_other_folders_are_left_alone(tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        study(RECIPE, tmp_path / "full")
    with pytest.raises(RunError, match=r"no study\.json"):
        restudy(tmp_path / "full")
    (tmp_path / "full" / "study.json").write_text('{"format": 9}')
    with pytest.raises(RunError, match="format 9"):
        restudy(tmp_path / "full")
    for words in (["study"], ["study", "ae", "--resume", "x"], ["study", "--resume", "x", "--out", "y"]):
        assert run(words) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_data_that_are_gone_are_one_line(tmp_path):
    with pytest.raises(DataError):
        study(Recipe.from_json({**TOLD, "data": [str(tmp_path / "none.npz")]}), tmp_path / "s")
