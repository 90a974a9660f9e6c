"""Where else the series of a run goes: TensorBoard, MLflow, Weights & Biases.

A sink holds a copy of `series.jsonl`. When a run goes on, the lines that stand are told to it again, and each sink sees
to it that none is there twice. Nothing that a sink does reaches the training.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from unbraid.core.errors import ConfigError, nearest, need
from unbraid.training.files import read_json, write_json

Status = Literal["done", "stopped", "failed"]
PROJECT = "unbraid"
"""The project or experiment, unless the library's own environment variable names another."""


class Sink(Protocol):
    """Told the series of one run."""

    name: str

    def begin(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """A run starts or goes on; `facts` are those of its `run.json`. All that it has logged follows."""

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers at a step of a stage, by names that begin with the stage."""

    def end(self, status: Status, summary: Mapping[str, float]) -> None:
        """The run is over, or stops for now; `summary` are the scores of its audit."""


class Track:
    """The sinks of a run. One that fails is named in a warning and told nothing more; the run goes on.

    Args:
        sinks: Who is told.

    Attributes:
        summary: What the sinks are told at the end.
    """

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        self._sinks = list(sinks)
        self._begun = False
        self.summary: dict[str, float] = {}

    def begin(self, folder: Path, facts: Mapping[str, Any], past: Iterable[Mapping[str, Any]] = ()) -> None:
        """Open the sinks, and tell them the lines of the series that stand."""
        self._begun = True
        self._tell(lambda sink: sink.begin(folder, facts))
        for line in past if self._sinks else ():
            self.log(line)

    def log(self, line: Mapping[str, Any]) -> None:
        """Tell a line of the series."""
        stage, step = line["stage"], line["step"]
        numbers = {f"{stage}/{name}": value for name, value in {**line["terms"], **line["notes"]}.items()}
        self._tell(lambda sink: sink.log(stage, step, numbers))

    def end(self, status: Status) -> None:
        """Close the sinks, if they were opened."""
        if not self._begun:
            return
        self._tell(lambda sink: sink.end(status, self.summary))

    def _tell(self, what: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                what(sink)
            except Exception as error:
                self._sinks.remove(sink)
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                warnings.warn(f"{sink.name} failed and gets nothing more ({said}); the run goes on", stacklevel=3)


class TensorBoard:
    """Event files in RUN/tensorboard, written anew when a run goes on.

    TensorBoard can forget what lies behind a step, but only for all names at once, while every stage counts its own
    steps; and what was not yet flushed when a run was killed would be missing.
    """

    name = "tensorboard"

    def __init__(self) -> None:
        need("tensorboard", extra="track")

    def begin(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Begin new event files."""
        from torch.utils.tensorboard import SummaryWriter

        for old in (folder / "tensorboard").glob("events.out.tfevents.*"):
            old.unlink()
        # A TensorBoard that is looking on drops what it has read before.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=0, flush_secs=10)
        config = json.dumps(facts.get("config", {}), indent=1)
        self._writer.add_text("config", f"```\n{config}\n```")

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """One scalar for each number."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def end(self, status: Status, summary: Mapping[str, float]) -> None:
        """The summary as scalars at step 0."""
        self.log("", 0, summary)
        self._writer.close()


class MLflow:
    """A run of an MLflow server, or of a database in the run folder; a run that goes on stays the same there.

    MLflow's own variables are followed: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.
    """

    name = "mlflow"

    def __init__(self) -> None:
        # Of itself MLflow asks a server that is gone again for minutes, and training would wait.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        self._mlflow = need("mlflow", extra="track")

    def begin(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Make the run, or find it and what it knows already."""
        folder = folder.absolute()
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = self._mlflow.MlflowClient(tracking_uri=given or f"sqlite:///{folder / 'mlflow.db'}")
        self._newest: dict[str, int] = {}
        kept = _ids(folder).get(self.name)
        if kept is None:
            self._run = self._create(folder, facts, None if given else (folder / "mlflow").as_uri())
            _keep(folder, self.name, self._run)
            return
        self._run = kept
        for name in self._client.get_run(kept).data.metrics:
            self._newest[name] = max(point.step for point in self._client.get_metric_history(kept, name))
        self._client.update_run(kept, status="RUNNING")

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers that are not there yet."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {_plain(name): value for name, value in numbers.items()}
        new = [Metric(n, value, now, step) for n, value in named.items() if step > self._newest.get(n, -1)]
        if new:
            self._client.log_batch(self._run, metrics=new)

    def end(self, status: Status, summary: Mapping[str, float]) -> None:
        """The summary as metrics, and how it ended."""
        self.log("", 0, summary)
        words = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, status=words[status])

    def _create(self, folder: Path, facts: Mapping[str, Any], artifacts: str | None) -> str:
        from mlflow.entities import Param

        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(title)
        experiment = found.experiment_id if found else self._client.create_experiment(title, artifacts)
        run = str(self._client.create_run(experiment, run_name=folder.name).info.run_id)
        params = [Param(_plain(name), str(value)[:500]) for name, value in _described(facts).items()]
        self._client.log_batch(run, params=params)
        return run


