"""KRR-ST: what fresh networks learn from thirty made digits and targets, against thirty real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained, found

if TYPE_CHECKING:
    from unbraid.core.method import Method


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """The closed form, and where gradients go."""
    return [*_closed_form(), *_gradients(cls)]


def _closed_form() -> Iterator[Gate]:
    import torch

    from unbraid.ops.linalg import kernel_ridge

    generator = torch.Generator().manual_seed(0)
    known, query, values = (torch.randn(n, generator=generator, dtype=torch.float64) for n in ((9, 6), (7, 6), (9, 4)))
    phi, asked = (torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) for x in (known, query))
    ridge = 1e-2 * (phi @ phi.mT).trace() * torch.eye(7, dtype=phi.dtype)
    weights = torch.linalg.solve(phi.mT @ phi + ridge, phi.mT @ values)
    apart = float((kernel_ridge(query, known, values, 1e-2) - asked @ weights).abs().max())
    claim = "The closed form by products of images is ridge regression on their features, a constant 1 among these."
    yield Gate(claim, "largest difference", apart, 0.0, margin=1e-10)


def _gradients(cls: type[Method[Any]]) -> Iterator[Gate]:
    import torch

    from unbraid.core.config import override
    from unbraid.core.method import At
    from unbraid.data.catalog import open_data
    from unbraid.data.wrapped import in_roles
    from unbraid.training.build import build, shaped

    data = in_roles(open_data("digits:size=8"), ["x"], {}, ("label",))
    config = override(cls.Config(), {**cls.presets["tiny"], "augment": "none"})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        method: Any = build(cls, config, data.fields, 0, shaped(cls, data.fields))
        method.begin(method.sources(data), At())
    target = list(method.target.net.inner.parameters())
    for weight in target:
        weight.requires_grad_(True)
    x = data.take(torch.arange(32))["x"].clone().requires_grad_(True)
    loss = method.loss({"x": x}, At())["error"].mean()
    slopes = torch.autograd.grad(loss, [method.images, method.targets, x, *target], allow_unused=True)
    claim = "The error on real images has a gradient in the made images and in their targets."
    yield Gate(
        claim, "the smaller of the largest entries", min(float(g.abs().max()) for g in slopes[:2]), 0.0, "better"
    )
    claim = "It has none in the real images and in the weights of the target, even where one is asked for."
    yield Gate(claim, "tensors reached", float(sum(g is not None for g in slopes[2:])), 0.0)


def gap(other: str) -> Metric:
    """What the probe tells after the made set, less after another."""

    def of(arm: Trained) -> float:
        numbers = arm.findings.numbers
        return float(numbers["probe of digit, made set"] - numbers[f"probe of digit, {other}"])

    return Metric(f"Share of held-out digits that a probe of 5 labels a class tells, less after {other}.", of)


def ratio(other: str) -> Metric:
    """The error after the made set, as a share of that after another."""

    def of(arm: Trained) -> float:
        numbers = arm.findings.numbers
        return float(numbers["error, made set"] / numbers[f"error, {other}"])

    return Metric(f"Error of fresh networks on held-out digits, as a share of that after {other}.", of, more=False)


CLAIM = Claim(
    method="krr-st",
    task=(
        "30 images made of 1,438 `digits` of 8 x 8 pixels, the other 359 held out; the target is a small encoder that "
        "learned the labels, 32 numbers of mean 0 and variance 1. Networks of two blocks, three in the pool; 300 steps "
        "of distillation. Two fresh networks learn each set for 200 epochs."
    ),
    data="digits:size=8",
    settings={
        "images": 30,
        "widths": (16, 32),
        "pool": 3,
        "horizon": 100,
        "augment": "none",
        "pixels": "raw",
        "batch": 256,
        "steps": 300,
        "optim.lr": 1e-2,
        "epochs": 200,
        "fresh": 2,
    },
    arms=(
        Arm("krr-st", "krr-st"),
        Arm("images alone", "krr-st", {"learned": "images"}),
        Arm("targets alone", "krr-st", {"learned": "targets"}),
    ),
    metrics={
        "error": found("error, made set", "Mean squared error of fresh networks on held-out digits.", more=False),
        "of random": ratio("random images"),
        "of herded": ratio("herded images"),
        "gap to random": gap("random images"),
        "gap to nothing": gap("nothing"),
    },
    contrasts=(
        Contrast(
            "Fresh networks tell the target's numbers with at least a tenth less error than after the 30 real images "
            "that it began with.",
            "of random",
            "krr-st",
            0.9,
        ),
        Contrast("And than after 30 images chosen by herding.", "of herded", "krr-st", 0.9),
        Contrast(
            "Targets must be learned, too: with images alone, the error is larger.", "error", "krr-st", "images alone"
        ),
        Contrast("And so must images: with targets alone, it is larger.", "error", "krr-st", "targets alone"),
        Contrast(
            "What was learned serves another task: a probe tells more digits than without it.",
            "gap to nothing",
            "krr-st",
            0.03,
        ),
        Contrast("It tells no fewer than after real images, but for 3 points.", "gap to random", "krr-st", -0.03),
    ),
    gates=gates,
    note=(
        "The settings were chosen on seeds 1 and 2. Five labels of each class are few, and "
        "the probe alone could not tell the made images from real ones. The paper's headline is the mean accuracy "
        "after fine-tuning on seven data sets, with 1,000 images made of CIFAR-100 in 160,000 steps and a Barlow Twins "
        "target: about two days on an accelerator for three seeds would decide it."
    ),
)
