"""Active variables: what the means of a VAE share beyond its samples goes with its passive latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric
from unbraid.claims.scoring import Trained
from unbraid.core.parts import Parts
from unbraid.data.dataset import MemoryDataset
from unbraid.metrics.downstream import downstream
from unbraid.metrics.polarised import Regime, absolute_correlation, drawn, regime
from unbraid.metrics.unsupervised import gaussian_total_correlation
from unbraid.training.build import build
from unbraid.training.fit import fit

if TYPE_CHECKING:
    from unbraid.core.fields import Batch
    from unbraid.core.method import Method

_TIMES = 10  # each of the 720 images is sampled so many times
_MANY = 4096
_DRAWS, _FITS = 30, 10


class _Read(nn.Module):
    """A posterior that lies in the observation: means, then log variances."""

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Both."""
        mean, logvar = batch["x"].chunk(2, 1)
        return Parts(latents=mean), Parts(latents=logvar)


def gates(cls: type[Method[Any]]) -> Sequence[Gate]:
    """Groups that are known, with means of passive latents that follow an active one."""
    return list(_gates(cls))


def _gates(cls: type[Method[Any]]) -> Iterator[Gate]:
    rng = np.random.default_rng(0)
    used = rng.normal(size=(_MANY, 3))
    follow = 0.01 * (used[:, :2] + 0.1 * rng.normal(size=(_MANY, 2)))
    mean, variance = np.concatenate([used, follow], 1), np.ones((_MANY, 5))
    variance[:, :2] = 0.02
    variance[:, 2] = np.where(rng.random(_MANY) < 0.5, 0.02, 1.0)
    data = MemoryDataset("known", torch.from_numpy(np.concatenate([mean, np.log(variance)], 1)).float())
    method: Any = build(cls, cls.Config(), data.fields, given={"subject": _Read()})
    fit(method, data)
    found, z = method.regime, drawn(mean, variance)
    wrong = {*found.active} ^ {0, 1} | {*found.mixed} ^ {2} | {*found.passive} ^ {3, 4}
    yield Gate("Latents whose use is known are sorted so.", "latents in a wrong group", float(len(wrong)), 0.0)
    yield Gate(
        "Means of passive latents that follow others are correlated; their samples are not.",
        "total correlation of means less that of samples, in nats",
        gaussian_total_correlation(mean) - gaussian_total_correlation(z),
        1.0,
        "better",
    )


@lru_cache(maxsize=4)
def _codes(arm: Trained) -> tuple[Regime, np.ndarray, np.ndarray]:
    """Groups, means and samples."""
    mu, logvar = (np.tile(t.double().numpy(), (_TIMES, 1)) for t in arm.posterior)
    variance = np.exp(logvar)
    return regime(variance), mu, drawn(mu, variance)


def passive(arm: Trained) -> float:
    """How many latents are passive."""
    return float(len(_codes(arm)[0].passive))


def of_means(arm: Trained) -> float:
    """Total correlation of the means of all latents."""
    return gaussian_total_correlation(_codes(arm)[1])


def of_samples(arm: Trained) -> float:
    """Total correlation of the samples of all latents."""
    return gaussian_total_correlation(_codes(arm)[2])


def gap(arm: Trained) -> float:
    """Total correlation of the means less that of the samples, of all latents."""
    return of_means(arm) - of_samples(arm)


def kept_gap(arm: Trained) -> float:
    """The same of active and mixed latents, as a share of it, without a sign."""
    return _gap_of(arm, _codes(arm)[0].kept) / gap(arm)


def against_random(arm: Trained) -> float:
    """The gap of active and mixed latents, over the mean gap of as many latents drawn at random."""
    count = len(_codes(arm)[0].kept)
    at_random = np.mean([_gap_of(arm, chosen) for chosen in _at_random(arm, count)])
    return _gap_of(arm, _codes(arm)[0].kept) / float(at_random)


def ratio(arm: Trained) -> float:
    """How many times the mean |correlation| of passive latents with others is as large in means as in samples."""
    found, mean, z = _codes(arm)
    return absolute_correlation(mean, found.passive) / absolute_correlation(z, found.passive)


def accuracy_lost(arm: Trained) -> float:
    """Mean accuracy over the factors from all samples, less that from those of active and mixed latents."""
    _, _, z = _codes(arm)
    return _accuracy(arm, z, range(_width(arm))) - _accuracy(arm, z, _codes(arm)[0].kept)


def accuracy_lost_of_means(arm: Trained) -> float:
    """The same of the means."""
    _, mean, _ = _codes(arm)
    return _accuracy(arm, mean, range(_width(arm))) - _accuracy(arm, mean, _codes(arm)[0].kept)


def accuracy_lost_at_random(arm: Trained) -> float:
    """The same of samples of as many latents drawn at random."""
    found, _, z = _codes(arm)
    some = [_accuracy(arm, z, chosen) for chosen in _at_random(arm, len(found.kept))[:_FITS]]
    return _accuracy(arm, z, range(_width(arm))) - float(np.mean(some))


def _width(arm: Trained) -> int:
    return int(_codes(arm)[1].shape[1])


