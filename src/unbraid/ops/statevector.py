"""Circuits of qubits on state vectors, batched and differentiable, and on density matrices where there is noise.

Qubit 0 is the most significant bit: outcome 1 of two qubits reads 01, qubit 0 found in 0 and qubit 1 in 1.

A circuit is compiled into few large steps. The gates of a qubit between two entangling ones are one matrix, those of
several qubits are applied at once as one larger matrix, and the entangling gates between them are one permutation with
signs. The way back undoes the steps from the last state (the adjoint method), so that memory does not grow with depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise, zip_longest
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unbraid.core.errors import ConfigError, nearest

_R = 0.5**0.5
_FIXED: dict[str, tuple[tuple[complex, complex], tuple[complex, complex]]] = {
    "I": ((1, 0), (0, 1)),
    "X": ((0, 1), (1, 0)),
    "Y": ((0, -1j), (1j, 0)),
    "Z": ((1, 0), (0, -1)),
    "H": ((_R, _R), (_R, -_R)),
    "S": ((1, 0), (0, 1j)),
    "T": ((1, 0), (0, _R + _R * 1j)),
}
_ROTATIONS = ("RX", "RY", "RZ")
_PAIRS = ("CNOT", "CZ", "SWAP")
KINDS = (*_FIXED, *_ROTATIONS, *_PAIRS)
"""The gates there are; a rotation about P by the angle t is exp(-i t P / 2)."""

_TOGETHER = 4  # qubits under one matrix, at most: measured, for 10 qubits on a CPU


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        kind: One of `KINDS`.
        wires: The qubit, or the two of them, the controlling one first.
        angle: The angle of a rotation, where it is fixed,
        weight: or the number of a weight, which all items of a batch share,
        input: or the number of an input, which each item has for itself.

    Raises:
        ConfigError: The kind is unknown, or wires and angles do not go with it.
    """

    kind: str
    wires: tuple[int, ...]
    angle: float | None = None
    weight: int | None = None
    input: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("a gate", got=f"'{self.kind}'", fix=nearest(self.kind, KINDS))
        where, qubits = f"gate {self.kind}", 2 if self.kind in _PAIRS else 1
        if len(self.wires) != qubits or len(set(self.wires)) != qubits or min(self.wires) < 0:
            expected = "two different qubits" if qubits == 2 else "one qubit"
            raise ConfigError(expected, got=f"{self.wires}", where=where)
        numbers = [n for n in (self.weight, self.input) if n is not None]
        if any(n < 0 for n in numbers):
            raise ConfigError("the number of a weight or an input, from 0", got=str(min(numbers)), where=where)
        given = len(numbers) + (self.angle is not None)
        if given != (self.kind in _ROTATIONS):
            expected = "one of angle, weight and input" if self.kind in _ROTATIONS else "no angle"
            raise ConfigError(expected, got=f"{given} of them", where=where)


