"""`fit`: the stages of a method, one step after the other, killed and resumed to the same bits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from unbraid.core.method import At, Method, Source, Stage, World
from unbraid.data.order import key_of
from unbraid.training.checkpoints import Checkpoint, Position
from unbraid.training.compiled import compiled
from unbraid.training.feed import budget, feed
from unbraid.training.progress import Progress, Silent
from unbraid.training.runs import Run, Series
from unbraid.training.signals import InterruptedRunError, Stop, listening
from unbraid.training.sinks import Track
from unbraid.training.stepper import Precision, Stepper
from unbraid.training.world import any_process, processes


def fit(
    method: Method[Any],
    data: Source | Mapping[str, Source],
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    run: Run | None = None,
    every: int = 1000,
    seconds: float = 60.0,
    keep: int = 2,
    progress: Progress | None = None,
    compile: bool = False,
    track: Track | None = None,
) -> list[dict[str, Any]]:
    """Train a method in place.

    The global random generators are as they were when it returns. With a run folder it goes on from the newest
    checkpoint there, and ends in the same bits as a run that was never stopped (same program, device kind, thread
    count and torch version).

    Args:
        method: As built; moved to `device`.
        data: One data set, which the method's `sources` names for its streams, or several by name.
        seed: Of every order, draw and noise.
        device: "cpu", "cuda", "mps" or another that torch knows.
        precision: "bf16" computes losses under autocast.
        run: Where checkpoints and the series go; None keeps nothing.
        every: Steps between checkpoints.
        seconds: Time between checkpoints, whichever comes first.
        keep: Checkpoints that stay.
        progress: Who is told.
        compile: Whether the networks go through `torch.compile`; changes the bits.
        track: Who else gets the series of `run`.

    Returns:
        The logged lines: stage, step, terms, notes.

    Raises:
        NumericsError: A loss or gradient is not finite.
        InterruptedRunError: SIGINT or SIGTERM came; the run was saved.
    """
    where = torch.device(device)
    sources = dict(data if isinstance(data, Mapping) else method.sources(data))
    with ExitStack() as stack:
        world = stack.enter_context(processes(where))
        stop = stack.enter_context(listening())
        stack.enter_context(own_chance(where))
        method.to(where)
        _lay_out(method, where, torch.channels_last)
        if compile:
            stack.enter_context(compiled(method))
        loop = _Loop(method, sources, seed, where, precision, world, stop, progress or Silent(), run)
        loop.every, loop.seconds, loop.keep, loop.track = every, seconds, keep, track or Track()
        loop.run_all()
    _lay_out(method, where, torch.contiguous_format)  # the layout of a method that is loaded, to give its bits
    method.eval()
    method.refresh()
    return loop.lines


def _lay_out(method: Method[Any], device: torch.device, layout: torch.memory_format) -> None:
    """Hold the weights of convolutions in a layout: channels last takes a sixth off a step on a processor."""
    if device.type == "cpu":
        for parameter in method.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=layout)


@contextmanager
def own_chance(device: torch.device) -> Iterator[None]:
    """Leave the caller's random generators as they were."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        yield


class _Loop:
    every: int
    seconds: float
    keep: int
    track: Track

    def __init__(
        self,
        method: Method[Any],
        sources: Mapping[str, Source],
        seed: int,
        device: torch.device,
        precision: Precision,
        world: World,
        stop: Stop,
        progress: Progress,
        run: Run | None,
    ) -> None:
        self.method, self.sources, self.seed, self.device = method, sources, seed, device
        self.precision, self.world, self.stop, self.progress, self.run = precision, world, stop, progress, run
        self.series = Series(run.folder / "series.jsonl") if run else None
        self.lines: list[dict[str, Any]] = []
        self.saved = time.monotonic()

    def run_all(self) -> None:
        position, slots = self._restore()
        for number, stage in enumerate(self.method.stages()):
            if number < position.stage:
                continue
            here = position if number == position.stage else Position(number)
            if here.phase == 0 and stage.solve is not None:
                self._solve(stage)
                self._save(stage, Position(number, 1), {})
            self._steps(stage, number, here.step, slots if number == position.stage else {})

    def _restore(self) -> tuple[Position, Mapping[str, Tensor]]:
        checkpoint = self.run.checkpoints(self.keep).newest() if self.run else None
        if self.run and self.series and self.world.rank == 0:
            self.series.cut(checkpoint.position if checkpoint else Position())
            self.track.begin(self.run.folder, self.run.facts, self.series.read())
        if checkpoint is None:
            return Position(), {}
        self.method.load_tensors(checkpoint.method)
        return checkpoint.position, checkpoint.optimizer

    def _solve(self, stage: Stage) -> None:
        assert stage.solve is not None
        key = key_of(self.seed, stage.name, "solve")
        torch.manual_seed(key)
        generator = torch.Generator(self.device).manual_seed(key)
        self.method.eval()
        with torch.no_grad():
            stage.solve(self.sources, At(stage.name, world=self.world, device=self.device, generator=generator))

    def _steps(self, stage: Stage, number: int, first: int, slots: Mapping[str, Tensor]) -> None:
        steps = budget(stage, self.sources)
        if first >= steps:
            return
        stepper = Stepper(self.method, stage, seed=self.seed, steps=steps, world=self.world, precision=self.precision)
        stepper.load(slots)
        log = max(1, steps // 200)
        self.progress.begin(stage.name, steps, first)
        batches = feed(
            stage, self.sources, seed=self.seed, first=first, steps=steps, world=self.world, device=self.device
        )
        for step, (epoch, batch) in zip(range(first, steps), batches, strict=True):
            report = stepper.step(batch, step, epoch)
            if step % log == 0 or step == steps - 1:
                self._log(stage, number, step, report.terms, report.notes)
            self.progress.advance(step + 1)
            self._pause(stage, Position(number, 1, step + 1), stepper, last=step == steps - 1)
        self.progress.end()

    def _log(
        self, stage: Stage, number: int, step: int, terms: Mapping[str, Tensor], notes: Mapping[str, Tensor]
    ) -> None:
        numbers = {name: float(self.world.mean(value)) for name, value in terms.items()}
        line = {"stage": stage.name, "number": number, "step": step, "terms": numbers}
        line["notes"] = {name: float(value) for name, value in notes.items()}
        self.lines.append(line)
        self.progress.advance(step + 1, numbers)
        if self.series and self.world.rank == 0:
            self.series.append(line)
            self.track.log(line)

    def _pause(self, stage: Stage, position: Position, stepper: Stepper, *, last: bool) -> None:
        asked = any_process(self.stop.signal is not None, self.world, self.device)
        late = time.monotonic() - self.saved > self.seconds
        if asked or last or late or position.step % self.every == 0:
            self._save(stage, position, stepper.state())
        if asked and not last:
            self.progress.end()
            raise InterruptedRunError(self.stop.signal or 2, self.run.folder if self.run else None)

    def _save(self, stage: Stage, position: Position, slots: Mapping[str, Tensor]) -> None:
        self.saved = time.monotonic()
        if self.run is None or self.world.rank != 0:
            return
        self.run.checkpoints(self.keep).save(Checkpoint(position, self.method.tensors(), slots), stage.name)
