"""The contract of a method: parts, stages of updates, and what its losses may know of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.card import Card
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given, check_given
from unbraid.core.outcome import Findings, Sound
from unbraid.core.parts import Parts, PartSpec

Terms = Mapping[str, Tensor | tuple[float, Tensor]]
"""What a loss returns: name -> a scalar, or one value per sample (B,), or (weight, either of them)."""

C = TypeVar("C")


# --------------------------------------------------------------------------------------------- the loop, as data


@dataclass(frozen=True)
class Schedule:
    """The factor on a learning rate or a weight decay, a pure function of the step.

    Attributes:
        kind: What happens after the warm-up: "constant", "linear" or "cosine" descent to `final`, or "stairs": by the
            factor `final` at every `stair` steps, or where `falls` says.
        warmup: Steps of linear ascent from 0.
        final: The factor at the last step, or that of a stair.
        stair: Steps from one stair to the next.
        hold: Share of the steps after the warm-up that pass before the descent begins.
        restarts: Steps at which the rate falls to a tenth of what it would be, and rises again within `warmup` steps.
        share: Share of the stage's steps that warm up; replaces `warmup` where it is above 0.
        zero: Whether the first step of the warm-up has rate 0 instead of 1 / `warmup`.
        falls: Shares of the stage's steps at which stairs are; replaces `stair` where there are any.
    """

    kind: Literal["constant", "linear", "cosine", "stairs"] = "constant"
    warmup: int = 0
    final: float = 0.0
    hold: float = 0.0
    restarts: tuple[int, ...] = ()
    stair: int = 1
    share: float = 0.0
    zero: bool = False
    falls: tuple[float, ...] = ()


@dataclass(frozen=True)
class Clip:
    """How gradients are limited: each entry ("value"), the norm of the group ("norm") or of each parameter ("each")."""

    kind: Literal["value", "norm", "each"]
    limit: float


@dataclass(frozen=True)
class Group:
    """Parameters that are treated differently.

    Attributes:
        match: A regular expression searched for in the dotted name of a parameter; the first group that matches wins.
        dims: Only parameters of at most so many dimensions: 1 for biases and norms, which `match` cannot tell by name.
        lr: Learning rate; None inherits the optimiser's.
        weight_decay: Weight decay; None inherits.
        clip: Clipping of this group; None clips nothing.
        trust: Trust coefficient of "lars"; 0 for plain steps, None inherits.
    """

    match: str
    lr: float | None = None
    weight_decay: float | None = None
    clip: Clip | None = None
    dims: int | None = None
    trust: float | None = None


@dataclass(frozen=True)
class Optim:
    """An optimiser as data.

    Attributes:
        kind: "adam", "adamw" (decay times learning rate), "sgd", or "lars" (see `unbraid.training.lars`).
        lr: Learning rate.
        betas: Decay rates of Adam's moments.
        eps: Adam's epsilon.
        momentum: Momentum of "sgd" and "lars".
        trust: Trust coefficient of "lars".
        weight_decay: For parameters that no group matches.
        clip: For parameters that no group matches.
        schedule: Factor on every learning rate.
        decay: Factor on every weight decay; above 1 at the end where `final` is.
        groups: Exceptions.
        nesterov: Whether the momentum of "sgd" looks ahead.
    """

    kind: Literal["adam", "adamw", "sgd", "lars"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: Clip | None = None
    schedule: Schedule = Schedule()
    groups: tuple[Group, ...] = ()
    trust: float = 0.001
    decay: Schedule = Schedule()
    nesterov: bool = False


@runtime_checkable
class Source(Protocol):
    """What a stage may ask of a data set (see `unbraid.data.dataset.Dataset`)."""

    fields: Fields

    def __len__(self) -> int: ...

    def take(self, indices: Int[Tensor, "*index"], device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """One batch, the shape of `indices` in front of every field."""


Views = Callable[[Tensor, "At"], Tensor | Mapping[str, Tensor]]
"""(observations (B, *item), at) -> what the updates see of them: other observations, or several views (B, V, *item).

