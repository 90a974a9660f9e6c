"""Quantum transfer: what five qubits keep of a code, against the same classifier of the code itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from unbraid.claims.claim import Arm, Claim, Contrast, Gate
from unbraid.claims.scoring import found
from unbraid.core.method import Method

_HALF = math.pi / 2


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """Facts of the circuit that the method has by default."""
    return list(_facts(cls.Config()))


def _facts(config: Any) -> Iterator[Gate]:
    import torch

    from unbraid.methods.quantum.transfer import feature_map
    from unbraid.ops.statevector import probabilities

    t = torch.rand(64, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * math.pi
    circuit = feature_map(5, config.hadamard, config.rotation)

    def measured(angles: torch.Tensor) -> torch.Tensor:
        return probabilities(circuit(angles))

    p = measured(t)
    zero = (1 + t.sin()) / 2
    marginals = torch.stack([zero, 1 - zero], 2)  # (items, qubits, 2)
    bits = torch.arange(32)[:, None] >> torch.arange(4, -1, -1) & 1
    before = bits ^ torch.cat([torch.zeros(32, 1, dtype=torch.int64), bits[:, :-1]], 1)
    product = torch.stack([marginals[:, q, before[:, q]] for q in range(5)]).prod(0)
    claim = "The 32 features are products of five numbers, their names exchanged by the CNOT gates."
    yield Gate(claim, "largest difference", float((p - product).abs().max()), 0.0, margin=1e-12)
    folded = float((p - measured(math.pi - t)).abs().max())
    yield Gate("Angles t and pi - t give the same features.", "largest difference", folded, 0.0, margin=1e-12)
    turned = feature_map(5, "none", "ry")
    apart = float((probabilities(turned(t)) - probabilities(turned(math.pi - t))).abs().max())
    yield Gate("Without the Hadamard gates they do not.", "largest difference", apart, 0.1, expect="better")
    angles = t[:4].requires_grad_()
    slope = torch.autograd.grad(measured(angles)[:, 3].sum(), angles)[0]
    shifts = _HALF * torch.eye(5, dtype=torch.float64)
    rule = torch.stack([(measured(angles + s) - measured(angles - s))[:, 3] / 2 for s in shifts], 1)
    off = float((slope - rule).detach().abs().max())
    yield Gate(
        "Gradients through the circuit obey the parameter-shift rule.", "largest difference", off, 0.0, margin=1e-12
    )


CLAIM = Claim(
    method="quantum-transfer",
    task=(
        "scikit-learn's 1,797 digits of 8 x 8 pixels, 30 % of them held out; code of 16 numbers after one hidden layer "
        "of 48, 30 epochs; five components as angles from 0 to pi; classifier of 128 and 64 units, 40 epochs. All "
        "accuracies are those on the digits held out."
    ),
    data="digits:size=8",
    settings={
        "hidden": (48,),
        "latents": 16,
        "batch": 64,
        "epochs": 30,
        "classifier_epochs": 40,
        "held": 0.3,
        "shots": None,
    },
    arms=(
        Arm("quantum", "quantum-transfer"),
        Arm("1,024 shots", "quantum-transfer", {"shots": 1024}),
        Arm("64 shots", "quantum-transfer", {"shots": 64}),
        Arm("code", "quantum-transfer", {"features": "code"}),
        Arm("components", "quantum-transfer", {"features": "components"}),
        Arm("not folded", "quantum-transfer", {"angles": (-_HALF, _HALF)}),
        Arm("no Hadamard", "quantum-transfer", {"hadamard": "none"}),
        Arm("trainable", "quantum-transfer", {"trainable_angles": True}),
    ),
    metrics={
        "accuracy": found("accuracy", "Share of the items held out whose class is told."),
        "accuracy, exchanged": found(
            "accuracy from another item's features",
            "The same where items exchange their features, on average: chance is 0.1.",
        ),
    },
    contrasts=(
        Contrast(
            "The quantum features tell the class worse than the code they are made of.",
            "accuracy",
            "quantum",
            "code",
            expect="worse",
            margin=0.15,
        ),
        Contrast("They tell it far above chance, which is 0.1.", "accuracy", "quantum", 0.45),
        Contrast(
            "Nothing else does: from another item's features it is not told.",
            "accuracy, exchanged",
            "quantum",
            0.2,
            expect="worse",
        ),
        Contrast(
            "Measured 64 times instead of exactly, they tell less.",
            "accuracy",
            "64 shots",
            "quantum",
            expect="worse",
            margin=0.03,
        ),
        Contrast(
            "What is lost is lost to folding: with angles from -pi/2 to pi/2, where no two look alike, it is not.",
            "accuracy",
            "not folded",
            "quantum",
            margin=0.1,
        ),
        Contrast("Nor is it without the Hadamard gates.", "accuracy", "no Hadamard", "quantum", margin=0.1),
        Contrast(
            "Against the five components, the honest control.", "accuracy", "quantum", "components", expect="report"
        ),
        Contrast("Not folded, against the five components.", "accuracy", "not folded", "components", expect="report"),
        Contrast("What 1,024 shots cost.", "accuracy", "1,024 shots", "quantum", expect="report"),
        Contrast(
            "What learning the angles' scales and offsets gives.", "accuracy", "trainable", "quantum", expect="report"
        ),
    ),
    gates=gates,
    note=(
        "The paper tells 98 % of MNIST from the code and 75 % from the quantum features. With its sizes on MNIST's "
        "10,000 test images (8,000 to learn from, 2,000 held out, seeds 11 to 13) the code gave 0.95, its five "
        "components 0.76, the quantum features 0.46 exactly and 0.44 by 1,024 shots, and 0.76 where angles are not "
        "folded: the classical features are better, as the paper says, and by more. Only abstracts of the paper were "
        "at hand, so that details of the circuit are a reconstruction; what folds is a Hadamard gate behind each "
        "rotation."
    ),
)
