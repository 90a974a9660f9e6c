"""The circuit of 260 angles on ten qubits of Ren et al. (2022), with gradients, in complex128 on both sides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.row import Row
from unbraid.ops.statevector import Circuit, Gate, expectations

QUBITS, ANGLES, BATCH = 10, 260, 20
GOAL = 10.0

Result = tuple[Tensor, Tensor]


def layout() -> list[tuple[str, tuple[int, ...], int]]:
    """Kind, wires and angle (-1 for none) of each gate: four blocks of RX and RZ layers, and CNOTs behind each."""
    gates: list[tuple[str, tuple[int, ...], int]] = []
    angle = 0
    for layers in (8, 6, 6, 6):
        for layer in range(layers):
            for q in range(QUBITS):
                gates.append(("RX" if layer % 2 == 0 else "RZ", (q,), angle))
                angle += 1
        gates += [("CNOT", (q, q + 1), -1) for first in (0, 1) for q in range(first, QUBITS - 1, 2)]
    return gates


def given() -> tuple[Tensor, Tensor, Tensor]:
    """Data angles (B, 260), weights (260,) and states (B, 1024)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, ANGLES, dtype=torch.float64, generator=generator)
    weights = torch.randn(ANGLES, dtype=torch.float64, generator=generator)
    parts = torch.randn(2, BATCH, 2**QUBITS, dtype=torch.float64, generator=generator)
    states = torch.complex(*parts)
    return x, weights, states / states.norm(dim=1, keepdim=True)


def ours(own: bool) -> Callable[[], Result]:
    """Our side; each item has angles of its own, or a state of its own and the weights are shared."""
    gates = [Gate(k, w) if a < 0 else Gate(k, w, **{"input" if own else "weight": a}) for k, w, a in layout()]
    circuit = Circuit(QUBITS, gates)
    words = ["I" * q + "Z" + "I" * (QUBITS - 1 - q) for q in range(QUBITS)]
    return partial(
        _run,
        own,
        lambda angles: expectations(circuit(inputs=angles), words),
        lambda weights, states: expectations(circuit(weights=weights, state=states), words),
    )


def peer(own: bool) -> Callable[[], Result]:
    """PennyLane's `default.qubit` through torch, by back-propagation, which it takes by itself."""
    import pennylane as qml

    device = qml.device("default.qubit", wires=QUBITS)

    @qml.qnode(device, interface="torch", diff_method="backprop")
    def node(angles: Tensor, states: Tensor | None = None) -> Any:
        if states is not None:
            qml.StatePrep(states, wires=range(QUBITS))
        for kind, wires, angle in layout():
            getattr(qml, kind)(*([angles[..., angle]] if angle >= 0 else []), wires=list(wires))
        return [qml.expval(qml.PauliZ(q)) for q in range(QUBITS)]

    return partial(
        _run,
        own,
        lambda angles: torch.stack(node(angles), 1),
        lambda weights, states: torch.stack(node(weights, states), 1),
    )


def _run(own: bool, on_inputs: Callable[..., Tensor], on_states: Callable[..., Tensor]) -> Result:
    x, weights, states = given()
    weights.requires_grad_()
    z = on_inputs(x + weights) if own else on_states(weights, states)
    return z.detach(), torch.autograd.grad(z.square().sum(), weights)[0]


def _same(ours: Result, theirs: Result) -> None:
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, right, rtol=0, atol=1e-12)


def row(name: str, own: bool) -> Row:
    """One of the two rows."""
    return Row(name, GOAL, ours(own), peer(own), _same)


ROWS = {name: partial(row, name, own) for name, own in (("statevector", False), ("statevector_own_angles", True))}