Views of several sizes are a mapping: `x` has the first, `crops` the smaller ones."""

Draw = Callable[[Any, Int[Tensor, " batch"], torch.Generator], Int[Tensor, "batch *more"]]
"""(source, indices (B,), generator) -> indices of any shape with the batch in front: pairs (B, 2), triples (B, 3)."""


@dataclass(frozen=True)
class Stream:
    """One named source of a stage.

    Attributes:
        batch: Items per step, over all processes together.
        source: Which data set of those given to `fit`.
        order: "epoch" (every item once an epoch), "iid" (with replacement) or "sequential".
        draw: Turns the drawn indices into pairs, triples or others.
        views: Turns the observations of a batch into what the updates see, by chance drawn from `at`.
    """

    batch: int
    source: str = "train"
    order: Literal["epoch", "iid", "sequential"] = "epoch"
    draw: Draw | None = None
    views: Views | None = None


@dataclass(frozen=True)
class Budget:
    """How long a stage lasts: steps, or epochs over its first stream."""

    steps: int | None = None
    epochs: float | None = None


@runtime_checkable
class World(Protocol):
    """The processes that train together; every operation is differentiable."""

    rank: int
    size: int

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the processes."""

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the processes."""

    def gather(self, x: Float[Tensor, "batch *more"]) -> Float[Tensor, "all *more"]:
        """The rows of all processes, in the order of the global batch."""


class Alone:
    """The world of one process."""

    rank = 0
    size = 1

    def sum(self, x: Tensor) -> Tensor:
        """`x`."""
        return x

    def mean(self, x: Tensor) -> Tensor:
        """`x`."""
        return x

    def gather(self, x: Tensor) -> Tensor:
        """`x`."""
        return x


@dataclass
class At:
    """All that a loss learns about the loop.

    Attributes:
        stage: Name of the stage.
        step: Steps of this stage done so far.
        steps: Steps this stage will take in all.
        epoch: Passes over the first stream done so far.
        world: The processes that train together.
        device: Where the batch lies.
        memo: Shared by the updates of one step (a forward, a drawn index); gone after it.
        notes: Gauges to be logged, see `note`.
        outputs: What the step hands to whoever runs it, see `emit`.
        moments: The optimisers' slots by parameter, see `slots`.
    """

    stage: str = ""
    step: int = 0
    steps: int = 1
    epoch: float = 0.0
    world: World = field(default_factory=Alone)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    memo: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    moments: Callable[[nn.Parameter], Sequence[dict[str, Tensor]]] = lambda _parameter: ()

    @property
    def progress(self) -> float:
        """Share of the stage that is done, 0..1."""
        return self.step / max(1, self.steps)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """The value of `make()` in this step, computed by whichever update asks first."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def note(self, **gauges: Tensor | float) -> None:
        """Log numbers that are not descended; they stay on the device until the next logging step."""
        self.notes |= {name: torch.as_tensor(value).detach() for name, value in gauges.items()}

    def emit(self, name: str, value: Tensor) -> None:
        """Hand a tensor to whoever runs the step: a prediction made before an update, say."""
        self.outputs[name] = value.detach()

    def slots(self, parameter: nn.Parameter) -> Sequence[dict[str, Tensor]]:
        """What each optimiser of the stage remembers of a parameter, by name, to be changed in place."""
        return self.moments(parameter)

    def shared(self) -> torch.Generator:
        """The generator whose draws all processes share in this update."""
        return self.generator

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Normal noise for the local batch, cut from a draw for the global one."""
        return self._mine(torch.randn(self._all(shape), generator=self.generator, device=self.device))

    def rand(self, shape: Sequence[int]) -> Tensor:
        """Uniform noise in [0, 1) for the local batch, cut from a draw for the global one."""
        return self._mine(torch.rand(self._all(shape), generator=self.generator, device=self.device))

    def randint(self, high: int, shape: Sequence[int]) -> Tensor:
        """Whole numbers 0..high-1 for the local batch, cut from a draw for the global one."""
        return self._mine(torch.randint(high, self._all(shape), generator=self.generator, device=self.device))

    def permutation(self, n: int) -> Int[Tensor, " n"]:
        """A permutation of 0..n-1 that all processes share."""
        return torch.randperm(n, generator=self.generator, device=self.device)

    def _all(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * self.world.size, *shape[1:])

    def _mine(self, draw: Tensor) -> Tensor:
        return draw.chunk(self.world.size)[self.world.rank] if self.world.size > 1 else draw


Loss = Callable[[Batch, At], Terms | None]
Hook = Callable[[Batch, At], None]
Solve = Callable[[Mapping[str, Source], At], None]


@dataclass(frozen=True)
class Update:
    """One descent within a step.

    Attributes:
        name: Names its terms in the log.
        loss: Returns named terms; None declines, then nothing moves.
        params: The modules and parameters that it moves; may overlap with another update's.
        optim: How they move.
        every: Descend only at steps divisible by this.
        times: Descents per step.
        after: Called after each descent.
    """

    name: str
    loss: Loss
    params: Callable[[], Iterable[nn.Module | nn.Parameter]]
    optim: Optim
    every: int = 1
    times: int = 1
    after: Callable[[At], None] | None = None


@dataclass(frozen=True)
class Stage:
    """A row of a training table.

    Attributes:
        name: Unique within the method.
        updates: The updates of one step, in order.
        budget: How long it lasts.
        feed: Named streams; the single name "" gives losses a flat batch.
        solve: State computed on entry from the data, in eval mode, without gradients; must be idempotent.
        before: Called with the batch before the updates of every step.
        after: Called with the batch after them.
        modes: Submodule -> whether it is in train mode; all others are.
    """

    name: str
    updates: Sequence[Update] = ()
    budget: Budget = Budget()
    feed: Mapping[str, Stream] = field(default_factory=dict)
    solve: Solve | None = None
    before: Hook | None = None
    after: Hook | None = None
    modes: Mapping[str, bool] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------ the method


@dataclass(frozen=True)
class NoOptions:
    """The config of a method without options."""


class Method(nn.Module, Generic[C]):
    """Learns the parts of a representation.

    Built from the paper's choices (`config`) and the data's facts (`fields`). Holds no loop over data or steps, no
    device code, no logging and no files; what survives a step is a parameter, a buffer or a slot.

    Args:
        config: An instance of the class's `Config`.
        fields: What the data are; the fields that `card.needs` names must be there.
        given: The networks for the ports of `card.ports`.

    Attributes:
        aliases: Other names, with the options that they stand for.
        about: What an alias does, in one sentence, where the card's summary is not true of it.
        scaffold: Submodules that only training needs.
        eager: Submodules that `--compile` leaves as they are, because second derivatives go through them.

    Raises:
        DataError: A field that the method needs is not there.
        ConfigError: A network that it needs was not given, or one that it does not take was.
    """

    card: ClassVar[Card]
    Config: ClassVar[type] = NoOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    about: ClassVar[Mapping[str, str]] = {}
    scaffold: ClassVar[tuple[str, ...]] = ()
    eager: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: C, fields: Fields, given: Given | None = None) -> None:
        super().__init__()
        self.config = config
        self.fields = fields
        for name in self.card.needs:
            fields[name]
        check_given(self.card.ports, given or Given())

    def parts(self) -> tuple[PartSpec, ...]:
        """The parts that `encode` returns; sizes follow config and fields."""
        raise NotImplementedError(f"{type(self).__name__}.parts")

    def stages(self) -> Sequence[Stage]:
        """The stages of training, in order."""
        raise NotImplementedError(f"{type(self).__name__}.stages")

    def encode(self, batch: Batch) -> Parts:
        """The parts of each item of a batch."""
        raise NotImplementedError(f"{type(self).__name__}.encode")

    def sources(self, data: Source) -> Mapping[str, Source]:
        """How one data set becomes the named sources of the streams."""
        return {"train": data}

    def refresh(self) -> None:
        """Make anew what follows from the weights; called after training and after loading (scope "data")."""

    def slot(self, name: str, dtype: torch.dtype = torch.float32) -> None:
        """Register state whose shape only the data know; assign a tensor to the name to fill it."""
        self.register_buffer(name, torch.zeros(0, dtype=dtype))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that survives a step: parameters, buffers and slots by dotted name."""
        return dict(self.state_dict())

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` gave; slots take their shape from it. Missing scaffold is left as it is.

        Raises:
            ConfigError: Names or shapes do not fit this method.
        """
        own = self.state_dict()
        for name, new in tensors.items():
            if name in own and own[name].shape != new.shape and own[name].numel() == 0:
                owner, _, leaf = name.rpartition(".")
                setattr(self.get_submodule(owner), leaf, torch.empty_like(new, device=own[name].device))
        try:
            missing, unexpected = self.load_state_dict(dict(tensors), strict=False)
        except RuntimeError as error:
            raise ConfigError("weights of this method's shapes", got=str(error).splitlines()[-1].strip()) from None
        missing = [m for m in missing if not m.startswith(tuple(f"{s}." for s in self.scaffold))]
        if missing or unexpected:
            raise ConfigError(f"the weights of {type(self).__name__}", got=f"missing {missing}, unknown {unexpected}")


# --------------------------------------------------------------------------------------------------- capabilities


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of each item.

    Attributes:
        logits: Unnormalised log probabilities of the classes.
    """

    logits: Float[Tensor, "batch classes"]

    @property
    def label(self) -> Int[Tensor, " batch"]:
        """The likeliest class."""
        return self.logits.argmax(1)

    @property
    def probability(self) -> Float[Tensor, "batch classes"]:
        """Of every class."""
        return self.logits.softmax(1)


@runtime_checkable
class Decodes(Protocol):
    """Parts -> observations."""

    def decode(self, parts: Parts) -> Float[Tensor, "batch *item"]:
        """Observations in the layout of the field `x`; images in [0, 1]."""


@runtime_checkable
class Infers(Protocol):
    """Observations -> a Gaussian posterior over each part."""

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Means and log variances."""


@runtime_checkable
class Samples(Protocol):
    """Draws new observations."""

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *item"]:
        """`n` observations from the prior."""


@runtime_checkable
class Predicts(Protocol):
    """Observations -> classes."""

    def predict(self, batch: Batch) -> Prediction:
        """The classes of the items of a batch."""


@runtime_checkable
class Adapts(Protocol):
    """Predicts a stream while learning from it."""

    def adapt(self, source: Source) -> Iterator[Prediction]:
        """The prediction for each batch, in the order of the source, made before the batch is learnt from."""


@runtime_checkable
class Edits(Protocol):
    """Changes one part of items, whatever it takes."""

    def edit(self, batch: Batch, part: str, amount: float) -> Float[Tensor, "batch *item"]:
        """Observations whose part was moved by an amount, in the part's own units."""


@runtime_checkable
class Intervenes(Protocol):
    """Answers what would have been, had a variable been another."""

    def do(self, batch: Batch, values: Mapping[str, Tensor]) -> Float[Tensor, "batch *item"]:
        """Counterfactual observations under variable -> value (batch,)."""


@runtime_checkable
class Converts(Protocol):
    """Makes one recording sound as others do."""

    def convert(self, source: Sound, reference: Source) -> Sound:
        """The content of `source` in the voice of the recordings `reference`."""


@runtime_checkable
class Ranks(Protocol):
    """Orders all items for some users."""

    def rank(self, users: Int[Tensor, " batch"]) -> Float[Tensor, "batch items"]:
        """A score of every item, the best highest."""


@runtime_checkable
class Acts(Protocol):
    """Chooses actions."""

    def act(self, history: Batch, ask: str | float = "best") -> Tensor:
        """The next action for each of a batch of histories, given the return that is asked for."""


@runtime_checkable
class Makes(Protocol):
    """Its product is a data set."""

    def make(self, data: Source) -> Source:
        """The data set made from another."""


@runtime_checkable
class Examines(Protocol):
    """Knows how it is usually judged."""

    def examine(self, data: Source) -> Findings:
        """The standard evaluation of a trained method on a data set."""


VERBS: Mapping[str, str] = {
    "decodes": "decode",
    "infers": "posterior",
    "samples": "sample",
    "predicts": "predict",
    "adapts": "adapt",
    "edits": "edit",
    "intervenes": "do",
    "converts": "convert",
    "ranks": "rank",
    "acts": "act",
    "makes": "make",
    "examines": "examine",
}
"""Capability -> the function that a method with it has."""


def capabilities(method: Method[Any] | type) -> tuple[str, ...]:
    """Names of the capabilities a method (or its class) has."""
    return tuple(name for name, verb in VERBS.items() if callable(getattr(method, verb, None)))
