"""A step of every joint method on a ResNet-18 with the stem for small images, against a plain torch loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.row import Row, Timed
from benchmarks.training import Clock
from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.core.method import At, Method, Stage
from unbraid.data.dataset import MemoryDataset
from unbraid.nets.norm import together
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.world import Alone

BATCH, ITEMS, SIZE, WARM, STEPS = 256, 512, 32, 1, 2
SAME = {
    "backbone": "resnet18",
    "width": 64,
    "views": "cifar",
    "batch": BATCH,
    "steps": WARM + STEPS,
    "optim.kind": "sgd",
    "optim.lr": 0.01,
    "optim.momentum": 0.9,
    "optim.weight_decay": 0.0,
}
"""What all methods and both sides have in common; SGD, so that neither side's optimiser tells."""

METHODS = (
    "barlow-twins",
    "directpred",
    "simclr",
    "mocov2",
    "mocov3",
    "nnclr",
    "ressl",
    "vicreg",
    "swav",
    "dino",
)


def step_row(name: str) -> Row:
    """Our loop with its views, guards, schedules and bookkeeping; the same network and loss in a loop by hand."""

    def made() -> Method[Any]:
        entry = find(name)
        cls = entry.load()
        config = cls.Config()
        for changes in (cls.presets["quick"], entry.overrides, SAME):
            config = override(config, changes)
        return build(cls, config, _images().fields)

    def ours() -> Timed:
        method, clock = made(), _Clock()
        fit(method, _images(), progress=clock)
        return Timed(_moved(method, made()), clock.seconds, {f"step_{name}_images_s": BATCH / clock.seconds})

    def peer() -> Timed:
        method = made()
        seconds = _by_hand(method)
        return Timed(_moved(method, made()), seconds)

    def check(ours: float, peer: float) -> None:
        assert min(ours, peer) > 0, "a side has not trained"  # how far differs: only ours warms up

    return Row(f"step_{name}", 0.95, ours, peer, check, {f"step_{name}_images_s": None})


class _Clock(Clock):
    @property
    def seconds(self) -> float:
        return (self._at[WARM + STEPS] - self._at[WARM]) / STEPS


def _by_hand(method: Method[Any]) -> float:
    """Seconds of a step of a loop that knows nothing but torch, the views, and the method's loss and hooks."""
    method.train()
    [stage] = method.stages()
    parameters = [p for update in stage.updates for found in update.params() for p in _parameters(found)]
    optimizer = torch.optim.SGD(dict.fromkeys(parameters), lr=SAME["optim.lr"], momentum=SAME["optim.momentum"])
    start = 0.0
    for step, (batch, at) in enumerate(_drawn(stage)):
        if step == WARM:
            start = time.perf_counter()
        views = stage.feed[""].views(batch["x"], at)
        seen = {**batch, **(views if isinstance(views, dict) else {"x": views})}
        if stage.before:
            stage.before(seen, at)
        for update in stage.updates:
            with together(at.world):
                terms = update.loss(seen, at)
            pairs = [term if isinstance(term, tuple) else (1.0, term) for term in terms.values()]
            optimizer.zero_grad()
            sum(weight * raw.mean() for weight, raw in pairs).backward()
            optimizer.step()
            if update.after:
                update.after(at)
        if stage.after:
            stage.after(seen, at)
    return (time.perf_counter() - start) / STEPS


def _parameters(found: torch.nn.Module | torch.nn.Parameter) -> list[torch.nn.Parameter]:
    return list(found.parameters()) if isinstance(found, torch.nn.Module) else [found]


def _drawn(stage: Stage) -> Iterator[tuple[dict[str, torch.Tensor], At]]:
    generator = torch.Generator().manual_seed(0)
    for step in range(WARM + STEPS):
        rows = torch.randperm(ITEMS, generator=generator)[:BATCH]
        at = At(stage.name, step, WARM + STEPS, 0.0, Alone(), torch.device("cpu"), generator)
        yield _images().take(rows), at


def _images() -> MemoryDataset:
    x = torch.randint(0, 256, (ITEMS, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemoryDataset("noise", x)


def _moved(method: Method[Any], start: Method[Any]) -> float:
    """How far training took the first convolution, in its own norm."""
    after, before = (next(m.encoder.parameters()).detach() for m in (method, start))
    return float((after - before).norm() / before.norm())


ROWS = {f"step_{name}": partial(step_row, name) for name in METHODS}
