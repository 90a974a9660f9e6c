"""A sink holds what `series.jsonl` holds, whatever happens to the run, and the run does not care what happens to it."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import pytest
import torch
from stubs import Solves

from unbraid.cli import run as cli
from unbraid.core.errors import ConfigError, MissingExtraError, NumericsError
from unbraid.testing.made import tiny_vectors
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.runs import Run, Series
from unbraid.training.sinks import MLflow, TensorBoard, Track, WandB, open_sinks
from unbraid.verbs import training

DATA = tiny_vectors()
RUN = "train qlae --data discs --preset tiny --steps 20 --set network=mlp --set batch=16 --no-audit"


class FakeMLflow:
    """A tracking server that keeps every point it gets, and the part of the library that talks to it."""

    def __init__(self):
        self.runs, self.made = {}, []
        self.entities = SimpleNamespace(
            Metric=lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step),
            Param=lambda key, value: (key, value),
        )

    def MlflowClient(self, tracking_uri):
        self.uri = tracking_uri
        return self

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="1") if name in self.made else None

    def create_experiment(self, name, artifact_location=None):
        self.made.append(name)
        return "1"

    def create_run(self, experiment, run_name):
        self.runs[f"id{len(self.runs)}"] = SimpleNamespace(params={}, points=[], status="RUNNING")
        return SimpleNamespace(info=SimpleNamespace(run_id=f"id{len(self.runs) - 1}"))

    def get_run(self, run):
        return SimpleNamespace(data=SimpleNamespace(metrics={m.key: m.value for m in self.runs[run].points}))

    def get_metric_history(self, run, key):
        return [m for m in self.runs[run].points if m.key == key]

    def update_run(self, run, status):
        self.runs[run].status = status

    set_terminated = update_run

    def log_batch(self, run, metrics=(), params=()):
        assert len({m.key for m in metrics}) == len(metrics)
        self.runs[run].points += metrics
        self.runs[run].params |= dict(params)


class FakeWandB:
    """A server that knows runs by id, refuses steps that go back, and the part of the library that talks to it."""

    def __init__(self):
        self.runs = {}

    def init(self, *, id, resume, **options):
        assert resume == "allow"
        self.open = self.runs.setdefault(id, SimpleNamespace(rows=[], summary={}, axes={}, code=None, **options))
        self.open.step = len(self.open.rows)
        self.open.log = self.log
        self.open.define_metric = lambda name, step_metric: self.open.axes.update({name: step_metric})
        self.open.finish = lambda exit_code: setattr(self.open, "code", exit_code)
        return self.open

    def log(self, numbers, step):
        assert step == len(self.open.rows), "a step twice, or one left out"
        self.open.rows.append(numbers)


@pytest.fixture
def mlflow(monkeypatch):
    fake = FakeMLflow()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
    return fake


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def wanted(folder):
    """Name -> (step, value) in the order of the series."""
    points = {}
    for line in Series(folder / "series.jsonl").read():
        for name, value in {**line["terms"], **line["notes"]}.items():
            points.setdefault(f"{line['stage']}/{name}", []).append((line["step"], pytest.approx(value)))
    return points


def on_tensorboard(folder):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    points = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value if event.HasField("summary") else ():
                if value.tag != "config/text_summary":
                    number = float(tensor_util.make_ndarray(value.tensor))
                    points.setdefault(value.tag, []).append((event.step, number))
    return points


class DiesError(BaseException):
    """The process is gone: nothing is closed."""


def kill_and_resume(sink, folder, method=Solves):
    """Train a method of two stages, killed in the first and in the second."""

    class Mortal(method):
        card = method.card
        left = 10**6

        def loss(self, batch, at):
            type(self).left -= 1
            if type(self).left < 0:
                raise DiesError
            return super().loss(batch, at)

    for left in (6, 9, 10**6):
        Mortal.left = left
        track = Track([sink()])
        run = Run(folder) if folder.exists() else Run.create(folder, {})
        try:
            fit(build(Mortal, Mortal.Config(), DATA.fields), DATA, run=run, every=4, track=track)
        except DiesError:
            continue
        track.summary["audit/code/mig"] = 0.25
        track.end("done")


def test_tensorboard(tmp_path):
    kill_and_resume(TensorBoard, tmp_path / "run")
    found = on_tensorboard(tmp_path / "run")
    assert found.pop("audit/code/mig") == [(0, 0.25)]
    assert found == wanted(tmp_path / "run")
    assert [step for step, _ in found["rest/rest/error"]] == list(range(9))


def test_mlflow(tmp_path, mlflow):
    kill_and_resume(MLflow, tmp_path / "run")
    [run] = mlflow.runs.values()
    found = {}
    for point in run.points:
        found.setdefault(point.key, []).append((point.step, point.value))
    assert found.pop("audit/code/mig") == [(0, 0.25)]
    assert found == wanted(tmp_path / "run")
    assert run.status == "FINISHED"
    assert mlflow.uri == f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}"


def test_wandb(tmp_path, wandb):
    kill_and_resume(WandB, tmp_path / "run")
    [run] = wandb.runs.values()
    found = {}
    for row in run.rows:
        [(axis, step)] = [item for item in row.items() if item[0].endswith("/step")]
        for name, value in row.items():
            if name != axis:
                found.setdefault(name, []).append((step, value))
    assert found == wanted(tmp_path / "run")
    assert run.axes == {"warm/*": "warm/step", "rest/*": "rest/step"}
    assert run.summary == {"audit/code/mig": 0.25}
    assert run.code == 0


def test_options_and_endings_reach_the_sinks(tmp_path, mlflow, wandb, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    out = tmp_path / "run"
    assert cli([*RUN.split(), "--track", "mlflow,wandb", "--out", str(out)]) == 0
    [run], [other] = mlflow.runs.values(), wandb.runs.values()
    assert mlflow.uri == "http://there"
    assert run.params["batch"] == "16"
    assert run.params["optim.kind"] == "adamw"
    assert other.config["method"] == "qlae"
    assert (run.status, other.code, other.dir) == ("FINISHED", 0, str(out))
    assert json.loads((out / "run.json").read_text())["request"]["track"] == ["mlflow", "wandb"]

    def burst(*_, **__):
        raise NumericsError("finite losses")

    monkeypatch.setattr("unbraid.training.stepper.Stepper.step", burst)
    assert cli([*RUN.split(), "--track", "mlflow,wandb", "--out", str(tmp_path / "bad")]) == 1
    assert [r.status for r in mlflow.runs.values()] == ["FINISHED", "FAILED"]
    assert [r.code for r in wandb.runs.values()] == [0, 1]


def test_the_audit_is_told_and_bits_do_not_depend_on_it(tmp_path, capfd):
    audited = RUN.replace(" --no-audit", "").split()
    assert cli([*audited, "--track", "tensorboard", "--out", str(tmp_path / "told")]) == 0
    assert cli([*RUN.split(), "--out", str(tmp_path / "untold")]) == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("told", "untold"))
    assert one == other
    [(step, value)] = on_tensorboard(tmp_path / "told")["audit/latents/mig"]
    scores = json.loads((tmp_path / "told" / "audit.json").read_text())["scores"]["latents"]
    assert (step, value) == (0, pytest.approx(next(s["value"] for s in scores if s["name"] == "mig")))


def test_a_run_killed_in_its_audit_tells_the_series_again(tmp_path, monkeypatch):
    out, options = tmp_path / "run", [*RUN.replace(" --no-audit", "").split(), "--track", "tensorboard"]
    told = [SimpleNamespace(name="mig", value=0.5), SimpleNamespace(name="sap", value=None)]

    def dies(*_):
        raise DiesError

    monkeypatch.setattr(training, "document", dies)
    with pytest.raises(DiesError):
        cli([*options, "--out", str(out)])
    monkeypatch.setattr(training, "document", lambda *_: SimpleNamespace(scores={"latents": told}))
    assert cli(["train", "--resume", str(out)]) == 0
    assert on_tensorboard(out) == {**wanted(out), "audit/latents/mig": [(0, 0.5)]}


@pytest.mark.parametrize("when", ["begin", "log", "end"])
def test_a_sink_that_fails_is_named_once_and_the_run_goes_on(when, tmp_path):
    class Gone(SimpleNamespace):
        name = "gone"
        calls = 0

        def fail(self, *_):
            Gone.calls += 1
            raise OSError("no route to host")

    heard = []
    calm = {"begin": lambda *_: None, "log": lambda *a: heard.append(a), "end": lambda *_: None}
    sinks = [Gone(**calm), SimpleNamespace(name="well", **calm)]
    setattr(sinks[0], when, sinks[0].fail)
    track = Track(sinks)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = Run.create(tmp_path / "run", {})
        lines = fit(build(Solves, Solves.Config(), DATA.fields), DATA, run=run, track=track)
        track.end("done")
    assert [str(w.message) for w in said] == [
        "gone failed and gets nothing more (OSError: no route to host); the run goes on"
    ]
    assert Gone.calls == 1
    assert len(heard) == len(lines) * (1 if when in ("begin", "log") else 2)


def test_what_is_not_there_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, what in ((["tensorbord"], "tensorboard"), (["none", "wandb"], "none alone")):
        with pytest.raises(ConfigError, match=what):
            open_sinks(words)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"unbraid\[track\]"):
        open_sinks(["wandb"])
    assert cli([*RUN.split(), "--track", "wandb", "--out", "run"]) == 2
    assert not list(tmp_path.iterdir())


def test_resume_may_track_elsewhere(tmp_path, wandb):
    out = tmp_path / "run"
    options = [*RUN.split(), "--track", "tensorboard", "--out", str(out)]
    assert cli(options) == 0
    run = Run(out)
    run.update(status="training")
    from unbraid.verbs import resume

    assert resume(out, {"track": ["wandb"]}) == []
    assert len(next(iter(wandb.runs.values())).rows) == 20
    written = {p: p.stat().st_mtime_ns for p in (out / "tensorboard").iterdir()}
    run.update(status="training")
    assert resume(out, {"track": ["none"]}) == []
    assert {p: p.stat().st_mtime_ns for p in (out / "tensorboard").iterdir()} == written


def test_tensorboard_after_two_sigkills(tmp_path):
    out = tmp_path / "run"
    steps = RUN.replace("--steps 20", "--steps 600").split()
    command = [sys.executable, "-m", "unbraid"]
    start = [*steps, "--track", "tensorboard", "--out", str(out)]
    for words in (start, ["train", "--resume", str(out)]):
        before = len(list(Series(out / "series.jsonl").read()))
        process = subprocess.Popen([*command, *words], env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None and len(list(Series(out / "series.jsonl").read())) in range(before + 3):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert cli(["train", "--resume", str(out)]) == 0
    assert on_tensorboard(out) == wanted(out)
    assert torch.tensor([step for step, _ in wanted(out)["fit/fit/reconstruction"]]).diff().gt(0).all()
