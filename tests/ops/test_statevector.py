"""The circuits against products of dense matrices, closed forms and the parameter-shift rule."""

import random
from functools import reduce

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.ops.statevector import (
    KINDS,
    Circuit,
    Gate,
    Noise,
    expectations,
    frequencies,
    misread,
    probabilities,
)

I2 = torch.eye(2, dtype=torch.complex128)
X = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
Y = torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128)
Z = torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128)
LETTERS = {"I": I2, "X": X, "Y": Y, "Z": Z}
EIGHTH = torch.tensor([1, complex(0.5**0.5, 0.5**0.5)], dtype=torch.complex128)
CONSTANT = {**LETTERS, "H": (X + Z) / 2**0.5, "S": torch.diag(EIGHTH**2), "T": torch.diag(EIGHTH)}
PAIRS = ("CNOT", "CZ", "SWAP")


def kron(*matrices):
    return reduce(torch.kron, matrices)


def on(n, matrices):
    """The matrix on n qubits that is `matrices` on some and nothing on others."""
    return kron(*(matrices.get(q, I2) for q in range(n)))


def pair(n, kind, a, b):
    """By projectors, and SWAP as the mean of the Pauli products."""
    if kind == "SWAP":
        return sum(on(n, {a: m, b: m}) for m in LETTERS.values()) / 2
    up, down = (I2 + Z) / 2, (I2 - Z) / 2
    return on(n, {a: up}) + on(n, {a: down, b: X if kind == "CNOT" else Z})


def single(gate, inputs, weights):
    if gate.kind in CONSTANT:
        return CONSTANT[gate.kind]
    known = (gate.angle, None if gate.weight is None else weights[gate.weight])
    t = next((a for a in known if a is not None), None)
    t = inputs[gate.input] if t is None else torch.as_tensor(t, dtype=torch.float64)
    return (t / 2).cos() * I2 - 1j * (t / 2).sin() * LETTERS[gate.kind[1]]


def dense(n, gates, inputs, weights):
    """The whole circuit as one matrix."""
    whole = torch.eye(2**n, dtype=torch.complex128)
    for g in gates:
        step = pair(n, g.kind, *g.wires) if g.kind in PAIRS else on(n, {g.wires[0]: single(g, inputs, weights)})
        whole = step @ whole
    return whole


def random_gates(chance, n, count=24):
    gates = []
    for _ in range(count):
        kind = chance.choice([k for k in KINDS if n > 1 or k not in PAIRS])
        angle = {}
        if kind.startswith("R"):
            angle = chance.choice([{"angle": 2.5}, {"weight": chance.randrange(4)}, {"input": chance.randrange(3)}])
        gates.append(Gate(kind, tuple(chance.sample(range(n), 2 if kind in PAIRS else 1)), **angle))
    return gates


def slopes(value, given):
    if not value.requires_grad:
        return [torch.zeros_like(t) for t in given]
    return torch.autograd.grad(value, given, materialize_grads=True, allow_unused=True)


def unit(*shape):
    state = torch.randn(*shape, dtype=torch.complex128)
    return state / state.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("seed", range(16))
def test_any_circuit_is_the_product_of_its_gates_and_so_are_its_gradients(seed):
    chance = random.Random(seed)
    n = (1, 2, 3, 5, 6)[seed % 5]
    gates = random_gates(chance, n)
    torch.manual_seed(seed)
    inputs = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, dtype=torch.float64, requires_grad=True)
    start = unit(3, 2**n).requires_grad_() if seed % 2 else None
    zero = torch.eye(1, 2**n, dtype=torch.complex128).expand(3, -1)
    circuit = Circuit(n, gates)
    ours = circuit(inputs, weights, start).expand(3, -1)
    theirs = torch.stack(
        [dense(n, gates, inputs[b], weights) @ (zero if start is None else start)[b] for b in range(3)]
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    pull = unit(3, 2**n)
    given = [inputs, weights, *([] if start is None else [start])]
    found = [slopes((out * pull).real.sum(), given) for out in (ours, theirs)]
    for mine, right in zip(*found, strict=True):
        torch.testing.assert_close(mine, right, rtol=0, atol=1e-12)
    if start is None:
        rho = circuit.density(inputs.detach(), weights.detach())
        pure = theirs.detach()[:, :, None] * theirs.detach().conj()[:, None]
        torch.testing.assert_close(rho, pure, rtol=0, atol=1e-13)


def test_the_numerical_gradient():
    circuit = Circuit(3, random_gates(random.Random(3), 3))
    inputs = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, w: probabilities(circuit(i, w)), (inputs, weights))


def test_the_parameter_shift_rule():
    gates = [Gate("RY", (0,), input=0), Gate("CNOT", (0, 1)), Gate("RX", (1,), input=1), Gate("CZ", (1, 2))]
    circuit = Circuit(3, [Gate("H", (2,)), *gates, Gate("RZ", (2,), input=2), Gate("H", (2,))])
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def of(x):
        return probabilities(circuit(x))[:, 5]

    gradient = torch.autograd.grad(of(x).sum(), x)[0]
    shift = torch.pi / 2 * torch.eye(3, dtype=torch.float64)
    shifted = torch.stack([(of(x + s) - of(x - s)) / 2 for s in shift], 1)
    torch.testing.assert_close(gradient, shifted.detach(), rtol=0, atol=1e-14)


