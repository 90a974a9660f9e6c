"""One set of codes and everything that several scores need of it, each made at most once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from unbraid.core.errors import DataError
from unbraid.metrics import dci, fairness, infomec, irs, mig, modularity, sap
from unbraid.metrics.information import entropy, histogram_bins, label_encode, mutual_information
from unbraid.metrics.mig import BINS_OF_GAPS
from unbraid.metrics.score import Posterior

_LEAST_ROWS = 1000
_POSTERIOR_BINS, _POSTERIOR_REACH = 100, 4.0  # Do and Tran (2020)


class Work:
    """Codes, factors and the split between them, with the matrices that scores are made of.

    Scores that need test items get a third of them, drawn at random; the others use all.

    Args:
        codes: (N, L).
        factors: (N, K) whole numbers.
        discrete: Whether each latent takes few values, each a symbol.
        seed: Of the split and of everything random.
        max_rows: Items used at most, and half as many again for testing; None for all.
        budget: Seconds that trees may cost; None for no bound.
        posterior: Means and log variances behind the codes.

    Raises:
        DataError: Shapes that do not fit, or codes that are not finite.
    """

    def __init__(
        self,
        codes: np.ndarray,
        factors: np.ndarray,
        *,
        discrete: bool,
        seed: int,
        max_rows: int | None,
        budget: float | None,
        posterior: Posterior | None = None,
    ) -> None:
        codes, factors = np.asarray(codes, dtype=np.float64), np.asarray(factors)
        _check(codes, factors, posterior)
        self.items, self.discrete, self.seed, self.budget = len(codes), discrete, seed, budget
        labels = label_encode(factors)
        self.varies = np.asarray(labels.any(axis=0))
        order = np.random.default_rng(seed).permutation(self.items)
        rows = self.items if max_rows is None else max_rows
        both = order[: rows + rows // 2]
        cut = max(1, 2 * len(both) // 3)
        self.train, self.test = both[:cut], both[cut:] if len(both) > cut else both[:cut]
        used = np.sort(order[:rows])
        self.all_codes, self.all_factors = codes, labels[:, self.varies]
        self.codes, self.factors = codes[used], label_encode(self.all_factors[used])
        self.posterior = None if posterior is None else tuple(np.asarray(t, np.float64)[used] for t in posterior)

    @property
    def split(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Train codes, train factors, test codes, test factors."""
        codes, factors = self.all_codes, self.all_factors
        return codes[self.train], factors[self.train], codes[self.test], factors[self.test]

    @property
    def values(self) -> list[int]:
        """How many values each factor that varies takes."""
        return [int(column.max()) + 1 for column in self.all_factors.T]

    @cached_property
    def information(self) -> np.ndarray:
        """In 20 bins."""
        return mig.histogram_information(self.codes, self.factors)

    @cached_property
    def _coarse_codes(self) -> np.ndarray:
        return histogram_bins(self.codes, BINS_OF_GAPS)

    @cached_property
    def coarse_information(self) -> np.ndarray:
        """In 10 bins."""
        return mutual_information(self._coarse_codes, self.factors)

    @cached_property
    def coarse_entropies(self) -> np.ndarray:
        """Of the latents in 10 bins."""
        return entropy(self._coarse_codes)

    @cached_property
    def posterior_information(self) -> np.ndarray:
        """With each item spread over its posterior."""
        if self.posterior is None:
            raise DataError("a posterior: means and log variances of the codes", got="none", where="rmig")
        mu, logvar = self.posterior
        edges = mig.even_edges(-_POSTERIOR_REACH, _POSTERIOR_REACH, _POSTERIOR_BINS, mu.shape[1])
        return mig.posterior_information(mu, logvar, self.factors, edges)

    @cached_property
    def entropies(self) -> np.ndarray:
        """Of the factors."""
        return entropy(self.factors)

    @cached_property
    def nmi(self) -> np.ndarray:
        """Of InfoMEC."""
        return infomec.normalised_information(self.codes, self.factors, discrete=self.discrete, seed=self.seed)

    @cached_property
    def active(self) -> np.ndarray:
        """The latents that InfoMEC counts."""
        return infomec.active_latents(self.codes, discrete=self.discrete)

    @cached_property
    def robustness(self) -> irs.Robustness:
        """Of the latents against changes of other factors."""
        return irs.robustness(self.codes, self.factors)

    @cached_property
    def dci_rows(self) -> int:
        """Items that the trees are fitted to; 0 when even the least number costs too much."""
        codes, factors, _, _ = self.split
        fewest = dci.dci_cost(0, codes.shape[1], factors)
        each = dci.dci_cost(1, codes.shape[1], factors) - fewest
        if self.budget is None or fewest + each * len(codes) <= self.budget:
            return len(codes)
        rows = int((self.budget - fewest) / each)
        return rows if rows >= min(_LEAST_ROWS, len(codes)) else 0

    @property
    def dci_skipped(self) -> str:
        """Why no trees are fitted; "" when they are."""
        if self.dci_rows:
            return ""
        seconds = dci.dci_cost(_LEAST_ROWS, self.codes.shape[1], self.all_factors)
        fix = "" if dci.compiled() else "; install unbraid[fast]"
        return (
            f"skipped: about {seconds:.0f} s on {_LEAST_ROWS} items, more than the budget of {self.budget:.0f} s{fix}"
        )

    @cached_property
    def dci_fit(self) -> dci.DciFit:
        """Trees that predict each factor from all latents."""
        return dci.dci_fit(*self.split, seed=self.seed, max_rows=self.dci_rows)

    @cached_property
    def unfairness(self) -> np.ndarray:
        """Targets by sensitive factors."""
        return fairness.unfairness_matrix(self.dci_fit.predicted, self.all_factors[self.test])[0]

    @cached_property
    def sap_matrix(self) -> np.ndarray:
        """Test accuracy of one latent for one factor."""
        return sap.sap_accuracy(*self.split)

    @cached_property
    def areas(self) -> np.ndarray:
        """Test AUC of each factor."""
        return modularity.explicitness_per_factor(*self.split)[1]

    @cached_property
    def gained(self) -> np.ndarray:
        """InfoE of each factor."""
        return infomec.infoe_per_factor(self.codes, self.factors, discrete=self.discrete)


def _check(codes: np.ndarray, factors: np.ndarray, posterior: Posterior | None) -> None:
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or 0 in codes.shape or 0 in factors.shape:
        raise DataError("codes (N, L) and factors (N, K)", got=f"{codes.shape} and {factors.shape}")
    if not np.isfinite(codes).all():
        raise DataError("finite codes", got="NaN or infinity", where="codes")
    if factors.dtype.kind not in "iub":
        raise DataError("whole numbers", got=str(factors.dtype), where="factors", fix="see information.drop_missing")
    if posterior is not None and (shapes := [np.shape(t) for t in posterior]) != [codes.shape] * 2:
        raise DataError(f"means and log variances of shape {codes.shape}", got=f"{shapes}", where="posterior")