@dataclass(frozen=True)
class Noise:
    """What happens to every qubit of a gate after the gate.

    Attributes:
        depolarising: Probability that one of X, Y and Z is applied, each as likely.
        damping: Probability that 1 decays to 0.
    """

    depolarising: float = 0.0
    damping: float = 0.0

    def __post_init__(self) -> None:
        for name in ("depolarising", "damping"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError("a probability", got=str(getattr(self, name)), where=name)


class Circuit(nn.Module):
    """Gates on n qubits, compiled once and run on any batch. Holds no state of its own.

    Args:
        qubits: How many there are.
        gates: What is done to them, in order.

    Attributes:
        weights: How many weights the gates ask for.
        inputs: How many inputs they ask for.

    Raises:
        ConfigError: A gate lies on a qubit that is not there.

    >>> bell = Circuit(2, [Gate("H", (0,)), Gate("CNOT", (0, 1))])
    >>> probabilities(bell()).mul(2).round().tolist()
    [[1.0, 0.0, 0.0, 1.0]]
    >>> angle = torch.tensor([[0.0], [0.5]], dtype=torch.float64, requires_grad=True)
    >>> z = expectations(Circuit(1, [Gate("RY", (0,), input=0)])(angle), ["Z"])
    >>> slope = torch.autograd.grad(z.sum(), angle)[0]
    >>> torch.allclose(z, angle.cos()), torch.allclose(slope, -angle.sin())
    (True, True)
    """

    def __init__(self, qubits: int, gates: Sequence[Gate]) -> None:
        super().__init__()
        if qubits < 1:
            raise ConfigError("a circuit of one qubit or more", got=str(qubits))
        for gate in gates:
            if max(gate.wires) >= qubits:
                raise ConfigError(f"qubits 0..{qubits - 1}", got=f"{gate.wires}", where=f"gate {gate.kind}")
        self.qubits, self.gates = qubits, tuple(gates)
        self.weights = max((g.weight + 1 for g in gates if g.weight is not None), default=0)
        self.inputs = max((g.input + 1 for g in gates if g.input is not None), default=0)
        turns, entangling = _scheduled(qubits, self.gates)
        groups = _groups(qubits)
        self._own = [any(g.input is not None for gates in turn for g in gates) for turn in turns]
        self.shared = _Turns([t for t, own in zip(turns, self._own, strict=True) if not own], groups, self.inputs)
        self.own = _Turns([t for t, own in zip(turns, self._own, strict=True) if own], groups, self.inputs)
        self.entangling = nn.ModuleList(_Permutation(qubits, block) for block in entangling)
        self._layers = [_Layer.of(turn, groups, own) for turn, own in zip(turns, self._own, strict=True)]

    def forward(
        self,
        inputs: Float[Tensor, "batch inputs"] | None = None,
        weights: Float[Tensor, " weights"] | None = None,
        state: Complex[Tensor, "batch states"] | None = None,
    ) -> Complex[Tensor, "batch states"]:
        """The state at the end: complex128 where the angles are float64, complex64 where they are float32.

        Gradients flow to inputs, weights and state, once: there are no second derivatives. The batch is 1 where
        neither inputs nor a state have one.

        Args:
            inputs: The angles of each item.
            weights: The angles that all items share.
            state: What the circuit starts from; |0...0> where there is none.

        Raises:
            ConfigError: Fewer angles than the gates ask for, or a state of another size.
        """
        angles = self._angles(inputs, weights, state)
        shared, own = iter(self.shared(angles[:1])), iter(self.own(angles))
        turns = [next(own) if theirs else next(shared) for theirs in self._own]
        layers = self._layers
        if state is None:  # the first gates make a product of |0...0>
            columns = [m[..., 0].t().contiguous() for m in turns[0]]
            begun = reduce(lambda a, b: (a[:, None] * b).flatten(0, 1), columns)
            layers = [_Layer(()), *layers[1:]]
        else:
            begun = state.t()
        pairs = zip_longest(layers, self.entangling)
        steps = tuple(step for pair in pairs for step in pair if step is not None)
        matrices = [turn[k] for turn, layer in zip(turns, layers, strict=True) for k, _, _ in layer.groups]
        batch = max([begun.shape[1], *map(len, matrices)])
        out: Tensor = _Run.apply(begun.expand(-1, batch), steps, *matrices)  # type: ignore[no-untyped-call]
        return out.t()

    def density(
        self,
        inputs: Float[Tensor, "batch inputs"] | None = None,
        weights: Float[Tensor, " weights"] | None = None,
        noise: Noise = Noise(),
    ) -> Complex[Tensor, "batch states states"]:
        """The density matrix at the end of the circuit from |0...0>, gate by gate, with noise after each.

        It takes 4^n numbers for each item: up to about six qubits.

        Raises:
            ConfigError: Fewer angles than the gates ask for.
        """
        angles, n = self._angles(inputs, weights, None), self.qubits
        rho = torch.zeros(len(angles), 4**n, dtype=_complex(angles), device=angles.device)
        rho[:, 0] = 1
        for gate in self.gates:
            if gate.kind in _PAIRS:
                rho = _Permutation(n, [gate]).to(rho.device).both_sides(rho)
            else:
                matrix = _Turns([[[gate]]], [(0, 1)], self.inputs).to(rho.device)(angles)[0][0]
                rho = _each(rho, gate.wires[0], matrix.expand(len(rho), -1, -1))
                rho = _each(rho, n + gate.wires[0], matrix.conj().expand(len(rho), -1, -1))
            for qubit in gate.wires:
                rho = _noisy(rho, n, qubit, noise)
        return rho.reshape(-1, 2**n, 2**n)

    def _angles(
        self, inputs: Tensor | None, weights: Tensor | None, state: Tensor | None
    ) -> Float[Tensor, "batch angles"]:
        """The inputs and then the weights, for each item."""
        for name, given in (("inputs", inputs), ("weights", weights)):
            asked, got = getattr(self, name), 0 if given is None else given.shape[-1]
            if got < asked:
                raise ConfigError(f"{asked} {name}", got=str(got), where="circuit")
        if state is not None and state.shape[1:] != (2**self.qubits,):
            raise ConfigError(f"states (B, {2**self.qubits})", got=f"{tuple(state.shape)}", where="circuit")
        if state is not None and inputs is not None and len({1, len(state), len(inputs)}) > 2:
            raise ConfigError(f"{len(inputs)} states, as many as inputs", got=str(len(state)), where="circuit")
        known = [t for t in (inputs, weights) if t is not None]
        like = known[0] if known else torch.zeros(()) if state is None else state.real
        rows = 1 if inputs is None else len(inputs)
        columns = [like.new_zeros(rows, 0)]
        columns += [] if inputs is None else [inputs[:, : self.inputs]]
        columns += [] if weights is None else [weights[: self.weights].expand(rows, -1)]
        return torch.cat(columns, 1)


# ----------------------------------------------------------------------------------------------------- what is measured


def probabilities(state: Complex[Tensor, "batch states"]) -> Float[Tensor, "batch states"]:
    """The probability of each outcome when all qubits are measured."""
    return state.real.square() + state.imag.square()


def expectations(state: Complex[Tensor, "batch states"], words: Sequence[str]) -> Float[Tensor, "batch words"]:
    """The means of products of Pauli matrices, one letter for each qubit: "ZIX" is Z of qubit 0 times X of qubit 2.

    Raises:
        ConfigError: A word of another length, or with other letters.
    """
    qubits = state.shape[1].bit_length() - 1
    for word in words:
        if len(word) != qubits or set(word) - set("IXYZ"):
            raise ConfigError(f"{qubits} letters of I, X, Y and Z", got=f"'{word}'", where="expectations")
    plain = tuple(word for word in words if set(word) <= {"I", "Z"})
    found = dict(zip(plain, (probabilities(state) @ _signs(plain).to(state.real)).unbind(1), strict=True))
    for word in set(words) - set(plain):
        turned = state
        for qubit, letter in enumerate(word):
            if letter != "I":
                matrix = torch.tensor([_FIXED[letter]], dtype=state.dtype, device=state.device)
                turned = _each(turned, qubit, matrix.expand(len(state), -1, -1))
        found[word] = (state.conj() * turned).real.sum(1)
    return torch.stack([found[word] for word in words], 1)


@lru_cache(maxsize=64)
def _signs(words: tuple[str, ...]) -> Float[Tensor, "states words"]:
    """Of each outcome in products of I and Z."""
    columns = [_kron([torch.tensor([[1.0], [1.0 - 2 * (letter == "Z")]]) for letter in word])[:, 0] for word in words]
    return torch.stack(columns, 1) if columns else torch.zeros(0, 0)


def frequencies(
    p: Float[Tensor, "batch outcomes"], uniform: Float[Tensor, "batch shots"]
) -> Float[Tensor, "batch outcomes"]:
    """How often each outcome came in a number of shots, each decided by one uniform number in [0, 1).

    >>> frequencies(torch.tensor([[0.25, 0.0, 0.75]]), torch.tensor([[0.1, 0.3, 0.9, 0.2]])).tolist()
    [[0.5, 0.0, 0.5]]
    """
    edges = p.detach().cumsum(1)
    total = edges[:, -1:]
    below = torch.minimum(uniform.to(edges) * total, torch.nextafter(total, torch.zeros_like(total)))
    outcome = torch.searchsorted(edges, below, right=True)
    ones = torch.ones_like(outcome, dtype=p.dtype)
    return torch.zeros_like(edges).scatter_add_(1, outcome, ones) / uniform.shape[1]


def misread(p: Float[Tensor, "batch outcomes"], error: float) -> Float[Tensor, "batch outcomes"]:
    """The probabilities of what is read where every qubit is read wrongly with probability `error`.

    >>> misread(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.5).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    confusion = p.new_tensor([[1 - error, error], [error, 1 - error]]).expand(len(p), -1, -1)
    for qubit in range(p.shape[1].bit_length() - 1):
        p = _each(p, qubit, confusion)
    return p


# ------------------------------------------------------------------------------------------------------------ compiling

_Turn = list[list[Gate]]  # qubit -> its gates between two blocks of entangling ones


def _scheduled(qubits: int, gates: Sequence[Gate]) -> tuple[list[_Turn], list[list[Gate]]]:
    """Blocks of gates on one qubit and blocks of entangling ones in turn; every gate in the first that it can be in.

    Even layers 0, 2, ... hold gates on one qubit, odd ones the entangling; `layer` is the last that touched a qubit.
    """
    layer = [0] * qubits
    turns: list[_Turn] = [[[] for _ in range(qubits)]]
    entangling: list[list[Gate]] = []
    for gate in gates:
        at = max(layer[q] for q in gate.wires)
        at += at % 2 if len(gate.wires) == 1 else 1 - at % 2
        while len(turns) <= (at + 1) // 2:
            turns.append([[] for _ in range(qubits)])
            entangling.append([])
        if len(gate.wires) == 1:
            turns[at // 2][gate.wires[0]].append(gate)
        else:
            entangling[at // 2].append(gate)
        for q in gate.wires:
            layer[q] = at
    return turns, entangling


def _groups(qubits: int) -> list[tuple[int, int]]:
    """First qubit and number of qubits of each group that one matrix acts on; as even as can be."""
    many = -(-qubits // _TOGETHER)
    edges = [qubits * k // many for k in range(many + 1)]
    return [(a, b - a) for a, b in pairwise(edges)]


class _Turns(nn.Module):
    """The matrices of some blocks: for each qubit the product of its gates, for each group that of its qubits."""

    constants: Tensor
    turning: Tensor
    columns: Tensor
    index: Tensor

    def __init__(self, blocks: Sequence[_Turn], groups: Sequence[tuple[int, int]], inputs: int) -> None:
        super().__init__()
        self.groups = groups
        gates = [g for block in blocks for qubit in block for g in qubit]
        turning = [g for g in gates if g.angle is None and g.kind in _ROTATIONS]
        constants = [_FIXED["I"], *(_constant(g) for g in gates if g not in turning)]
        numbers = iter(range(1, len(constants))), iter(range(len(constants), len(constants) + len(turning)))
        index = [[[next(numbers[g in turning]) for g in qubit] for qubit in block] for block in blocks]
        longest = max((len(qubit) for block in index for qubit in block), default=1) or 1
        padded = [[qubit + [0] * (longest - len(qubit)) for qubit in block] for block in index]
        columns = [g.input if g.weight is None else inputs + g.weight for g in turning]
        paulis = [_FIXED[g.kind[1]] for g in turning]
        self._keep("constants", _planes(constants))
        self._keep("turning", _planes(paulis, -1j))
        self._keep("columns", torch.tensor(columns, dtype=torch.int64))
        qubits = sum(n for _, n in groups)
        places = torch.tensor(padded, dtype=torch.int64).reshape(len(blocks), qubits, longest)
        self._keep("index", places.permute(2, 0, 1).contiguous())

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def forward(self, angles: Float[Tensor, "batch angles"]) -> list[tuple[Complex[Tensor, "batch g g"], ...]]:
        """For each block and each group."""
        longest, blocks, qubits = self.index.shape
        kind = _complex(angles)
        half = angles.index_select(1, self.columns) / 2
        constants, turning = (torch.view_as_complex(t).to(kind) for t in (self.constants, self.turning))
        turned = half.cos() * constants[:, :, :1, None].mT + half.sin() * turning[:, :, None]  # exp(-i t P / 2)
        known = torch.cat([constants[:, :, None].expand(-1, -1, len(angles), -1), turned], 3)
        each = known.index_select(3, self.index.flatten()).reshape(2, 2, len(angles), longest, blocks, qubits)
        product = _product(each.unbind(3))  # (2, 2, B, blocks, qubits)
        made = [_kron(product[..., first : first + n].unbind(4)) for first, n in self.groups]
        return list(zip(*(m.permute(3, 2, 0, 1).contiguous().unbind(0) for m in made), strict=True))


def _constant(gate: Gate) -> Any:
    if gate.angle is None:
        return _FIXED[gate.kind]
    half = torch.tensor(gate.angle / 2, dtype=torch.float64)
    pauli = torch.tensor(_FIXED[gate.kind[1]], dtype=torch.complex128)
    return (half.cos() * torch.eye(2, dtype=torch.complex128) - 1j * half.sin() * pauli).tolist()


def _complex(angles: Tensor) -> torch.dtype:
    return torch.complex128 if angles.dtype == torch.float64 else torch.complex64


def _planes(matrices: Sequence[Any], factor: complex = 1) -> Tensor:
    """Entry by entry (2, 2, matrices), as real and imaginary part: no module's change of type can spoil them."""
    table = factor * torch.tensor(matrices, dtype=torch.complex128).reshape(-1, 2, 2)
    return torch.view_as_real(table.permute(1, 2, 0).contiguous())


def _product(factors: Sequence[Tensor]) -> Tensor:
    """The product of matrices (2, 2, ...), the first applied first, pair by pair."""
    while len(factors) > 1:
        pairs = zip(factors[::2], factors[1::2], strict=False)
        made = [b[:, :1] * a[:1] + b[:, 1:] * a[1:] for a, b in pairs]
        factors = [*made, *factors[2 * len(made) :]]
    return factors[0]


def _kron(factors: Sequence[Tensor]) -> Tensor:
    """The Kronecker product of matrices (a, b, ...), pair by pair, so that few of the products are large."""
    while len(factors) > 1:
        pairs = zip(factors[::2], factors[1::2], strict=False)
        made = [(a[:, None, :, None] * b[None, :, None, :]).flatten(2, 3).flatten(0, 1) for a, b in pairs]
        factors = [*made, *factors[2 * len(made) :]]
    return factors[0]


# -------------------------------------------------------------------------------------------------------------- running


def _each(x: Tensor, qubit: int, matrix: Tensor) -> Tensor:
    """The states (B, n) after a matrix (B, g, g) for each, on the qubits from `qubit` on."""
    cells = x.reshape(len(x), 2**qubit, matrix.shape[1], -1)
    if cells.shape[3] == 1:
        return torch.bmm(cells[..., 0], matrix.mT).reshape(len(x), -1)
    return (matrix[:, None] @ cells).reshape(len(x), -1)


def _all(x: Tensor, qubit: int, matrix: Tensor) -> Tensor:
    """The states (k, n, B) after one matrix (g, g) for all, on the qubits from `qubit` on."""
    cells = x.reshape(len(x) * 2**qubit, len(matrix), -1)
    return torch.bmm(matrix.expand(len(cells), -1, -1), cells).reshape(x.shape)


@dataclass(frozen=True)
class _Layer:
    """Matrices on groups of qubits, on states (k, n, B).

    Attributes:
        groups: Number, first qubit and size of the matrix of each group that is touched at all.
        own: Whether every item has matrices of its own.
    """

    groups: tuple[tuple[int, int, int], ...]
    own: bool = False

    @classmethod
    def of(cls, turn: _Turn, groups: Sequence[tuple[int, int]], own: bool) -> _Layer:
        """The layer of a block."""
        touched = [(k, first, 2**n) for k, (first, n) in enumerate(groups) if any(turn[first : first + n])]
        return cls(tuple(touched), own)

    def ahead(self, x: Tensor, matrices: Iterator[Tensor]) -> Tensor:
        """The matrices, one group after the other."""
        if not self.own:
            return reduce(lambda x, group: _all(x, group[1], next(matrices)[0]), self.groups, x)
        rows = x[0].t().contiguous()
        rows = reduce(lambda x, group: _each(x, group[1], next(matrices)), self.groups, rows)
        return rows.t().contiguous()[None]

    def undo(self, both: Tensor, matrices: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """State and gradient (2, n, B) before the layer, and the gradients of its matrices, the last first."""
        found = []
        both = both.mT.contiguous() if self.own else both
        for _, first, size in reversed(self.groups):
            matrix, after = matrices.pop(), both[1]
            if self.own:
                both = _each(both.flatten(0, 1), first, matrix.mH.repeat(2, 1, 1)).view_as(both)
                a, b = (t.reshape(len(t), 2**first, size, -1) for t in (after, both[0]))
                found.append(torch.bmm(b[..., 0].mH, a[..., 0]).mT if a.shape[3] == 1 else (a @ b.mH).sum(1))
            else:
                both = _all(both, first, matrix[0].mH)
                a, b = (t.reshape(2**first, size, -1) for t in (after, both[0]))
                found.append(torch.bmm(a, b.mH).sum(0, keepdim=True))
        return (both.mT.contiguous() if self.own else both), found


class _Permutation(nn.Module):
    """Entangling gates that only move amplitudes and change their signs: out[i] = sign[i] * state[source[i]]."""

    source: Tensor
    back: Tensor
    sign: Tensor

    def __init__(self, qubits: int, gates: Sequence[Gate]) -> None:
        super().__init__()
        here = torch.arange(2**qubits)
        source, sign = here, torch.ones(2**qubits, dtype=torch.int8)
        for gate in gates:
            first, second = (here >> (qubits - 1 - q) & 1 for q in gate.wires)
            bits = [1 << (qubits - 1 - q) for q in gate.wires]
            flip = {"CNOT": first * bits[1], "CZ": 0 * first, "SWAP": (first ^ second) * sum(bits)}[gate.kind]
            source, sign = source[here ^ flip], sign[here ^ flip]
            sign = sign * (1 - 2 * (first & second)).to(torch.int8) if gate.kind == "CZ" else sign
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("back", source.argsort(), persistent=False)
        self.register_buffer("sign", sign, persistent=False)
        self.moves, self.signs = bool((source != here).any()), bool((sign < 0).any())

    def ahead(self, x: Tensor) -> Tensor:
        """The gates, on states (k, n, B)."""
        x = x.index_select(1, self.source) if self.moves else x
        return x * self.sign[:, None] if self.signs else x

    def undo(self, x: Tensor) -> Tensor:
        """Their inverse."""
        x = x * self.sign[:, None] if self.signs else x
        return x.index_select(1, self.back) if self.moves else x

    def both_sides(self, rho: Tensor) -> Tensor:
        """The gates, on density matrices (B, n * n)."""
        n, sign = len(self.source), self.sign[:, None] * self.sign
        cells = rho.reshape(-1, n, n).index_select(1, self.source).index_select(2, self.source)
        return (cells * sign).flatten(1)


class _Run(torch.autograd.Function):
    """All steps ahead, on states (n, B); and back, undoing them while the gradient passes through their transposes."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, steps: tuple[_Layer | _Permutation, ...], *matrices: Tensor) -> Tensor:
        given, state = iter(matrices), state[None]
        for step in steps:
            state = step.ahead(state) if isinstance(step, _Permutation) else step.ahead(state, given)
        ctx.steps = steps
        ctx.save_for_backward(state[0], *matrices)
        return state[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        state, *matrices = ctx.saved_tensors
        both, found = torch.stack([state, gradients[0]]), []
        for step in reversed(ctx.steps):
            if isinstance(step, _Permutation):
                both = step.undo(both)
            else:
                both, theirs = step.undo(both, matrices)
                found += theirs
        return both[1], None, *reversed(found)


# ---------------------------------------------------------------------------------------------------------------- noise


def _noisy(rho: Complex[Tensor, "batch entries"], n: int, qubit: int, noise: Noise) -> Complex[Tensor, "batch entries"]:
    """One qubit after both channels: the sums over their Kraus operators, written out."""
    left, right = 2**qubit, 2 ** (n - 1 - qubit)
    cells = rho.reshape(len(rho), left, 2, right * left, 2, right)
    if noise.depolarising:
        p = noise.depolarising
        even = (cells[:, :, 0, :, 0] + cells[:, :, 1, :, 1])[:, :, None, :, None] / 2
        eye = torch.eye(2, dtype=cells.dtype, device=cells.device)[:, None, :, None]
        cells = (1 - 4 * p / 3) * cells + 4 * p / 3 * even * eye
    if noise.damping:
        g = noise.damping
        keep = (1 - g) ** torch.tensor([[0.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
        fed = torch.tensor([[g, 0.0], [0.0, 0.0]], dtype=torch.float64)
        keep, fed = (t.to(cells)[:, None, :, None] for t in (keep, fed))
        cells = keep * cells + fed * cells[:, :, 1:, :, 1:]
    return cells.reshape(len(rho), -1)
