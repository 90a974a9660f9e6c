"""A run killed at any moment ends in the same bits as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from stubs import STUBS, Solves

from unbraid.core.errors import NumericsError, RunError
from unbraid.testing.made import tiny_vectors
from unbraid.training.build import build
from unbraid.training.checkpoints import Checkpoint, Checkpoints, Position
from unbraid.training.fit import fit
from unbraid.training.runs import Run, Series

COMMAND = [sys.executable, "-m", "unbraid"]
OPTIONS = "qlae --data discs --preset tiny --steps 120 --set network=mlp --set batch=16 --seed 3 --no-audit"


def unbraid(*words, wait=True):
    process = subprocess.Popen(
        [*COMMAND, *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    if wait:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return process


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    unbraid("train", *OPTIONS.split(), "--out", str(out))
    return (out / "model.safetensors").read_bytes(), (out / "series.jsonl").read_text()


@pytest.mark.parametrize("trial", range(3))
def test_sigkill_at_a_random_moment(trial, whole, tmp_path):
    out = tmp_path / "run"
    process = unbraid("train", *OPTIONS.split(), "--out", str(out), wait=False)
    while not (out / "run.json").exists():
        time.sleep(0.01)
    time.sleep(random.Random(trial).uniform(0, 4))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    unbraid("train", "--resume", str(out))
    assert (out / "model.safetensors").read_bytes() == whole[0]
    assert (out / "series.jsonl").read_text() == whole[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_polite_signal_saves_and_says_so(number, code, whole, tmp_path):
    out = tmp_path / "run"
    process = unbraid("train", *OPTIONS.split(), "--out", str(out), wait=False)
    while not (out / "series.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    if process.returncode != 0:
        assert process.returncode == code
        assert "resume" in errors
        assert any((out / "checkpoints").iterdir())
    unbraid("train", "--resume", str(out))
    assert (out / "model.safetensors").read_bytes() == whole[0]


@pytest.mark.parametrize("cls", STUBS, ids=lambda c: c.__name__)
def test_killed_between_any_two_files(cls, tmp_path, monkeypatch):
    """The process dies at every point of writing a checkpoint in turn; what is left is always good."""
    data = tiny_vectors()
    whole = build(cls, cls.Config(), data.fields)
    fit(whole, data)

    class KilledError(BaseException):
        pass

    import unbraid.training.checkpoints as module

    for point in range(1, 9):
        run = Run.create(tmp_path / f"run{point}", {})
        calls = 0

        def flush(path, real=module.flush, point=point):
            nonlocal calls
            calls += 1
            if calls == point + 5:
                raise KilledError
            real(path)

        monkeypatch.setattr(module, "flush", flush)
        with pytest.raises(KilledError):
            fit(build(cls, cls.Config(), data.fields), data, run=run, every=2)
        monkeypatch.undo()
        again = build(cls, cls.Config(), data.fields)
        fit(again, data, run=run, every=2)
        for name, tensor in whole.tensors().items():
            assert torch.equal(tensor, again.tensors()[name]), (point, name)


def checkpoints(folder, keep=2):
    store = Checkpoints(folder, keep)
    for step in (2, 4, 6):
        store.save(Checkpoint(Position(0, 1, step), {"w": torch.full((3,), float(step))}, {}), "fit")
    return store


def test_retention_and_newest(tmp_path):
    store = checkpoints(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit-steps-4", "fit-steps-6"]
    assert store.newest().position == Position(0, 1, 6)


@pytest.mark.parametrize("name", ["method.safetensors", "optimizer.safetensors", "position.json", "complete"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_newest_falls_back(name, damage, tmp_path):
    store = checkpoints(tmp_path)
    path = tmp_path / "fit-steps-6" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"flip": bytes(content), "truncate": bytes(content[: len(content) // 2]), "empty": b""}[damage]
    path.write_bytes(changed)
    with pytest.warns(UserWarning, match="fit-steps-6"):
        assert store.newest().position == Position(0, 1, 4)


def test_a_run_goes_on_from_the_one_before(tmp_path):
    data = tiny_vectors()
    whole = build(Solves, Solves.Config(), data.fields)
    fit(whole, data)
    run = Run.create(tmp_path / "run", {})
    fit(build(Solves, Solves.Config(), data.fields), data, run=run, every=2, keep=3)
    newest = max((tmp_path / "run" / "checkpoints").glob("rest-steps-*"))
    (newest / "method.safetensors").write_bytes(b"0")
    again = build(Solves, Solves.Config(), data.fields)
    with pytest.warns(UserWarning, match="damaged"):
        fit(again, data, run=run, every=2, keep=3)
    assert all(torch.equal(t, again.tensors()[n]) for n, t in whole.tensors().items())


def test_the_series_is_cut_and_survives_a_torn_line(tmp_path):
    series = Series(tmp_path / "series.jsonl")
    for step in range(4):
        series.append({"number": 0, "step": step})
    with series.path.open("a") as file:
        file.write('{"number": 0, "st')
    series.cut(Position(0, 1, 2))
    assert [line["step"] for line in series.read()] == [0, 1]


FACTS = {
    "method": "m",
    "seed": 0,
    "precision": "fp32",
    "config": {"steps": 3},
    "fields": {"x": {"shape": [3]}},
    "data": {"hash": "a"},
    "schema": {"w": [3]},
    "threads": 1,
    "versions": {"torch": "2"},
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed 0"),
        ({"config": {"steps": 4}}, "config.steps 3"),
        ({"fields": {"x": {"shape": [4]}}}, "fields.x.shape"),
        ({"data": {"hash": "b"}}, "data.hash 'a'"),
        ({"schema": {"w": [4]}}, "schema.w"),
        ({"method": "n"}, "method 'm'"),
    ],
)
def test_a_fact_that_differs_is_named(change, named, tmp_path):
    run = Run.create(tmp_path / "run", {})
    run.begin(FACTS)
    with pytest.raises(RunError, match=named.replace("[", r"\[")):
        Run(tmp_path / "run").begin({**FACTS, **change})


def test_threads_and_versions_are_said(tmp_path):
    Run.create(tmp_path / "run", {}).begin(FACTS)
    said = Run(tmp_path / "run").begin({**FACTS, "threads": 2, "versions": {"torch": "3"}})
    assert said == [
        "threads: was 1, is 2; the bits may differ",
        "versions: was torch 2, is torch 3; the bits may differ",
    ]


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "thing.txt").write_text("precious")
    with pytest.raises(RunError, match="not empty"):
        Run.create(tmp_path, {})
    assert (tmp_path / "thing.txt").read_text() == "precious"


def test_nan_stops_before_the_update_and_names_the_sample(tmp_path):
    data = tiny_vectors()
    data._x = data._x.clone()
    data._x[17] = float("nan")

    class Plain(STUBS[1]):
        card = STUBS[1].card

        def stages(self):
            from unbraid.core.method import Optim, Update

            return [self.stage("fit", Update("fit", self.loss, lambda: [self.encoder, self.decoder], Optim()))]

        def loss(self, batch, at):
            return {"error": self.error(batch["x"])}

    run = Run.create(Path(tmp_path) / "run", {})
    method = build(Plain, Plain.Config(steps=6), data.fields)
    with pytest.raises(NumericsError, match=r"term 'fit/error' for samples \[17\]") as caught:
        fit(method, data, run=run, every=1)
    assert "of stage 'fit'" in str(caught.value)
    assert all(torch.isfinite(t).all() for t in method.tensors().values())
    last = run.checkpoints().newest()
    assert last is None or all(torch.isfinite(t).all() for t in last.method.values())


def test_an_infinite_gradient_names_its_parameter():
    data = tiny_vectors()

    class Root(STUBS[1]):
        card = STUBS[1].card

        def stages(self):
            from unbraid.core.method import Optim, Update

            return [self.stage("fit", Update("fit", self.loss, lambda: [self.encoder], Optim()))]

        def loss(self, batch, at):
            return {"root": (self.encoder.weight * 0).square().sum().sqrt() + self.encoder(batch["x"]).mean()}

    with pytest.raises(NumericsError, match=r"finite gradients.*'encoder.weight'"):
        fit(build(Root, Root.Config(), data.fields), data)
