"""What the methods of this wing share: an encoder of images, views of them, and how they are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.action import action
from unbraid.core.card import told
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Given
from unbraid.core.method import At, Budget, Method, Optim, Source, Stream
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.methods.joint.augmented import encoder_terms
from unbraid.metrics.gauges import effective_rank, mean_cosine
from unbraid.metrics.recognition import recognition
from unbraid.nets.backbones import Backbone, Encoder, Transformer
from unbraid.views.image import Affine, Blur, Crop, Flip, Grey, Jitter, Noise, Range, Solarise
from unbraid.views.view import Chance, Sometimes, View, compose, two_views

Seen = Literal["imagenet", "cifar", "stl", "medical", "written"]
"""Which views: those published for ImageNet; for small photographs; for STL-10; for medical images, whose colours are
changed less and of which more is left; turns and noise for written digits."""

_MOST = 5000  # items that an examination encodes
_AT_ONCE = 256
_AUGMENTED, _TIMES = 256, 8  # items whose augmentations it compares, and how many of each


def _photographs(
    jitter: Jitter, blur: float, solarise: float, scale: Range = (0.08, 1.0), size: int | None = None
) -> View:
    views = [Crop(size, scale), Flip(), Sometimes(jitter, 0.8), Sometimes(Grey(), 0.2)]
    views += [Sometimes(Blur(), blur)] if blur else []
    views += [Sometimes(Solarise(), solarise)] if solarise else []
    return compose(*views)


_WRITTEN = compose(Affine(14, (0.8, 1.2), 0.1), Noise((0.8, 1.2), 0.1))
_SOFT, _STRONG, _CIFAR = Jitter(0.4, 0.4, 0.2, 0.1), Jitter(0.8, 0.8, 0.8, 0.2), Jitter(0.4, 0.4, 0.4, 0.1)

_COLOURS: Mapping[Seen, tuple[Jitter, tuple[float, float], tuple[float, float]]] = {
    "imagenet": (_SOFT, (1.0, 0.1), (0.0, 0.2)),
    "cifar": (_CIFAR, (0.0, 0.0), (0.0, 0.0)),
    "stl": (_STRONG, (0.5, 0.5), (0.0, 0.0)),
    "medical": (_SOFT, (0.0, 0.0), (0.0, 0.0)),
}
"""Change of colours, and the probabilities of blur and of inverting what is bright in the two views."""


def _both(kind: Seen, scale: Range = (0.08, 1.0)) -> tuple[View, View]:
    jitter, (blur, other_blur), (solarise, other_solarise) = _COLOURS[kind]
    return _photographs(jitter, blur, solarise, scale), _photographs(jitter, other_blur, other_solarise, scale)


VIEWS: Mapping[Seen, tuple[View, View]] = MappingProxyType(
    {
        **{kind: _both(kind) for kind in _COLOURS},
        "medical": _both("medical", (0.2, 1.0)),
        "written": (_WRITTEN, _WRITTEN),
    }
)
"""The two views of each kind."""

WEAK: Mapping[Seen, View] = MappingProxyType(
    {
        **dict.fromkeys(_COLOURS, compose(Crop(scale=(0.2, 1.0)), Flip())),
        "written": Affine(7, (0.9, 1.1), 0.05),
    }
)
"""A view that changes little, of each kind."""


def large_views(kind: Seen, scale: Range) -> tuple[View, View]:
    """The two views of a kind, with boxes of other shares of the area."""
    return VIEWS[kind] if kind == "written" else _both(kind, scale)


def small_view(kind: Seen, scale: Range, size: int) -> View:
    """A view of a small box of the image, in fewer pixels."""
    if kind == "written":
        return compose(Crop(size, scale), Noise((0.8, 1.2), 0.1))
    return _photographs(_COLOURS[kind][0], 0.5 if any(_COLOURS[kind][1]) else 0.0, 0.0, scale, size)


@dataclass(frozen=True)
class Options:
    """The choices that every method here has.

    Attributes:
        backbone: The encoder.
        width: Channels after its stem, or numbers in a token; see `unbraid.nets.backbones.Encoder`.
        patch: Side of a patch of a transformer.
        depth: Its blocks.
        heads: Its attention heads.
        views: What is random about the two views of an image.
        batch: Items per step.
        epochs: Passes over the data.
        steps: Steps of training; takes the place of `epochs`.
    """

    backbone: Backbone = told("resnet50", by="code")
    width: int = told(64, by="code")
    patch: int = told(16, by="ours")
    depth: int = told(12, by="ours")
    heads: int = told(6, by="ours")
    views: Seen = told("imagenet", by="code")
    batch: int = told(2048, by="code")
    epochs: float = told(1000, by="code")
    steps: int | None = told(None, by="ours")

    counts: ClassVar[tuple[str, ...]] = ("width", "batch", "patch", "depth", "heads")

    def __post_init__(self) -> None:
        for name in self.counts:
            value = getattr(self, name)
            if min(value if isinstance(value, tuple) else (value,), default=0) < 1:
                raise ConfigError("whole numbers above 0", got=str(value), where=name)
        if self.batch < 2:
            raise ConfigError("at least 2 items per step, for statistics over them", got=str(self.batch), where="batch")
        if self.epochs <= 0:
            raise ConfigError("a number of epochs above 0", got=str(self.epochs), where="epochs")
        if self.steps is not None and self.steps < 1:
            raise ConfigError("a whole number above 0", got=str(self.steps), where="steps")

    @property
    def budget(self) -> Budget:
        """How long training lasts."""
        return Budget(epochs=self.epochs) if self.steps is None else Budget(steps=self.steps)


def grown(optim: Optim, factor: float) -> Optim:
    """An optimiser with all its learning rates multiplied."""
    groups = tuple(g if g.lr is None else replace(g, lr=g.lr * factor) for g in optim.groups)
    return replace(optim, lr=optim.lr * factor, groups=groups)


C = TypeVar("C", bound=Options)


class JointEmbedding(Method[C]):
    """An encoder whose embeddings of two views of an image are made alike; subclasses say how, and why not all are."""

    zero_init: ClassVar[bool] = False

    def __init__(self, config: C, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        self.encoder = self.new_encoder()

    def new_encoder(self) -> Encoder:
        """An encoder that nothing has trained."""
        c, x = self.config, self.fields["x"]
        return Encoder(x, c.backbone, c.width, zero_init=self.zero_init, vit=self.transformer())

    def transformer(self) -> Transformer:
        """The shape of the encoder, where it is a transformer."""
        return Transformer(self.config.patch, self.config.depth, self.config.heads)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("embedding", "vec", (self.encoder.width,)),)

    def encode(self, batch: Batch) -> Parts:
        return Parts(embedding=self.encoder(batch["x"]))

    def two_views(self) -> Callable[[Tensor, Chance], Tensor]:
        """(B, C, H, W) -> (B, 2, C, H, W)."""
        return two_views(*VIEWS[self.config.views])

    def stream(self) -> Stream:
        """Two views of each item of a step."""
        return Stream(self.config.batch, views=self.two_views())

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """The linear probe and the nearest neighbours, five-fold, for every factor that has classes; signs of collapse.

        At most 5,000 items, evenly spaced; what the encoder makes of the augmentations of 256 of them.
        """
        rows = spaced(len(data), _MOST)
        codes = self._codes(data, rows)
        numbers = {"effective rank": effective_rank(codes), "mean cosine": mean_cosine(codes)}
        folds = np.random.default_rng(0).permutation(len(rows)) % 5
        for name, labels in classes_of(data, rows).items():
            numbers |= _named(name, codes, labels, folds)
        units = {"effective rank": f"1 to {codes.shape[1]}", "mean cosine": "-1 to 1"}
        units |= {name: "share right" for name in numbers if " of " in name}
        held = "each item told by probes that learned from the other four fifths" if len(numbers) > 2 else "no factors"
        terms = self.augmentation_complexity(data)
        notes = [f"{len(rows)} items of the training data; {held}.", *terms.notes]
        return Findings({**numbers, **terms.numbers}, units={**units, **terms.units}, notes=notes)

    @action
    def augmentation_complexity(
        self, data: Source | None = None, items: int = _AUGMENTED, views: int = _TIMES
    ) -> Findings:
        """What the encoder makes of its augmentations: ratio trace, trace gap, complexity, isometry of the factors.

        Args:
            data: Items to augment; those of the run where left out.
            items: How many of them, evenly spaced.
            views: Augmentations of each, at least 2.
        """
        if data is None:
            raise ConfigError("data to augment", got="none", where="data")
        for name, value in {"items": items, "views": views}.items():
            if value < 2:
                raise ConfigError("at least 2", got=str(value), where=name)
        rows = spaced(len(data), items)
        phi = torch.cat(self._over(data, rows, lambda x, at: self._augmented(x, views, at)))
        return encoder_terms(phi.cpu().double().numpy(), classes_of(data, rows))

    def _augmented(self, x: Float[Tensor, "batch c h w"], views: int, at: At) -> Float[Tensor, "batch views d"]:
        """The embeddings of so many augmentations of each item, made as for training."""
        see = self.stream().views
        found: list[Tensor] = []
        while len(found) < views:
            seen = x if see is None else see(x, at)
            seen = seen if isinstance(seen, Tensor) else seen["x"]
            found += [self.encoder(view) for view in (seen.unbind(1) if seen.ndim > x.ndim else (seen,))]
        return torch.stack(found[:views], 1)

    @action
    def probe(self, test: Source, train: Source | None = None) -> Findings:
        """Linear probe and nearest neighbours on a test set, the usual protocol.

        Args:
            test: Held-out data, with the same factors.
            train: Data that the probes learn from; those of the run where left out.
        """
        if train is None:
            raise ConfigError("data to learn from", got="none", where="train")
        both = [self._codes(data, torch.arange(len(data))) for data in (train, test)]
        folds = np.repeat([1, 0], [len(codes) for codes in both])
        numbers: dict[str, float] = {}
        known, other = (classes_of(data, torch.arange(len(data))) for data in (train, test))
        for name in [name for name in known if name in other]:
            labels = np.concatenate([known[name], other[name]])
            numbers |= _named(name, np.concatenate(both), labels, folds, held_out=(0,))
        if not numbers:
            raise DataError("a factor with classes that both data sets have", got=f"{[*known]} and {[*other]}")
        notes = [f"Learned from {len(both[0])} items, told {len(both[1])} others."]
        return Findings(numbers, units=dict.fromkeys(numbers, "share right"), notes=notes)

    def _codes(self, data: Source, rows: Int[Tensor, " n"]) -> Float[np.ndarray, "n d"]:
        """The embeddings of some items."""
        return torch.cat(self._over(data, rows, lambda x, _: self.encoder(x))).cpu().numpy()

    @torch.no_grad()
    def _over(self, data: Source, rows: Int[Tensor, " n"], of: Callable[[Tensor, At], Tensor]) -> list[Tensor]:
        """A function of the images of some items, a few hundred at a time, in eval mode."""
        device = next(self.parameters()).device
        at = At(device=device, generator=torch.Generator(device).manual_seed(0))
        with judged(self):
            return [of(data.take(some, device)["x"], at) for some in torch.split(rows, _AT_ONCE)]


class judged:  # noqa: N801  (a context, like torch.no_grad)
    """Puts a network in eval mode for a while."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.modes = net, [m.training for m in net.modules()]

    def __enter__(self) -> None:
        self.net.eval()

    def __exit__(self, *error: object) -> None:
        for module, mode in zip(self.net.modules(), self.modes, strict=True):
            module.training = mode


