"""What a step of local learning keeps for its backward passes, as a share of what ordinary training keeps."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from benchmarks.row import Row, Timed
from unbraid.core.fields import Field, Fields
from unbraid.methods.edge.judged import step_of
from unbraid.methods.edge.momentum_auxiliary import MomentumAuxiliary
from unbraid.training.memory import peak_saved_bytes

IMAGES, SHAPE = 32, (3, 32, 32)


def share(depth: int, blocks: int) -> Timed:
    """The share stands in the place of seconds; it is counted, so that every run gives the same."""
    fields = Fields(x=Field(SHAPE, unit=True), label=Field((), "int64", classes=10))
    config = replace(MomentumAuxiliary.Config(), depth=depth, augment="none")
    batch = {"x": torch.rand(IMAGES, *SHAPE), "label": torch.arange(IMAGES) % 10}
    kept = []
    for k in (blocks, 1):
        method = MomentumAuxiliary(replace(config, blocks=k), fields)
        kept.append(peak_saved_bytes(step_of(method, batch), method.state_dict().values()))
    return Timed(kept[0] / kept[1], kept[0] / kept[1])


def row(name: str, depth: int, blocks: int, goal: float | None) -> Row:
    """A network of some depth in so many blocks."""

    def check(ours: float, _: None) -> None:
        assert goal is None or ours < goal, f"{ours:.3f} of the bytes of ordinary training"

    return Row(name, goal, partial(share, depth, blocks), None, check)


ROWS = {
    name: partial(row, name, depth, blocks, goal)
    for name, depth, blocks, goal in (
        ("local_memory", 32, 16, 0.6),
        ("local_memory_8", 32, 8, None),
        ("local_memory_110", 110, 32, 0.6),
    )
}