def _gap_of(arm: Trained, chosen: Sequence[int]) -> float:
    _, mean, z = _codes(arm)
    some = list(chosen)
    return abs(gaussian_total_correlation(mean[:, some]) - gaussian_total_correlation(z[:, some]))


def _at_random(arm: Trained, count: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [tuple(rng.permutation(_width(arm))[:count].tolist()) for _ in range(_DRAWS)]


def _accuracy(arm: Trained, codes: np.ndarray, chosen: Sequence[int]) -> float:
    """Of the linear probe, learnt from two thirds of the images."""
    order = np.random.default_rng(0).permutation(len(arm.labels))
    test = len(order) // 3
    once = codes[: len(arm.labels)][order]
    found = downstream(once, arm.labels[order], {"": chosen}, (len(order) - test,), test, "ridge")
    return found[""][0].mean


CLAIM = Claim(
    method="active-variables",
    task="beta-VAEs of ten latents on the 720 `discs`, perceptrons of width 128, 3,000 steps of 64 images, beta 1, 4 "
    "and 8. Groups from the posteriors of all images, ten samples of each.",
    data="discs",
    settings={"network": "mlp", "width": 128, "batch": 64, "steps": 3000, "optim.lr": 1e-3},
    arms=tuple(Arm(f"beta {beta}", "beta-vae", {"beta": float(beta)}) for beta in (1, 4, 8)),
    gates=gates,
    contrasts=(
        Contrast("At beta 8 some latents are passive.", "passive latents", "beta 8", 0.0, margin=0.5),
        Contrast("More latents are passive than at beta 1.", "passive latents", "beta 8", "beta 1"),
        Contrast("The means of all latents are more correlated than the samples.", "gap", "beta 8", 0.0, margin=0.5),
        Contrast("More so than at beta 1.", "gap", "beta 8", "beta 1"),
        Contrast(
            "Without passive latents at most a third of that is left.", "share of the gap", "beta 8", 1 / 3, "worse"
        ),
        Contrast(
            "The same at beta 4.", "share of the gap", "beta 4", 1 / 3, "worse"
        ),
        Contrast(
            "It goes with the passive ones: as many latents drawn at random keep three times as much of it.",
            "gap against random", "beta 8", 1 / 3, "worse"
        ),
        Contrast(
            "Passive latents are correlated with others in means, three times and more as much as in samples.",
            "passive correlation", "beta 8", 3.0,
        ),
        Contrast(
            "A classifier of samples does as well without passive latents.", "accuracy lost", "beta 4", 0.05, "worse"
        ),
        Contrast(
            "It does worse with as many latents drawn at random.", "accuracy lost at random", "beta 4", 0.05,
        ),
        Contrast(
            "What a classifier of means loses.", "accuracy lost of means", "beta 4", 0.05, "report"
        ),
        *(
            Contrast(f"Total correlation of {of} at beta {beta}.", of, f"beta {beta}", 0.0, "report")
            for of in ("means", "samples") for beta in (1, 4, 8)
        ),
        Contrast("Share of the gap that is left.", "share of the gap", "beta 1", 1 / 3, "report"),
    ),
    metrics={
        "passive latents": Metric("Latents whose posterior is the prior for every image.", passive),
        "means": Metric("Total correlation of the means of all latents, in nats.", of_means),
        "samples": Metric("Total correlation of the samples of all latents, in nats.", of_samples),
        "gap": Metric("Total correlation of means less that of samples, in nats.", gap),
        "share of the gap": Metric("Of active and mixed latents alone, as a share of that of all.", kept_gap),
        "gap against random": Metric(
            "The gap of active and mixed latents over the mean of as many drawn at random.", against_random
        ),
        "passive correlation": Metric(
            "Mean |correlation| of passive latents with others: of means, over that of samples.", ratio
        ),
        "accuracy lost": Metric("Accuracy over the factors lost by samples without passive latents.", accuracy_lost),
        "accuracy lost of means": Metric("The same of means.", accuracy_lost_of_means),
        "accuracy lost at random": Metric(
            "The same of samples without as many latents drawn at random.", accuracy_lost_at_random
        ),
    },
    note=(
        "Steps and learning rate were chosen on seeds 1 and 2, where beta 8 with twice the rate and a cosine left no "
        "latent in use at all. On every seed that is reported 7 or 8 latents are passive at beta 8, the gap is above "
        "6 nats, a fifth of it or less is left without them, and their correlation is over 15 times as large in means; "
        "but on seed 13 a latent of mean variance 0.893 falls just short of the band that begins at 0.9, counts as "
        "mixed and follows the others, so that the seeds differ by more than three of them can decide. That a "
        "classifier of the means does without passive latents, as published, is only reported: on seeds 1 and 2 it "
        "loses 5 points with the linear probe and 6 to 9 with the authors' logistic regression, for the little that "
        "these means say is there to be read once it is scaled up. In samples it is not. The published study has "
        "300,000 steps on dSprites and others, 50 seeds and six strengths of five regularisers; `active-variables` "
        "runs on any of these models."
    ),
)  # fmt: skip