def spaced(n: int, most: int) -> Int[Tensor, " m"]:
    """At most so many positions of 0..n-1, evenly spaced.

    >>> spaced(10, 4).tolist(), spaced(3, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return torch.linspace(0, n - 1, min(n, most), dtype=torch.float64).round().long()


def classes_of(data: Source, rows: Int[Tensor, " n"]) -> dict[str, Int[np.ndarray, " n"]]:
    """Name -> classes of the items, -1 where unknown, for every factor that has at least two."""
    factors: Any = getattr(data, "factors", ())
    if not factors:
        return {}
    batches = [data.take(some) for some in torch.split(rows, _AT_ONCE)]
    codes, known = (torch.cat([b[name] for b in batches]).cpu() for name in ("factors", "known"))
    found = {}
    for i, factor in enumerate(factors):
        if factor.kind == "categorical":
            labels = torch.where(known[:, i], codes[:, i].long(), -1).numpy()
            if len(np.unique(labels[labels >= 0])) > 1:
                found[factor.name] = labels
    return found


def _named(
    name: str, codes: np.ndarray, labels: np.ndarray, folds: np.ndarray, held_out: tuple[int, ...] | None = None
) -> dict[str, float]:
    found = recognition(codes, labels, folds, held_out=held_out)
    return {
        f"linear probe of {name}": found.linear,
        f"nearest neighbours of {name}": found.neighbours,
        f"chance of {name}": found.chance,
    }
