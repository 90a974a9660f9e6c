"""One step of one stage: the only place that descends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, ContractError, NumericsError
from unbraid.core.fields import Batch
from unbraid.core.method import Alone, At, Clip, Group, Method, Optim, Stage, Terms, Update, World
from unbraid.data.order import key_of
from unbraid.nets.norm import together
from unbraid.training.lars import LARS
from unbraid.training.schedules import factor
from unbraid.training.world import any_process, average_

Precision = Literal["fp32", "bf16"]
Weighted = dict[str, tuple[float, Tensor]]


@dataclass(frozen=True)
class Report:
    """What one step yields: raw terms as "update/term", gauges and outputs, detached, on the training device."""

    terms: dict[str, Tensor]
    notes: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def numbers(self) -> dict[str, float]:
        """Terms and gauges as plain numbers (waits for the device)."""
        return {name: float(value) for name, value in {**self.terms, **self.notes}.items()}


class Stepper:
    """Runs the updates of one stage and owns their optimisers.

    A step is a function of the method's tensors, the optimisers' slots, the batch and (seed, stage, step): generators
    are seeded afresh for every update, and an update moves its own parameters only.

    Args:
        method: The method, on its device.
        stage: One of its stages.
        seed: Of the run.
        steps: Steps the stage will take in all.
        world: The processes that train together.
        precision: "bf16" runs the losses under autocast; parameters stay in fp32.
    """

    def __init__(
        self,
        method: Method[Any],
        stage: Stage,
        *,
        seed: int,
        steps: int,
        world: World | None = None,
        precision: Precision = "fp32",
    ) -> None:
        self.method, self.stage, self.seed, self.steps = method, stage, seed, steps
        self.world = world or Alone()
        self.precision = precision
        self.device = next((t.device for t in method.tensors().values()), torch.device("cpu"))
        self._generator = torch.Generator(self.device)
        self._moves = {u.name: _Descent(u, method) for u in stage.updates}
        if len(self._moves) < len(stage.updates):
            raise ContractError("updates with different names", got=stage.name)
        self.prepare()

    def prepare(self) -> None:
        """Put every submodule into the mode that the stage asks for."""
        self.method.train()
        for name, mode in self.stage.modes.items():
            self.method.get_submodule(name).train(mode)

    def step(self, batch: Batch, step: int, epoch: float = 0.0) -> Report:
        """Run hooks and updates once.

        Args:
            batch: Fields, or stream name -> fields.
            step: Number of the step, from 0.
            epoch: Passes over the first stream done so far.

        Raises:
            NumericsError: A loss or gradient is not finite; that update has not moved anything.
        """
        at = self.at(step, epoch)
        batch = self.viewed(batch, at)
        terms: dict[str, Tensor] = {}
        if self.stage.before:
            self._reseed(step, "before")
            self.stage.before(batch, at)
        for update in self.stage.updates:
            for turn in range(update.times if step % update.every == 0 else 0):
                self._reseed(step, f"{update.name}:{turn}")
                done = self._update(update, batch, at)
                terms |= {f"{update.name}/{name}": raw for name, raw in done.items()}
        if self.stage.after:
            self._reseed(step, "after")
            self.stage.after(batch, at)
        return Report(terms, at.notes, at.outputs)

    def at(self, step: int, epoch: float = 0.0) -> At:
        """What the losses of a step learn about the loop."""
        at = At(self.stage.name, step, self.steps, epoch, self.world, self.device, self._generator)
        at.moments = self._slots
        return at

    def viewed(self, batch: Batch, at: At) -> Batch:
        """The batch as the streams' views show it."""
        seen = dict(batch)
        for name, stream in self.stage.feed.items():
            if stream.views is not None:
                self._reseed(at.step, f"views:{name}")
                one = dict(seen[name] if name else seen)
                made = stream.views(one["x"], at)
                one |= made if isinstance(made, Mapping) else {"x": made}
                seen = {**seen, name: one} if name else one
        return seen

    def _slots(self, parameter: nn.Parameter) -> list[dict[str, Tensor]]:
        states = (move.optimizer.state.get(parameter) for move in self._moves.values())
        return [state for state in states if state]

    def state(self) -> dict[str, Tensor]:
        """Optimiser slots as "update|parameter|slot"."""
        return {f"{name}|{key}": slot for name, move in self._moves.items() for key, slot in move.state().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for key, slot in state.items():
            update, parameter, name = key.split("|")
            if update not in self._moves:
                raise ConfigError(f"an update of stage '{self.stage.name}'", got=f"'{update}'")
            self._moves[update].restore(parameter, name, slot)

    def _reseed(self, step: int, what: str) -> None:
        shared = key_of(self.seed, self.stage.name, step, what)
        self._generator.manual_seed(shared)
        mine = shared if self.world.rank == 0 else key_of(shared, self.world.rank)
        torch.default_generator.manual_seed(mine)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(mine)
        elif self.device.type == "mps":
            torch.mps.manual_seed(mine)

    def _update(self, update: Update, batch: Batch, at: At) -> dict[str, Tensor]:
        with self._autocast(), together(self.world):
            terms = update.loss(batch, at)
        if any_process(terms is None, self.world, self.device) or terms is None:
            return {}
        weighted = _weighted(terms)
        total = sum((w * raw.float().mean() for w, raw in weighted.values()), torch.zeros((), device=self.device))
        move = self._moves[update.name]
        if not total.requires_grad:
            raise ContractError(
                "a loss that depends on its parameters", got="a constant", where=f"update '{update.name}'"
            )
        raw = torch.autograd.grad(total, move.parameters, allow_unused=True)
        gradients = [_laid_out_as(p, g) for p, g in zip(move.parameters, raw, strict=True)]
        if self.world.size > 1:
            gradients = _filled(gradients, move.parameters, self.world)
            average_([g for g in gradients if g is not None], self.world)
        self._guard(update, weighted, total, gradients, batch, at)
        move.descend(gradients, at)
        if update.after:
            update.after(at)
        return {name: raw.detach().float().mean() for name, (_, raw) in weighted.items()}

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _guard(
        self,
        update: Update,
        weighted: Weighted,
        total: Tensor,
        gradients: Sequence[Tensor | None],
        batch: Batch,
        at: At,
    ) -> None:
        """Refuse numbers that are not finite; its one look at the device is the only one in a step."""
        moved = [g for g in gradients if g is not None]
        norms = torch._foreach_norm(moved) if moved else []
        if bool(torch.isfinite(torch.stack([total.detach(), *(n.float() for n in norms)]).sum())):
            return
        where = f"step {at.step} of stage '{at.stage}'"
        fix = "the update was not made; look at these samples, or lower the learning rate"
        for name, (_, raw) in weighted.items():
            bad = ~torch.isfinite(raw.detach())
            if bool(bad.any()):
                value = float(raw.detach()[bad][0]) if raw.ndim else float(raw)
                got = f"{value} in term '{update.name}/{name}' {_samples(batch, bad if raw.ndim else None)}"
                raise NumericsError("finite losses", got=got, fix=fix, where=where)
        for parameter, gradient in zip(self._moves[update.name].names, gradients, strict=True):
            if gradient is not None and not bool(torch.isfinite(gradient).all()):
                got = f"NaN or infinity for '{parameter}' in update '{update.name}' {_samples(batch, None)}"
                raise NumericsError("finite gradients", got=got, fix=fix, where=where)
        if not bool(torch.isfinite(total)):
            got = f"{float(total)} as the sum of update '{update.name}' {_samples(batch, None)}"
            raise NumericsError("finite losses", got=got, fix=fix, where=where)


class _Descent:
    """The parameters, groups and optimiser of one update."""

    def __init__(self, update: Update, method: Method[Any]) -> None:
        names = {id(p): name for name, p in method.named_parameters()}
        chosen = {id(p): p for p in _flat(update.params()) if p.requires_grad}
        if foreign := [p for key, p in chosen.items() if key not in names]:
            got = f"{len(foreign)} others of shapes {[tuple(p.shape) for p in foreign[:3]]}"
            raise ContractError("parameters that the method owns", got=got, where=f"update '{update.name}'")
        if not chosen:
            raise ContractError("parameters to move", got="none", where=f"update '{update.name}'")
        self.parameters = list(chosen.values())
        self.names = [names[key] for key in chosen]
        self.optim = update.optim
        self._group = [_group_of(n, p, update.optim) for n, p in zip(self.names, self.parameters, strict=True)]
        self._clips = _clips(update.optim, self._group)
        self.optimizer = _optimizer(update.optim, self.parameters, self._group)
        self._base = [(float(g["lr"]), float(g["weight_decay"])) for g in self.optimizer.param_groups]

    def descend(self, gradients: Sequence[Tensor | None], at: At) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        for members, clip in self._clips:
            reached = [self.parameters[i] for i in members if gradients[i] is not None]
            for parameter, clipped in zip(reached, _clipped([p.grad for p in reached], clip), strict=True):
                parameter.grad = clipped
        rate, decay = factor(self.optim.schedule, at), factor(self.optim.decay, at)
        for group, (base, shrink) in zip(self.optimizer.param_groups, self._base, strict=True):
            group["lr"], group["weight_decay"] = base * rate, shrink * decay
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        slots = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    slots[f"{name}|{key}"] = value
        return slots

    def restore(self, parameter: str, key: str, slot: Tensor) -> None:
        target = self.parameters[self.names.index(parameter)]
        slot = slot.to(target.device, copy=True)
        own = slot if slot.shape != target.shape else torch.empty_like(target, dtype=slot.dtype).copy_(slot)
        self.optimizer.state[target][key] = own


def _laid_out_as(parameter: Tensor, gradient: Tensor | None) -> Tensor | None:
    """The gradient in the memory layout of its parameter: fused optimisers walk both as flat memory."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _flat(owners: Iterable[nn.Module | nn.Parameter]) -> Iterable[nn.Parameter]:
    for owner in owners:
        yield from owner.parameters() if isinstance(owner, nn.Module) else [owner]


def _group_of(name: str, parameter: nn.Parameter, optim: Optim) -> Group | None:
    fit = (g for g in optim.groups if g.dims is None or parameter.ndim <= g.dims)
    return next((g for g in fit if re.search(g.match, name)), None)


def _clips(optim: Optim, groups: Sequence[Group | None]) -> list[tuple[list[int], Clip]]:
    rules = [(None, optim.clip), *((g, g.clip) for g in optim.groups)]
    return [([i for i, g in enumerate(groups) if g is owner], clip) for owner, clip in rules if clip is not None]


def _optimizer(
    optim: Optim, parameters: Sequence[nn.Parameter], groups: Sequence[Group | None]
) -> torch.optim.Optimizer:
    sets = []
    for owner in (None, *optim.groups):
        members = [p for p, g in zip(parameters, groups, strict=True) if g is owner]
        lr = optim.lr if owner is None or owner.lr is None else owner.lr
        decay = optim.weight_decay if owner is None or owner.weight_decay is None else owner.weight_decay
        trust = optim.trust if owner is None or owner.trust is None else owner.trust
        if members:
            sets.append({"params": members, "lr": lr, "weight_decay": decay})
            sets[-1] |= {"trust": trust} if optim.kind == "lars" else {}
    if optim.kind == "lars":
        return LARS(sets, momentum=optim.momentum)
    if optim.kind == "sgd":
        return torch.optim.SGD(sets, momentum=optim.momentum, nesterov=optim.nesterov)
    kind = torch.optim.Adam if optim.kind == "adam" else torch.optim.AdamW
    return kind(sets, betas=optim.betas, eps=optim.eps, fused=True)


def _clipped(gradients: Sequence[Tensor | None], clip: Clip) -> Sequence[Tensor]:
    """New tensors: two parameters may have been given one and the same gradient tensor."""
    given = [g for g in gradients if g is not None]
    if not given:
        return []
    if clip.kind == "value":
        return torch._foreach_clamp_max(torch._foreach_clamp_min(given, -clip.limit), clip.limit)
    norms = torch.stack(torch._foreach_norm(given))
    if clip.kind == "each":
        return torch._foreach_mul(given, torch.clamp(clip.limit / (norms + 1e-6), max=1.0).unbind())
    return torch._foreach_mul(given, torch.clamp(clip.limit / (torch.linalg.vector_norm(norms) + 1e-6), max=1.0))


def _weighted(terms: Terms) -> Weighted:
    return {name: term if isinstance(term, tuple) else (1.0, term) for name, term in terms.items()}


def _filled(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor], world: World) -> list[Tensor | None]:
    """Zeros for the parameters that another process reached; those that none did stay as they are, as with one."""
    mine = torch.tensor([float(g is not None) for g in gradients], device=parameters[0].device)
    given = zip(gradients, parameters, world.sum(mine).tolist(), strict=True)
    return [torch.zeros_like(p) if g is None and some else g for g, p, some in given]


def _samples(batch: Batch, bad: Tensor | None) -> str:
    """The positions in the data set of the bad rows, or of the whole batch where they cannot be told."""
    index = batch.get("index")
    if not isinstance(index, Tensor):
        inner = [b["index"] for b in batch.values() if isinstance(b, Mapping) and isinstance(b.get("index"), Tensor)]
        if not inner:
            return "(samples unknown)"
        index, bad = torch.cat([i.flatten() for i in inner]), None
    if bad is not None and len(bad) == len(index):
        index = index[bad]
    shown = index.flatten().tolist()
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return f"for samples {shown[:12]}{more}"
