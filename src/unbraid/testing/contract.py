"""`check_method`: the whole contract, for our methods and for anybody's."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unbraid.core.action import actions
from unbraid.core.card import Card
from unbraid.core.config import from_json, override, to_json
from unbraid.core.errors import ContractError, DataError
from unbraid.core.fields import Field, Fields, observation
from unbraid.core.given import Given
from unbraid.core.method import (
    Alone,
    At,
    Decodes,
    Examines,
    Infers,
    Method,
    Predicts,
    Samples,
    Source,
    Stage,
    World,
    capabilities,
)
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, check_parts
from unbraid.data.dataset import Dataset
from unbraid.training.build import build, stand_in
from unbraid.training.feed import budget, feed
from unbraid.training.fit import fit, own_chance
from unbraid.training.runs import Run
from unbraid.training.signals import InterruptedRunError
from unbraid.training.stepper import Stepper
from unbraid.verbs.trying import tiny_config, tiny_data

Make = Callable[[], Method[Any]]


def check_method(
    cls: type[Method[Any]],
    data: Dataset | Mapping[str, Dataset] | None = None,
    config: Any = None,
    *,
    seed: int = 0,
    given: Mapping[str, nn.Module] | None = None,
) -> list[str]:
    """Hold the contract and its four laws against a method.

    Args:
        cls: The method class.
        data: A small data set with the fields it needs, or several by name; what its card names where None.
        config: Options; the preset "tiny" where None.
        seed: Of the runs it makes.
        given: Networks for its ports; stand-ins, trained for the data, where they are left open.

    Returns:
        The names of the checks that were made, in order.

    Raises:
        ContractError: A check failed; names it and what was seen.

    >>> from unbraid.methods.latent.ae import AE
    >>> from unbraid.testing.made import tiny_vectors
    >>> check_method(AE, tiny_vectors())[:3]
    ['card', 'config', 'fields']
    """
    data = tiny_data(cls) if data is None else data
    first = next(iter(data.values())) if isinstance(data, Mapping) else data
    subject = _Subject(cls, tiny_config(cls) if config is None else config, data, first, seed)
    subject.given = stand_in(cls, first, seed, given)
    done = []
    for check in _CHECKS:
        try:
            check(subject)
        except ContractError as error:
            raise ContractError(
                error.expected, got=error.got, where=f"{cls.__name__}, check '{_name(check)}'"
            ) from error
        done.append(_name(check))
    return done


class _Subject:
    """A method class under examination."""

    given: Given

    def __init__(
        self,
        cls: type[Method[Any]],
        config: Any,
        data: Dataset | Mapping[str, Dataset],
        first: Dataset,
        seed: int,
    ) -> None:
        self.cls, self.config, self.data, self.first, self.seed = cls, config, data, first, seed

    def make(self) -> Method[Any]:
        return build(self.cls, self.config, self.first.fields, self.seed, self.given)

    def sources(self, method: Method[Any]) -> Mapping[str, Source]:
        return self.data if isinstance(self.data, Mapping) else method.sources(self.data)

    def trained(self) -> Method[Any]:
        method = self.make()
        fit(method, self.data, seed=self.seed)
        return method

    def encodable(self) -> Method[Any]:
        """As built, or trained where codes follow from the whole data set."""
        return (self.trained() if self.cls.card.scope == "data" else self.make()).eval()

    def batch(self, n: int = 6) -> dict[str, Tensor]:
        items = self.first.audited
        return items.take(torch.arange(n) % len(items))


def _name(check: Callable[[_Subject], None]) -> str:
    return check.__name__.removeprefix("_check_").replace("_", " ")


def _demand(true: bool, expected: str, got: object) -> None:
    if not true:
        raise ContractError(expected, got=str(got))


def _check_card(s: _Subject) -> None:
    _demand(isinstance(getattr(s.cls, "card", None), Card), "a card of type Card", getattr(s.cls, "card", None))
    _demand(bool(s.cls.card.summary), "a card with a summary", "an empty one")


def _check_config(s: _Subject) -> None:
    _demand(from_json(type(s.config), to_json(s.config)) == s.config, "a config that survives JSON", s.config)
    for name, changes in {**s.cls.presets, **s.cls.aliases}.items():
        _demand(isinstance(override(s.cls.Config(), changes), s.cls.Config), f"a preset '{name}' that builds", changes)


def _check_fields(s: _Subject) -> None:
    try:
        build(s.cls, s.config, Fields(), s.seed, s.given)
    except DataError:
        pass
    else:
        raise ContractError("DataError for data without the needed fields", got="no error")
    if "x" not in s.cls.card.needs:
        return
    wrong = {
        n: Field((*f.shape, 2, 3, 5, 7), f.dtype, unit=f.unit) if n == "x" else f for n, f in s.first.fields.items()
    }
    try:
        build(s.cls, s.config, Fields(**wrong), s.seed, s.given)
    except DataError:
        return
    raise ContractError("DataError for observations of rank 5 and more", got="no error")


def _check_parts(s: _Subject) -> None:
    method = s.encodable()
    with torch.no_grad():
        check_parts(method.parts(), method.encode(s.batch()))
        check_parts(method.parts(), method.encode(s.batch(1)))


def _check_state(s: _Subject) -> None:
    """Law 1: what survives a step is a parameter, a buffer, a slot or an optimiser slot."""
    method = s.make()
    with own_chance(torch.device("cpu")):
        for stage in method.stages():
            for stepper, step, batch in _steps(s, method, stage, 2):
                before = _attributes(method)
                stepper.step(batch, step)
                changed = [name for name, value in _attributes(method).items() if before.get(name) != value]
                _demand(not changed, "state in parameters, buffers and slots alone", f"changed attributes {changed}")


def _check_descent(s: _Subject) -> None:
    """Law 2: an update moves its own parameters, and leaves nobody a gradient."""
    method = s.make()
    with own_chance(torch.device("cpu")):
        for stage in method.stages():
            for stepper, step, batch in _steps(s, method, stage, 1):
                owned = {name for move in stepper._moves.values() for name in move.names}
                before = {n: p.detach().clone() for n, p in method.named_parameters()}
                stepper.step(batch, step)
                moved = {n for n, p in method.named_parameters() if not torch.equal(p, before[n])}
                if not (stage.before or stage.after or any(u.after for u in stage.updates)):
                    _demand(moved <= owned, "updates that move their own parameters", sorted(moved - owned))
                left = [n for n, p in method.named_parameters() if p.grad is not None]
                _demand(not left, "no gradient left behind", left)


def _check_chance(s: _Subject) -> None:
    """Law 3: the same seed gives the same bits, whatever the caller's generators did; they are left alone."""
    first = s.trained().tensors()
    torch.rand(7)
    before = torch.get_rng_state()
    second = s.trained().tensors()
    _demand(torch.equal(before, torch.get_rng_state()), "the caller's generator untouched", "it moved")
    _same(first, second, "the same bits from the same seed")


