"""CausalDiffAE: counterfactuals against the truth of a world, with and without its graph and its labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained, found

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.core.method import Method

_SMALL = {
    "network": "mlp",
    "width": 256,
    "code": 16,
    "encoder": (16, 32, 64),
    "noises": 100,
    "drawn": 25,
    "ramp": 500,
    "batch": 64,
    "steps": 2500,
    "average": 0.995,
    "optim.lr": 1e-3,
    "optim.schedule.kind": "cosine",
}


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """What an intervention does to the blocks of the code, in a small untrained method."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    import torch

    from unbraid.core.config import override
    from unbraid.data.made.causes import Pendulum
    from unbraid.training.build import build

    data = Pendulum(rows=16, size=16)
    method: Any = build(cls, override(cls.Config(), {**_SMALL, "width": 16, "code": 16}), data.fields, seed=0)
    names = list(data.variables)
    with torch.no_grad():
        u = method.eval().chance(2 * data.take(torch.arange(16))["x"] - 1)
        before = method.core.mechanisms(u)
        for name in ("angle", "length"):
            after = method.intervened(u, {name: torch.full((16,), 0.3)})
            moved = {n for i, n in enumerate(names) if not torch.equal(before[:, i], after[:, i])}
            effects = {name, *method.graph.children(name)}
            claim = f"do({name}) moves its own block and those of its effects, and no other."
            yield Gate(claim, "blocks moved and not to be, or to be and not", float(len(moved ^ effects)), 0.0)


def brightness(x: Tensor) -> Tensor:
    """How bright the bar of each image is: the brightest column of the rows in the middle."""
    return x[:, 0, x.shape[2] // 4 : 3 * x.shape[2] // 4].mean(1).amax(1)


def width(x: Tensor) -> Tensor:
    """How wide it is, in image sides."""
    columns = x[:, 0, x.shape[2] // 4 : 3 * x.shape[2] // 4].mean(1)
    return columns.mean(1) / columns.amax(1).clamp(min=0.05)


def follows(arm: Trained) -> float:
    """By how much the intensity follows the thickness that is set, as a share of what it truly would."""
    x, made, truth = _set(arm, "thickness")
    return _share(brightness(made) - brightness(x), brightness(truth) - brightness(x))


def moves(arm: Trained, strength: float = 2.0) -> float:
    """By how much the thickness that is set is there, as a share of what it truly would be."""
    x, made, truth = _set(arm, "thickness", strength)
    return _share(width(made) - width(x), width(truth) - width(x))


def gain(arm: Trained) -> float:
    """How much more of it arrives with strength 2 than with strength 1."""
    return moves(arm, 2.0) - moves(arm, 1.0)


def spills(arm: Trained) -> float:
    """How far the thickness moves when the intensity is set, as a share of how far it moves when it is set itself."""
    x, made, _ = _set(arm, "intensity")
    _, other, _ = _set(arm, "thickness")
    return float((width(made) - width(x)).abs().mean() / (width(other) - width(x)).abs().mean())


def _set(arm: Trained, name: str, strength: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Items, what they become when a variable is set to somebody else's value, and what they truly would."""
    import torch

    method: Any = arm.method
    world: Any = arm.data
    batch = world.take(torch.arange(200))
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    value = batch["factors"][order, list(world.variables).index(name)]
    with torch.no_grad():
        made = method.under(batch, {name: value}, strength)
    return batch["x"], made, world.counterfactual(torch.arange(200), {name: value})


def _share(made: Tensor, truth: Tensor) -> float:
    """The slope of one change against the other, through the origin."""
    return float((made * truth).sum() / truth.square().sum())


CLAIM = Claim(
    method="causal-diffae",
    task=(
        "4,000 `bars` of 16 pixels, whose thickness causes their intensity; two blocks of 8, a perceptron of width "
        "256, 100 steps of noise, 2,500 steps of training. Judged on 200 items, each with a value of somebody else."
    ),
    data="bars",
    settings=_SMALL,
    arms=(
        Arm("graph and labels", "causal-diffae"),
        Arm("no graph", "causal-diffae", {"graph": "none"}),
        Arm("no labels", "causal-diffae", {"labels": False}),
    ),
    contrasts=(
        Contrast("Setting the cause comes nearer to the truth than without the graph.", "do(thickness)",
                 "graph and labels", "no graph"),
        Contrast("Than without labels.", "do(thickness)", "graph and labels", "no labels"),
        Contrast("Setting the cause comes nearer to the truth than doing nothing.", "do(thickness)",
                 "graph and labels", 0.0),
        Contrast("Setting the effect comes nearer to the truth than doing nothing.", "do(intensity)",
                 "graph and labels", 0.0),
        Contrast("Each block tells its variable better than without labels.", "R2 of thickness",
                 "graph and labels", "no labels"),
        Contrast("With strength 2 the intensity follows the thickness set, more than without the graph.", "follows",
                 "graph and labels", "no graph"),
        Contrast("With strength 2 more of the thickness set arrives than with strength 1.", "gain of strength",
                 "graph and labels", 0.0),
        Contrast("Of the thickness that is set, so much arrives with strength 2.", "moves",
                 "graph and labels", 1.0, expect="report"),
        Contrast("The thickness moves when the intensity is set, which it should not.", "spills",
                 "graph and labels", 0.0, expect="report"),
        Contrast("Setting the effect, for which the graph should not matter.", "do(intensity)",
                 "graph and labels", "no graph", expect="report"),
    ),
    gates=gates,
    metrics={
        "do(thickness)": found(
            "truth of do(thickness)",
            "1 - squared error of counterfactuals to the world's truth / that of the items as they are.",
        ),
        "do(intensity)": found("truth of do(intensity)", "The same when the intensity is set."),
        "follows": Metric("Change of the intensity when the thickness is set, as a share of the true one.", follows),
        "moves": Metric("Change of the thickness when it is set, as a share of what it truly is.", moves),
        "gain of strength": Metric("The same with strength 2 less that with strength 1.", gain),
        "spills": Metric(
            "Change of the thickness when the intensity is set, as a share of that when it is set.", spills, False
        ),
        "R2 of thickness": found("R2 of thickness as its block says", "1 - error of the mean of its block / variance."),
    },
    note=(
        "All but the two rows on strength 2 were asserted first; these were added after the others had been measured, "
        "and ask what the mechanism itself should do. Without the graph, setting the cause comes nearer to the truth "
        "in pixels, and the intensity follows as far on these seeds (less on seeds 1 and 2): what goes together in "
        "the data comes back together, too. At the strength of training much of an item stays in the noise that is "
        "kept, so that of a thickness that is set some 40 % arrive on seeds 1 and 2, 60 % with strength 2 and 80 % "
        "with strength 3. Tried on these seeds without coming nearer: blocks fitted to the data by straight lines in "
        "place of the value, and the released way to keep the rest, noise added to a quarter of the steps (15 % "
        "arrive). The published comparisons (MorphoMNIST, Pendulum, CausalCircuit at 28 to 128 pixels, a U-Net of 128 "
        "channels, days of an accelerator) are not repeated here; the worlds `pendulum` and `flow` are there for "
        "them."
    ),
)  # fmt: skip
