"""What is measured of a trained arm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.claims.claim import Metric
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch
from unbraid.core.method import Examines, Infers, Method
from unbraid.core.outcome import Findings
from unbraid.core.parts import Parts
from unbraid.data.dataset import Dataset
from unbraid.data.order import key_of, shuffled
from unbraid.losses.gaussian import kl, sample
from unbraid.losses.total_correlation import decompose
from unbraid.metrics.information import histogram_bins, label_encode
from unbraid.metrics.registry import SCORES

ITEMS = 3000
"""Most items that are looked at; all of them where the world has fewer."""

_PART = "latents"
_DRAWS = 4


@dataclass(frozen=True)
class Trained:
    """A trained method with its data, and what metrics need of both, each made at most once.

    Attributes:
        method: In eval mode.
        data: What it was trained on.
    """

    method: Method[Any]
    data: Dataset

    @cached_property
    def indices(self) -> Int[Tensor, " n"]:
        """The items that are looked at: the same for every arm and seed."""
        n = len(self.data.audited)
        return torch.arange(n) if n <= ITEMS else shuffled(n, key_of("claims", "items"), torch.arange(ITEMS))

    @cached_property
    def batch(self) -> Batch:
        """These items."""
        return self.data.audited.take(self.indices)

    @cached_property
    def parts(self) -> Parts:
        """Their parts."""
        with torch.no_grad():
            return self.method.encode(self.batch)

    @cached_property
    def codes(self) -> Float[Tensor, "n l"]:
        """The part "latents" of them."""
        return self.parts[_PART]

    @cached_property
    def posterior(self) -> tuple[Tensor, Tensor]:
        """Means and log variances of the codes; of no variance where the method has no posterior."""
        if not isinstance(self.method, Infers):
            return self.codes, torch.full_like(self.codes, -math.inf)
        with torch.no_grad():
            mu, logvar = self.method.posterior(self.batch)
        return mu[_PART], logvar[_PART]

    @cached_property
    def sampled(self) -> Float[Tensor, "n l"]:
        """A draw from the posterior of each item: the codes that the decoder learned to read."""
        mu, logvar = self.posterior
        return sample(mu, logvar, torch.randn(mu.shape, generator=torch.Generator().manual_seed(0)))

    @cached_property
    def labels(self) -> Int[np.ndarray, "n k"]:
        """The factors of the items."""
        return label_encode(self.data.audited.table(self.indices).values)

    @cached_property
    def findings(self) -> Findings:
        """What the method finds when it is judged as it usually is."""
        if not isinstance(self.method, Examines):
            raise ConfigError("a method that can be examined", got=type(self.method).__name__)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.method.examine(self.data)

    @property
    def discrete(self) -> bool:
        """Whether each latent takes few values."""
        return next(spec for spec in self.method.parts() if spec.name == _PART).classes is not None


def score(name: str) -> Metric:
    """One of the scores of `unbraid.metrics.registry`, on the codes."""
    spec = SCORES[name]

    def of(arm: Trained) -> float:
        return spec.function(arm.codes.double().numpy(), arm.labels, discrete=arm.discrete, seed=0)

    return Metric(spec.meaning, of, spec.higher_is_better)


def found(name: str, meaning: str, *, more: bool = True) -> Metric:
    """One of the numbers of the method's own examination."""
    return Metric(meaning, lambda arm: float(arm.findings.numbers[name]), more)


def infoe_in_bins(arm: Trained) -> float:
    """InfoE as for discrete codes, after continuous ones were cut into ten equal bins."""
    codes = arm.codes.double().numpy()
    symbols = codes if arm.discrete else histogram_bins(codes, 10).astype(np.float64)
    return SCORES["infoe"].function(symbols, arm.labels, discrete=True, seed=0)


def explained(arm: Trained, codes: Tensor) -> float:
    """1 - squared error / squared distance to the mean image, over all items."""
    x = arm.batch["x"].double()
    decode: Any = arm.method
    with torch.no_grad():
        y = decode.decode(Parts({_PART: codes})).double()
    return 1.0 - float((y - x).square().sum() / (x - x.mean(0)).square().sum())


def capacity(arm: Trained) -> float:
    """Mean KL(q(z|x) || p(z)) in nats."""
    return float(kl(*arm.posterior).sum(1).mean())


def total_correlation(arm: Trained) -> float:
    """TC of the aggregate posterior of the items, in nats: exact but for the mean over a few draws of each."""
    mu, logvar = (t.double() for t in arm.posterior)
    generator = torch.Generator().manual_seed(0)
    found = 0.0
    for _ in range(_DRAWS):
        z = sample(mu, logvar, torch.randn(mu.shape, generator=generator, dtype=mu.dtype))
        found += float(decompose(z, mu, logvar, len(z)).tc.mean()) / _DRAWS
    return found


def gaussian_total_correlation(arm: Trained) -> float:
    """-1/2 log det of the correlation matrix of sampled codes, in nats; constant latents left out."""
    return _log_det(arm.sampled)


def gaussian_total_correlation_of_means(arm: Trained) -> float:
    """The same of the codes themselves."""
    return _log_det(arm.codes)


def mean_correlation(arm: Trained) -> float:
    """Mean absolute correlation of two different latents, of sampled codes."""
    correlation = _correlation(arm.sampled)
    pairs = np.triu_indices(len(correlation), 1)
    return float(np.abs(correlation[pairs]).mean())


def _log_det(codes: Tensor) -> float:
    return -0.5 * float(np.linalg.slogdet(_correlation(codes))[1])


def _correlation(codes: Tensor) -> Float[np.ndarray, "l l"]:
    columns = codes.double().numpy()
    return np.atleast_2d(np.corrcoef(columns[:, np.ptp(columns, axis=0) > 0], rowvar=False))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "mig": score("mig"),
        "infom": score("infom"),
        "infoe": score("infoe"),
        "infoe in bins": Metric(
            "InfoE of discrete codes as they are, and of continuous ones cut into ten equal bins after training.",
            infoe_in_bins,
        ),
        "explained": Metric(
            "Share of the variance of the pixels that the reconstruction explains; the mean image explains 0.",
            lambda arm: explained(arm, arm.codes),
        ),
        "explained, sampled": Metric(
            "The same from a sample of each posterior, which is what the decoder was trained on.",
            lambda arm: explained(arm, arm.sampled),
        ),
        "kl": Metric("Mean KL of the posteriors to the prior, in nats: what the code may hold.", capacity, more=False),
        "total correlation": Metric(
            "KL of the aggregate posterior to the product of its marginals, in nats, over all items at once.",
            total_correlation,
            more=False,
        ),
        "gaussian total correlation": Metric(
            "The part of the total correlation of sampled codes that shows in their correlation matrix, in nats.",
            gaussian_total_correlation,
            more=False,
        ),
        "gaussian total correlation of means": Metric(
            "The same of the codes, where methods with a posterior have its means.",
            gaussian_total_correlation_of_means,
            more=False,
        ),
        "correlation": Metric(
            "Mean absolute correlation of two latents, of sampled codes.", mean_correlation, more=False
        ),
    }
)
"""What claims measure, by name."""