def _check_sums(s: _Subject) -> None:
    """Law 4: value and gradient of two processes that share a batch are those of one (in eval mode)."""
    method = s.make()
    with own_chance(torch.device("cpu")):
        for stage in method.stages():
            for stepper, _, batch in _steps(s, method, stage, 1):
                method.eval()
                seen = stepper.viewed(batch, stepper.at(0))
                halves = [_part_of(seen, rank) for rank in (0, 1)]
                together = {name: torch.cat([h[name] for h in halves]) for name in halves[0]}
                one = _losses(stepper, [_nested(together)], [Alone()])
                two = _losses(stepper, [_nested(h) for h in halves], _sides())
                for update in stage.updates:
                    _agree(stepper, update.name, one[update.name], two[update.name])


def _check_resume(s: _Subject) -> None:
    """A run stopped in the middle of each stage and resumed ends in the same bits."""
    whole = s.trained().tensors()
    for number, stage in enumerate(s.make().stages()):
        steps = budget(stage, s.sources(s.make()))
        for stop in {max(1, steps // 2), steps} if steps else set():
            with tempfile.TemporaryDirectory() as folder:
                run = Run.create(Path(folder) / "run", {})
                try:
                    fit(s.make(), s.data, seed=s.seed, run=run, progress=_StopAt(number, stop))
                except InterruptedRunError:
                    torch.rand(3)
                method = s.make()
                fit(method, s.data, seed=s.seed, run=run)
            _same(whole, method.tensors(), f"the same bits after a stop at step {stop} of stage '{stage.name}'")


def _check_save_and_load(s: _Subject) -> None:
    trained, fresh = s.trained(), s.make()
    fresh.load_tensors(trained.tensors())
    fresh.refresh()
    _same(trained.tensors(), fresh.tensors(), "the same tensors after loading")
    with torch.no_grad():
        one, two = (m.eval().encode(s.batch()) for m in (trained, fresh))
    _same(dict(one), dict(two), "the same parts after loading")


def _check_scope(s: _Subject) -> None:
    if s.cls.card.scope != "item":
        return
    method = s.make().eval()
    with torch.no_grad():
        together = method.encode(s.batch(6))
        alone = Parts.cat([method.encode({k: v[i : i + 1] for k, v in s.batch(6).items()}) for i in range(6)])
    for name in together:
        close = torch.allclose(together[name].float(), alone[name].float(), atol=1e-4, rtol=1e-3)
        _demand(close, f"part '{name}' of an item the same in any batch", "other values")


def _check_capabilities(s: _Subject) -> None:
    method = s.encodable()
    batch = s.batch()
    with torch.no_grad():
        parts = method.encode(batch)
        if isinstance(method, Decodes):
            made, wanted = method.decode(parts), batch[observation(batch)]
            _demand(made.shape == wanted.shape, f"decode to give {tuple(wanted.shape)}", tuple(made.shape))
            one, other = parts.rows(slice(0, 3)), parts.rows(slice(3, 6))
            for spec in method.parts():
                back = one.swap(other, spec.name)[0].swap(one.swap(other, spec.name)[1], spec.name)
                _same(dict(one), dict(back[0]), f"two swaps of '{spec.name}' to be the identity")
        if isinstance(method, Infers):
            mean, spread = method.posterior(batch)
            _demand(set(mean) == set(spread) <= set(parts), "posteriors of declared parts", list(mean))
        if isinstance(method, Samples):
            drawn = method.sample(3, torch.Generator().manual_seed(0))
            _demand(drawn.shape == (3, *batch["x"].shape[1:]), "samples like the data", tuple(drawn.shape))
        if isinstance(method, Predicts):
            logits = method.predict(batch).logits
            classes = s.first.fields["label"].classes if "label" in s.first.fields else logits.shape[1]
            _demand(tuple(logits.shape) == (6, classes), "a logit of every class", tuple(logits.shape))


def _check_actions(s: _Subject) -> None:
    actions(s.cls)
    method = s.trained() if "examines" in capabilities(s.cls) else s.make()
    if isinstance(method, Examines):
        with own_chance(torch.device("cpu")):
            found = method.examine(s.first)
        _demand(isinstance(found, Findings), "findings from an examination", type(found))
        _demand(bool(found.numbers or found.tables), "findings with a number", "none")


_CHECKS: tuple[Callable[[_Subject], None], ...] = (
    _check_card,
    _check_config,
    _check_fields,
    _check_parts,
    _check_state,
    _check_descent,
    _check_chance,
    _check_sums,
    _check_resume,
    _check_save_and_load,
    _check_scope,
    _check_capabilities,
    _check_actions,
)


class _StopAt:
    """A progress that asks the run to stop after a step of a stage, as a signal would."""

    def __init__(self, stage: int, step: int) -> None:
        self.left, self.step = stage, step
        self.begun = -1

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self.begun += 1

    def advance(self, done: int, terms: Mapping[str, float] | None = None) -> None:
        if self.begun == self.left and done == self.step and terms is None:
            import signal

            signal.raise_signal(signal.SIGTERM)

    def end(self) -> None:
        return


def _steps(s: _Subject, method: Method[Any], stage: Stage, n: int) -> Iterator[tuple[Stepper, int, Any]]:
    sources = s.sources(method)
    if stage.solve is not None:
        method.eval()
        with torch.no_grad():
            stage.solve(sources, At(stage.name))
    steps = budget(stage, sources)
    if not steps:
        return
    stepper = Stepper(method, stage, seed=s.seed, steps=steps)
    device = torch.device("cpu")
    drawn = feed(stage, sources, seed=s.seed, first=0, steps=min(n, steps), world=Alone(), device=device)
    for step, (_, batch) in enumerate(drawn):
        yield stepper, step, batch


_KEPT_BY_TORCH = {
    "training",
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
    "_flat_weights",  # of recurrent layers: the parameters once more
}


def _attributes(method: nn.Module) -> dict[str, str]:
    """Plain attributes of all submodules, less what torch itself keeps there."""
    kept = {}
    for where, module in method.named_modules():
        for name, value in vars(module).items():
            if name not in _KEPT_BY_TORCH:
                kept[f"{where}.{name}"] = repr(value) if not isinstance(value, Tensor) else repr(value.tolist())
    return kept


def _losses(stepper: Stepper, batches: list[Any], worlds: Sequence[World]) -> dict[str, list[Tensor | None]]:
    """Update -> its loss in each world; the worlds run side by side in threads."""
    found: dict[str, list[Tensor | None]] = {u.name: [None] * len(worlds) for u in stepper.stage.updates}
    failed: list[Exception] = []

    def side(rank: int) -> None:
        at = At(stepper.stage.name, 0, stepper.steps, world=worlds[rank])
        try:
            for update in stepper.stage.updates:
                at.generator.manual_seed(0)
                terms = update.loss(batches[rank], at)
                if terms is not None:
                    pairs = [t if isinstance(t, tuple) else (1.0, t) for t in terms.values()]
                    found[update.name][rank] = torch.stack([w * t.mean() for w, t in pairs]).sum()
        except Exception as error:
            failed.append(error)
            if isinstance(world := worlds[rank], _Side):
                world.meet.abort()

    threads = [threading.Thread(target=side, args=(rank,)) for rank in range(len(worlds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return found


def _agree(stepper: Stepper, name: str, one: list[Tensor | None], two: list[Tensor | None]) -> None:
    if one[0] is None or two[0] is None or two[1] is None:
        _demand(one[0] is two[0] is two[1], f"update '{name}' declined by all processes or none", "some")
        return
    averaged, parameters = (two[0] + two[1]) / 2, stepper._moves[name].parameters
    what = f"update '{name}' the same with two processes (a mean, or a sum through at.world)"
    close = torch.allclose(one[0], averaged, rtol=1e-3, atol=1e-4)
    _demand(close, what, f"loss {one[0].item():.5g} with one and {averaged.item():.5g} with two")
    gradients = [torch.autograd.grad(t, parameters, allow_unused=True, retain_graph=True) for t in (one[0], averaged)]
    for a, b in zip(*gradients, strict=True):
        same = (a is b is None) or (a is not None and b is not None and torch.allclose(a, b, rtol=1e-2, atol=1e-4))
        _demand(same, what, "other gradients")


class _Side:
    """One of two processes, played by a thread; gradients flow to both."""

    size = 2

    def __init__(self, rank: int, meet: threading.Barrier, table: list[Any]) -> None:
        self.rank, self.meet, self.table = rank, meet, table

    def _both(self, x: Tensor) -> list[Tensor]:
        self.table[self.rank] = x
        self.meet.wait()
        both = list(self.table)
        self.meet.wait()
        return both

    def sum(self, x: Tensor) -> Tensor:
        return torch.stack(self._both(x)).sum(0)

    def mean(self, x: Tensor) -> Tensor:
        return self.sum(x) / 2

    def gather(self, x: Tensor) -> Tensor:
        return torch.cat(self._both(x))


def _sides() -> list[_Side]:
    meet, table = threading.Barrier(2, timeout=60), [None, None]
    return [_Side(rank, meet, table) for rank in (0, 1)]


def _part_of(batch: Any, rank: int, prefix: str = "") -> dict[str, Tensor]:
    """One process's half of a batch, streams flattened to "stream/field"."""
    half: dict[str, Tensor] = {}
    for name, value in batch.items():
        if isinstance(value, Mapping):
            half |= _part_of(value, rank, f"{name}/")
        else:
            size = len(value) // 2
            half[prefix + name] = value[rank * size : (rank + 1) * size]
    return half


def _nested(flat: Mapping[str, Tensor]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        stream, slash, field = name.partition("/")
        if slash:
            nested.setdefault(stream, {})[field] = value
        else:
            nested[name] = value
    return nested


def _same(one: Mapping[str, Tensor], two: Mapping[str, Tensor], what: str) -> None:
    _demand(set(one) == set(two), what, f"other names {sorted(set(one) ^ set(two))}")
    differ = [name for name in one if not torch.equal(one[name], two[name])]
    _demand(not differ, what, f"differences in {differ}")
