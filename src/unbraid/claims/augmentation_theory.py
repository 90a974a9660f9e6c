"""The theory of augmentations: its closed forms, exactly; what a trained encoder spans; what is learned from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained
from unbraid.core.method import Method

_RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
_LABELS, _NOISE, _VIEWS, _REPEATS = 64, 0.5, 16, 40


def gates(_cls: type[Method[Any]]) -> Sequence[Gate]:
    """Facts of the hypercube, all of whose points and views are enumerated."""
    return [*_complexity(), *_encoders()]


def _complexity() -> Iterator[Gate]:
    from unbraid.core.method import At
    from unbraid.metrics.augmentation import augmentation_complexity
    from unbraid.views.bits import Hidden, MaskBits, MaskBlock, every_sign, every_view

    def exact(view: Hidden, d: int) -> float:
        return augmentation_complexity(view.log_density(every_sign(d), every_view(d)).numpy()).kappa2

    claim = "Masking bits, kappa^2 is (2 - ratio)^d."
    yield Gate(claim, "kappa^2 at d = 4, ratio 0.3", exact(MaskBits(0.3), 4), 1.7**4, margin=1e-10)
    yield Gate(claim, "kappa^2 at d = 6, ratio 0.5", exact(MaskBits(0.5), 6), 1.5**6, margin=1e-10)
    claim = "With bits flipped it is (a + (1 - a)(a^2 - 2 a + 2))^d, a being the ratio and a / 2 the chance of a flip."
    formula = (0.3 + 0.7 * (0.09 - 0.6 + 2)) ** 4
    yield Gate(claim, "kappa^2 at d = 4, ratio 0.3", exact(MaskBits(0.3, 0.15), 4), formula, margin=1e-10)
    bits, block, flips = (exact(v, 6) for v in (MaskBits(0.5), MaskBlock(0.5), MaskBlock(0.5, 0.25)))
    claim = "At equal ratio, masking a block is simpler than masking bits, and simpler still with flips."
    yield Gate(claim, "kappa^2 of a block against bits", block, bits, "worse")
    yield Gate(claim, "kappa^2 with flips against without", flips, block, "worse")
    claim = "From 2,000 draws of each item it is found within a tenth."
    for d, ratio in ((4, 0.3), (6, 0.5)):
        view, x, at = MaskBits(ratio), every_sign(d), At()
        seen = torch.stack([view(x, at) for _ in range(2000)], 1)
        logp = view.log_density(x, seen.flatten(0, 1)).reshape(len(x), len(x), -1).numpy()
        share = augmentation_complexity(logp).kappa2 / view.complexity(d)
        yield Gate(claim, f"share of the exact kappa^2 at d = {d}", share, 1.0, margin=0.1)


def _encoders() -> Iterator[Gate]:
    from unbraid.metrics.augmentation import eigenfunctions, enumerated_moments, isometry_of, trace_gap, with_constant
    from unbraid.views.bits import MaskBits, every_sign, every_view

    x, a = every_sign(4), every_view(4).double().numpy()
    p = MaskBits(0.3).log_density(x, torch.tensor(a)).exp().numpy()
    g = a[:, :1] * a[:, 1:2] / 0.7**2
    off = float(np.abs(p @ g - (x[:, :1] * x[:, 1:2]).numpy()).max())
    claim = "A parity of two bits is the average of the same parity of its views over (1 - ratio)^2."
    yield Gate(claim, "largest difference", off, 0.0, margin=1e-12)
    eps = isometry_of(enumerated_moments(g, p))
    yield Gate("Its isometry is 1 - (1 - ratio)^2.", "eps", eps, 1 - 0.7**2, margin=1e-12)
    eigenvalues = np.sort(np.repeat(0.7 ** np.arange(5.0), (1, 4, 6, 4, 1)))[::-1]
    chance = np.random.default_rng(0)
    top = with_constant(a)

    def gap(values: Float[np.ndarray, "m d"]) -> float:
        return trace_gap(eigenfunctions(enumerated_moments(values, p))[0], eigenvalues)

    best, near = gap(top), gap(top + 0.5 * chance.normal(size=top.shape))
    far = gap(chance.normal(size=top.shape))
    yield Gate("The best encoder's trace gap is the next eigenvalue.", "tau^2", best, 0.49, margin=1e-9)
    yield Gate("Noise on it makes the gap larger.", "tau^2 with noise", near, best, "better", 0.1)
    yield Gate("A random encoder's is larger still.", "tau^2 of a random one", far, near, "better", 0.1)


def _enumerated(arm: Trained) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "n m"]]:
    """The features of all views, and the log densities of these views for all vectors of signs."""
    from unbraid.views.bits import every_sign, every_view

    method, d = cast(Any, arm.method), arm.data.fields["x"].shape[0]
    with torch.no_grad():
        phi = method.features(every_view(d)).double().numpy()
    return phi, method.view.log_density(every_sign(d), every_view(d)).numpy()


def _spanned(arm: Trained) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " n"]]:
    """The ratios of the encoder, and the eigenvalues, both by enumeration."""
    from unbraid.metrics.augmentation import augmentation_complexity, eigenfunctions, enumerated_moments

    phi, logp = _enumerated(arm)
    return eigenfunctions(enumerated_moments(phi, np.exp(logp)))[0], augmentation_complexity(logp).spectrum


def _share(arm: Trained) -> float:
    ratios, best = _spanned(arm)
    return float(ratios.sum() / best[: cast(Any, arm.method).config.dims].sum())


def _gap(arm: Trained) -> float:
    from unbraid.metrics.augmentation import trace_gap

    return trace_gap(*_spanned(arm))


def _error(arm: Trained, bits: int, *, exact: bool = False) -> float:
    """Squared error of a ridge regression of a parity with noise on the averaged features, over draws of the labels.

    Averages are over draws of the views, anew for every label and every item that is told; or exact.
    """
    from unbraid.metrics.augmentation import ridge

    x = arm.data.take(torch.arange(len(arm.data)))["x"].double().numpy()
    target = x[:, :bits].prod(1)
    chance = np.random.default_rng(0)
    items = chance.integers(len(x), size=(_REPEATS, _LABELS))
    rows = np.concatenate([items, np.tile(np.arange(len(x)), (_REPEATS, 1))], 1)
    psi = _averages(arm)[rows] if exact else _averages_of_draws(arm, rows)
    noisy = target[items] + _NOISE * chance.standard_normal(items.shape)
    errors = []
    for features, labels in zip(psi, noisy, strict=True):
        said = features[_LABELS:] @ ridge(features[:_LABELS], labels[:, None])
        errors.append(float(((said[:, 0] - target) ** 2).mean()))
    return float(np.mean(errors))


def _averages(arm: Trained) -> Float[np.ndarray, "n d"]:
    phi, logp = _enumerated(arm)
    return np.asarray(np.exp(logp) @ phi)


def _averages_of_draws(arm: Trained, rows: Int[np.ndarray, "k m"]) -> Float[np.ndarray, "k m d"]:
    flat = torch.from_numpy(rows.ravel())
    phi, _ = cast(Any, arm.method).sampled(arm.data, flat, _VIEWS, torch.device("cpu"))
    return np.asarray(phi.mean(1).reshape(*rows.shape, -1))


CLAIM = Claim(
    method="augmentation-theory",
    task=(
        "All vectors of d signs, masked one by one. What is spanned: d 6, ratio 0.3, 7 functions. What is learned from "
        "it: d 4, 11 functions, five ratios; a ridge regression from 64 labels with noise of deviation 0.5 on features "
        "averaged over 16 views, the mean of 40 draws of labels."
    ),
    data="hypercube:d=4",
    settings={"dims": 11, "width": 64, "batch": 128, "steps": 1000, "optim.lr": 5e-3},
    arms=(
        Arm("trained", "augmentation-theory", {"dims": 7, "ratio": 0.3}, "hypercube:d=6"),
        Arm(
            "untrained", "augmentation-theory", {"dims": 7, "ratio": 0.3, "steps": 1, "optim.lr": 0.0}, "hypercube:d=6"
        ),
        *(Arm(f"ratio {ratio:g}", "augmentation-theory", {"ratio": ratio}) for ratio in _RATIOS),
    ),
    metrics={
        "share of the ratio trace": Metric("Ratio trace over that of the top eigenfunctions, exactly.", _share),
        "trace gap": Metric("tau^2, exactly: what the encoder misses of the top eigenfunctions.", _gap, more=False),
        "error": Metric("Squared error of the parity of two bits.", lambda arm: _error(arm, 2), more=False),
        "error of one bit": Metric("Squared error of one bit.", lambda arm: _error(arm, 1), more=False),
        "error by exact averages": Metric(
            "Squared error of one bit where features are averaged over all views.",
            lambda arm: _error(arm, 1, exact=True),
            more=False,
        ),
        "cost of the second bit": Metric(
            "Squared error of the parity of two bits less that of one bit.", lambda arm: _error(arm, 2) - _error(arm, 1)
        ),
    },
    contrasts=(
        Contrast(
            "The trained encoder spans the top eigenfunctions within 5 %.", "share of the ratio trace", "trained", 0.95
        ),
        Contrast("Untrained, it spans less.", "share of the ratio trace", "trained", "untrained", margin=0.1),
        Contrast(
            "Its trace gap is that of the best, which is the next eigenvalue.",
            "trace gap",
            "trained",
            0.49,
            expect="same",
            margin=0.02,
        ),
        Contrast("Untrained, its gap is larger.", "trace gap", "trained", "untrained", margin=0.1),
        Contrast(
            "The share that an untrained network spans, of which less than 0.6 was expected.",
            "share of the ratio trace",
            "untrained",
            0.6,
            expect="report",
        ),
        Contrast(
            "At one complexity, the target of larger eps is learned worse.",
            "cost of the second bit",
            "ratio 0.5",
            0.0,
            margin=0.05,
        ),
        Contrast(
            "Strong masking hurts: the parity is learned worse at ratio 0.9 than at 0.5.",
            "error",
            "ratio 0.5",
            "ratio 0.9",
            margin=0.3,
        ),
        Contrast(
            "Weak masking hurts, too, for its larger complexity: with exact averages one bit is learned worse at 0.1 "
            "than at 0.7.",
            "error by exact averages",
            "ratio 0.7",
            "ratio 0.1",
            margin=0.015,
        ),
        *(
            Contrast(f"The parity of two bits at {arm}, against 0.5.", "error", arm, "ratio 0.5", "report")
            for arm in ("ratio 0.1", "ratio 0.3", "ratio 0.7")
        ),
        *(
            Contrast(f"One bit at {arm}, against 0.5.", "error of one bit", arm, "ratio 0.5", "report")
            for arm in ("ratio 0.1", "ratio 0.9")
        ),
    ),
    gates=gates,
    note=(
        "With averages over 16 views the error grows with the ratio all along: what a stronger masking saves in noise "
        "of the labels, which shows where averages are exact, is less than what the noise of the averages costs. The "
        "sweet spot in the middle that the paper finds in language models does not appear with 16 points and 64 "
        "labels. An untrained network spans much because a perceptron at its start is nearly linear, and single bits "
        "are the top eigenfunctions."
    ),
)