class WandB:
    """A run of Weights & Biases, with its files in the run folder; a run that goes on stays the same there.

    W&B's own variables are followed: WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY and the others. W&B wants one count of
    steps for all stages: that is the number of the line in the series, and each stage is drawn over its own steps.
    """

    name = "wandb"

    def __init__(self) -> None:
        self._wandb = need("wandb", extra="track")

    def begin(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Make the run, or find it and how many lines it has."""
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=_ids(folder).get(self.name) or _keep(folder, self.name, uuid.uuid4().hex[:12]),
            name=os.environ.get("WANDB_NAME", folder.absolute().name),
            resume="allow",
            dir=str(folder),
            config=_described(facts),
        )
        self._line, self._known = 0, int(self._run.step)
        self._stages: set[str] = set()

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """A line, unless it is there already."""
        if stage not in self._stages:
            self._stages.add(stage)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        if self._line >= self._known:
            self._run.log({**numbers, f"{stage}/step": step}, step=self._line)
        self._line += 1

    def end(self, status: Status, summary: Mapping[str, float]) -> None:
        """The summary, and whether all went well."""
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=0 if status == "done" else 1)


SINKS: Mapping[str, Callable[[], Sink]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
"""Sinks by the name on the command line."""


def open_sinks(names: Sequence[str]) -> list[Sink]:
    """The named sinks, each once; "none" alone names none.

    Raises:
        ConfigError: A name is not known.
        MissingExtraError: A library is not installed.

    >>> open_sinks(["none"])
    []
    """
    for name in names if list(names) != ["none"] else ():
        if name not in SINKS:
            hint = nearest(name, SINKS)
            raise ConfigError("tensorboard, mlflow or wandb; or none alone", got=f"'{name}'", fix=hint, where="--track")
    return [SINKS[name]() for name in dict.fromkeys(names) if name in SINKS]


def _described(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is, as one flat table: method, data, seed, and each option by its dotted name."""
    known = {"method": facts.get("method"), "data": facts.get("data", {}).get("name"), "seed": facts.get("seed")}
    return {**known, **_flat(facts.get("config", {}))}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def _plain(name: str) -> str:
    """A name in the letters that MLflow allows.

    >>> _plain("fit/latents[3]")
    'fit/latents_3_'
    """
    return re.sub(r"[^\w./ -]", "_", name)


def _ids(folder: Path) -> dict[str, str]:
    """The names under which the sinks know this run."""
    path = folder / "track.json"
    return read_json(path) if path.exists() else {}


def _keep(folder: Path, name: str, id: str) -> str:
    write_json(folder / "track.json", {**_ids(folder), name: id})
    return id