def test_memory_of_the_way_back_does_not_grow_with_depth():
    def saved(depth):
        gates = [g for d in range(depth) for g in (Gate("RX", (0,), weight=d), Gate("CNOT", (0, 1)))]
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            Circuit(6, gates)(weights=torch.zeros(depth, requires_grad=True), state=unit(8, 64).to(torch.complex64))
        return sum(size for size in sizes if size >= 64 * 8)

    assert saved(12) == saved(3)


def test_qubit_0_is_the_most_significant():
    state = Circuit(3, [Gate("X", (0,))])()
    assert probabilities(state)[0].argmax() == 0b100


@pytest.mark.parametrize("word", ["ZII", "IZZ", "XYZ", "IXI", "YIY"])
def test_expectations_are_those_of_the_dense_matrix(word):
    torch.manual_seed(0)
    state = unit(5, 8)
    matrix = kron(*(LETTERS[letter] for letter in word))
    right = torch.einsum("bi,ij,bj->b", state.conj(), matrix, state).real
    torch.testing.assert_close(expectations(state, ["III", word])[:, 1], right)
    torch.testing.assert_close(expectations(state, [word, "III"])[:, 1], torch.ones(5, dtype=torch.float64))


def kraus(rho, n, qubit, operators):
    each = [on(n, {qubit: k}) for k in operators]
    return sum(k @ rho @ k.mH for k in each)


def test_noise_is_the_sum_over_its_kraus_operators():
    gates = [Gate("RY", (0,), input=0), Gate("H", (1,)), Gate("CNOT", (0, 2)), Gate("RX", (2,), input=1)]
    x, p, g = torch.tensor([[0.3, 1.2]], dtype=torch.float64), 0.1, 0.2
    rho = Circuit(3, gates).density(x, noise=Noise(p, g))[0]
    upset = [(1 - p) ** 0.5 * I2, *((p / 3) ** 0.5 * m for m in (X, Y, Z))]
    decay = [torch.tensor(k, dtype=X.dtype) for k in ([[1, 0], [0, (1 - g) ** 0.5]], [[0, g**0.5], [0, 0]])]
    right = torch.zeros(8, 8, dtype=torch.complex128)
    right[0, 0] = 1
    for gate in gates:
        step = dense(3, [gate], x[0], None)
        right = step @ right @ step.mH
        for q in gate.wires:
            right = kraus(kraus(right, 3, q, upset), 3, q, decay)
    torch.testing.assert_close(rho, right, rtol=0, atol=1e-14)
    assert abs(rho.trace() - 1) < 1e-12


def test_wrong_reading_mixes_each_qubit_by_itself():
    torch.manual_seed(0)
    p, e = torch.rand(2, 8, dtype=torch.float64), 0.1
    confusion = torch.tensor([[1 - e, e], [e, 1 - e]], dtype=torch.float64)
    torch.testing.assert_close(misread(p, e), p @ kron(confusion, confusion, confusion).mT)


def test_frequencies_come_near_the_probabilities_and_never_hit_the_impossible():
    torch.manual_seed(0)
    p = torch.tensor([[0.0, 0.2, 0.0, 0.7, 0.1, 0.0]])
    seen = frequencies(p, torch.rand(1, 20_000))
    torch.testing.assert_close(seen, p, rtol=0, atol=0.015)
    assert not seen[p == 0].any()
    assert frequencies(p, torch.full((1, 1), 1 - 1e-9, dtype=torch.float64))[0, 4] == 1


def test_angles_in_float32_give_complex64():
    circuit = Circuit(1, [Gate("RY", (0,), input=0)])
    assert circuit(torch.zeros(2, 1)).dtype == torch.complex64
    assert circuit.double()(torch.zeros(2, 1, dtype=torch.float64)).dtype == torch.complex128


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Gate("RW", (0,)), "expected a gate, got 'RW'"),
        (lambda: Gate("CNOT", (1, 1)), "two different qubits"),
        (lambda: Gate("H", (0, 1)), "one qubit"),
        (lambda: Gate("RX", (0,)), "one of angle, weight and input"),
        (lambda: Gate("H", (0,), angle=1.0), "no angle"),
        (lambda: Gate("RX", (0,), weight=-1), "from 0"),
        (lambda: Circuit(2, [Gate("H", (2,))]), r"qubits 0\.\.1"),
        (lambda: Circuit(0, []), "one qubit or more"),
        (lambda: Circuit(1, [Gate("RX", (0,), input=2)])(torch.zeros(1, 2)), "3 inputs, got 2"),
        (lambda: Circuit(1, [Gate("RX", (0,), weight=0)])(), "1 weights, got 0"),
        (lambda: Circuit(2, [])(state=unit(1, 2)), r"states \(B, 4\)"),
        (lambda: Circuit(1, [])(torch.zeros(3, 1), state=unit(2, 2)), "3 states, as many as inputs"),
        (lambda: expectations(unit(1, 4), ["ZQ"]), "2 letters of I, X, Y and Z"),
        (lambda: Noise(depolarising=2.0), "a probability"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make, says):
    with pytest.raises(ConfigError, match=says):
        make()
