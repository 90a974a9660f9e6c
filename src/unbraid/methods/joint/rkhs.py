"""Augmentations measured: their complexity, their top eigenfunctions, and the terms of the bounds that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.action import action
from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.given import Frozen, Given, Port
from unbraid.core.method import At, Budget, Method, Optim, Schedule, Source, Stage, Stream, Terms, Update
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.contrastive import spectral
from unbraid.methods.joint.augmented import OUTSIDE, one_hot
from unbraid.methods.joint.embedding import VIEWS, Seen, classes_of, judged, spaced
from unbraid.metrics.augmentation import (
    Complexity,
    approximation_bound,
    approximation_term,
    augmentation_complexity,
    density_by_kernels,
    eigenfunctions,
    estimation_term,
    pair_moments,
    surrogate_complexity,
    target_isometry,
    trace_gap,
    with_constant,
)
from unbraid.nets.for_field import encoder_for
from unbraid.views.bits import Hidden, MaskBits, MaskBlock, every_view
from unbraid.views.view import View, two_views

_ITEMS, _VIEWS = 256, 16  # of an examination
_SOLVED = 1024  # items that the eigenfunctions are solved on
_AVERAGED = 16  # augmentations that stand for an item
_KERNELS = (128, 8)  # items and views of each that are compared with one another
_CELLS = 2**21  # densities that complexity is measured on
_OUTSIDE = 0.5  # share of a factor outside the span above which nothing is made of its isometry
_LABELS = 64  # labels that the estimation term is given for
_LESS = "trace gap without the last function, at least"
_UNITS = {
    "ratio trace over": "0 to 1",
    "kappa^2": "from 1",
    "trace gap": "0 is best",
    "isometry eps": "0 unchanged, 1 destroyed",
    "outside the span": "0 to 1",
    "approximation bound": "of a target of norm 1",
    "approximation term": "for comparisons",
    "estimation": "for comparisons",
}


class AugmentationTheory(Method["AugmentationTheory.Config"]):
    """The top eigenfunctions of an augmentation, and what they say of learning from it (Zhai et al., 2024).

    1. Train phi with the spectral contrastive loss, -2 E[phi(a) . phi(a')] + E[(phi(a) . phi(b))^2], where a and a' are
    augmentations of one item and b of another: its best phi spans the top eigenfunctions of the augmentation.
    2. Rotate: solve the generalised eigenproblem of E[psi psi^T] and E[phi phi^T], psi = E[phi(a) | x], so that columns
    are orthonormal over augmentations and in the order of their eigenvalues. 3. Measure: augmentation complexity kappa,
    ratio trace and trace gap of phi, isometry of each factor, and the terms of the bounds.

    With an encoder given, nothing is trained: its features and the constant are rotated and measured. Densities of the
    augmentations are known for vectors, where entries are masked, blocks of them, or signs flipped.

    Source:
        Zhai et al., 2024. There is no released code; the estimators are reconstructions.
    """

    card = Card(
        number=20,
        name="augmentation-theory",
        title="Understanding Augmentation-based Self-Supervised Representation Learning via RKHS Approximation and "
        "Regression",
        paper="arXiv:2306.00788",
        year=2024,
        modality=("vector", "image"),
        family="theory",
        summary="The top eigenfunctions of an augmentation, its complexity, and bounds on what is learned from it.",
        wants=("factors", "known"),
        ports=(Port("encoder", "a network from items (B, ...) to features (B, D)", optional=True),),
        claim=(
            "Complexity has its closed form, the trained encoder spans nearly all of the top eigenfunctions, and "
            "targets that the augmentation changes more are learned worse."
        ),
        example="hypercube",
        tiny="hypercube:d=4",
    )
    presets = {
        "quick": {"steps": 1500, "width": 128},
        "tiny": {"dims": 5, "width": 8, "batch": 16, "steps": 4},
    }

    @dataclass(frozen=True)
    class Config:
        """Options of the theory of augmentations.

        Attributes:
            views: Augmentation: entries of vectors masked one by one ("mask") or in one block ("block"); or one of
                those of the image methods.
            ratio: Share of the entries that is masked.
            flip: Probability that an entry which is not masked changes its sign.
            dims: Functions that are learned.
            width: Of the hidden layers.
            batch: Items per step, drawn independently.
            steps: Of training.
            optim: How the encoder moves.
        """

        views: Literal["mask", "block"] | Seen = told("mask", by="paper")
        ratio: float = told(0.5, by="ours")
        flip: float = told(0.0, by="ours")
        dims: int = told(16, by="ours")
        width: int = told(256, by="ours")
        batch: int = told(256, by="ours")
        steps: int = told(5000, by="ours")
        optim: Optim = told(Optim("adam", lr=2e-3, schedule=Schedule("cosine", final=0.01)), by="ours")

        def __post_init__(self) -> None:
            for name in ("dims", "width", "steps"):
                if getattr(self, name) < 1:
                    raise ConfigError("a whole number above 0", got=str(getattr(self, name)), where=name)
            if self.batch < 2:
                raise ConfigError("at least 2 items per step, to tell them apart", got=str(self.batch), where="batch")
            self.view(1)

        def view(self, rank: int) -> View:
            """The augmentation of items of so many axes.

            Raises:
                ConfigError: It does not take them.
            """
            if self.views in ("mask", "block"):
                if rank != 1:
                    raise ConfigError(
                        "views of images", got=f"'{self.views}'", fix=f"one of {', '.join(VIEWS)}", where="views"
                    )
                return (MaskBits if self.views == "mask" else MaskBlock)(self.ratio, self.flip)
            return VIEWS[self.views][0]  # type: ignore[index]

    def __init__(self, config: AugmentationTheory.Config, fields: Fields, given: Given | None = None) -> None:
        super().__init__(config, fields, given)
        x = fields["x"]
        net = encoder_for(x, config.dims, config.width)
        encoder = (given or Given()).get("encoder")
        self.given = encoder is not None
        self.encoder = net if encoder is None else Frozen(encoder)
        self.view = config.view(len(x.shape))
        with torch.no_grad(), judged(self.encoder):
            width = self.features(torch.zeros(2, *x.shape)).shape[1]
        self.register_buffer("maps", torch.eye(width, config.dims))
        self.register_buffer("ratios", torch.zeros(config.dims))

    maps: Tensor
    ratios: Tensor

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("spectrum", "fam", (self.config.dims,)),)

    def features(self, a: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch d"]:
        """Phi of augmentations; with the constant where the encoder was given, and nobody taught it that one."""
        phi: Tensor = self.encoder(a).flatten(1)
        return torch.cat([torch.ones_like(phi[:, :1]), phi], 1) if self.given else phi

    def encode(self, batch: Batch) -> Parts:
        """The eigenfunctions, averaged over augmentations of each item: the same chance for every item."""
        x = batch["x"]
        at = _chance(x.device)
        draw = self.view.draw((_AVERAGED, *x.shape[1:]), at)
        total = torch.zeros(len(x), self.maps.shape[0], device=x.device)
        for i in range(_AVERAGED):
            same = {name: v[i : i + 1].expand(len(x), *v.shape[1:]) for name, v in draw.items()}
            total = total + self.features(self.view.again(x, same))
        return Parts(spectrum=total / _AVERAGED @ self.maps)

    # --------------------------------------------------------------------------------------------------- training

    def stages(self) -> Sequence[Stage]:
        c = self.config
        rotate = Stage("rotate", solve=self.rotate)
        if self.given:
            return [rotate]
        update = Update("spectral", self.loss, lambda: [self.encoder], c.optim)
        stream = Stream(c.batch, order="iid", views=two_views(self.view))
        return [Stage("train", [update], Budget(c.steps), {"": stream}), rotate]

    def loss(self, batch: Batch, at: At) -> Terms:
        """The spectral contrastive loss."""
        a, b = (self.features(view) for view in batch["x"].unbind(1))
        agreement, overlap = spectral(a, b, at.world)
        return {"agreement": agreement, "overlap": overlap}

    def rotate(self, sources: Mapping[str, Source], at: At) -> None:
        """Turn the features into eigenfunctions."""
        phi, _ = self.sampled(sources["train"], spaced(len(sources["train"]), _SOLVED), _VIEWS, at.device)
        ratios, maps = eigenfunctions(pair_moments(phi))
        many = min(len(ratios), self.config.dims)
        self.maps.zero_()[:, :many] = torch.from_numpy(maps[:, :many].copy())
        self.ratios.zero_()[:many] = torch.from_numpy(ratios[:many].clip(0, 1))

    # ------------------------------------------------------------------------------------------------- evaluation

    def examine(self, data: Source) -> Findings:
        """Complexity of the augmentation, gap of the encoder, isometry of the factors, and the terms of the bounds."""
        return self.augmentation_complexity(data)

    @action
    def augmentation_complexity(
        self,
        data: Source | None = None,
        items: int = _ITEMS,
        views: int = _VIEWS,
        labels: int = _LABELS,
        noise: float = 0.0,
    ) -> Findings:
        """Complexity, ratio trace, trace gap, isometry of the factors, and the terms of the bounds.

        Args:
            data: Items to augment, taken for the whole population; those of the run where left out.
            items: How many of them, evenly spaced.
            views: Augmentations of each, at least 2.
            labels: Labels of which the estimation term is told.
            noise: Deviation of their noise.
        """
        if data is None:
            raise ConfigError("data to augment", got="none", where="data")
        for name, value in {"items": items, "views": views, "labels": labels}.items():
            if value < 2:
                raise ConfigError("at least 2", got=str(value), where=name)
        rows = spaced(len(data), items)
        device = next(self.buffers()).device
        phi, seen = self.sampled(data, rows, views, device)
        x = data.take(rows, device)["x"]
        surrogate, known = surrogate_complexity(phi), self.known(x)
        numbers = {"ratio trace": surrogate.trace, "kappa^2 within the span": surrogate.upper}
        notes = [f"{views} augmentations of each of {len(rows)} items."]
        arrays = {"ratios of the encoder": torch.from_numpy(surrogate.spectrum.copy())}
        ratios = surrogate.spectrum.clip(0, 1)
        spectrum, complexity, gapped = np.append(ratios, [0.0] * (len(ratios) < 2)), surrogate, _LESS
        if known is not None:
            numbers |= known.numbers()
            spectrum, complexity, gapped = known.spectrum, known, "trace gap"
            numbers["ratio trace over the best"] = surrogate.trace / float(spectrum[: phi.shape[2]].sum())
            notes += known.notes
            arrays["eigenvalues of the augmentation"] = torch.from_numpy(spectrum.copy())
        else:
            notes += [
                "No densities are known: eigenvalues and complexity are those within the encoder's span, too small; "
                "the bounds are those of one function less."
            ]
        notes += [OUTSIDE]
        numbers["kappa^2 by kernels, for ranking"] = by_kernels(x, seen)
        numbers[gapped] = gap = trace_gap(ratios, spectrum)
        for name, found in classes_of(data, rows).items():
            numbers |= _terms(name, phi[found >= 0], found[found >= 0], gap, complexity.kappa2, labels, noise)
        units = {name: unit for name in numbers for begin, unit in _UNITS.items() if name.startswith(begin)}
        return Findings(numbers, arrays, units, notes)

    @torch.no_grad()
    def sampled(
        self, data: Source, rows: Int[Tensor, " n"], views: int, device: torch.device
    ) -> tuple[Float[np.ndarray, "n r d"], Float[Tensor, "n r *item"]]:
        """Phi of so many augmentations of each of some items, and the augmentations."""
        at = _chance(device)
        x = data.take(rows, device)["x"]
        seen = torch.stack([self.view(x, at) for _ in range(views)], 1)
        with judged(self):
            phi = torch.cat([self.features(some) for some in torch.split(seen.flatten(0, 1), 1024)])
        return phi.double().cpu().numpy().reshape(len(x), views, -1), seen

    def known(self, x: Float[Tensor, "n *item"]) -> Complexity | None:
        """The complexity from densities, where they are known: of all augmentations of few signs, else of draws."""
        if not isinstance(self.view, Hidden) or bool((x == 0).any()):
            return None
        n, d = x.shape
        if n * 3**d <= _CELLS and bool((x.abs() == 1).all()):
            return augmentation_complexity(self.view.log_density(x, every_view(d).to(x.device)).cpu().numpy())
        at, draws = _chance(x.device), max(4, _CELLS // (n**2 * max(1, d // 16)))
        seen = self.view(x.repeat_interleave(draws, 0), at)
        return augmentation_complexity(self.view.log_density(x, seen).reshape(n, n, draws).cpu().numpy())


def by_kernels(x: Float[Tensor, "n *item"], seen: Float[Tensor, "n r *item"]) -> float:
    """The mean K(x, x) by kernels in the space of the items, their deviation the bandwidth of every augmentation.

    >>> x = torch.eye(2)
    >>> round(by_kernels(x, x[:, None].expand(2, 4, 2)), 3)  # 2 / (1 + exp(-2))
    1.762
    """
    items, views = _KERNELS
    x, seen = x[:items], seen[:items, :views]
    spread = float(x.flatten(1).double().var(0, correction=0).sum().sqrt())
    features = seen.flatten(2).double().cpu().numpy()
    return augmentation_complexity(density_by_kernels(features, max(spread, 1e-12))).trace


def _terms(
    name: str,
    phi: Float[np.ndarray, "n r d"],
    labels: Int[np.ndarray, " n"],
    gap: float,
    kappa2: float,
    count: int,
    noise: float,
) -> dict[str, float]:
    """What is found of one factor, its classes as a target of norm 1."""
    found = target_isometry(with_constant(phi), one_hot(labels))
    told = {f"isometry eps of {name}": found.eps, f"outside the span of {name}": found.residual}
    if found.residual > _OUTSIDE:
        return told
    return told | {
        f"approximation bound of {name}": approximation_bound(gap, found.eps),
        f"approximation term of {name}": approximation_term(gap, found.eps),
        f"estimation term of {name}": estimation_term(kappa2, found.eps, phi.shape[2], count, noise=noise),
    }


def _chance(device: torch.device) -> At:
    """The same chance whenever it is asked for."""
    return At(device=device, generator=torch.Generator(device).manual_seed(0))
