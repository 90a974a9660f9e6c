"""The scores by name, and all of them over one set of codes with the work shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.metrics import dci, infomec, mig, modularity, sap
from unbraid.metrics.information import BINS, entropy, label_encode

MAX_ROWS = 10_000
"""Items that `score_all` uses at most (half as many again for testing), as in Locatello et al. (2019)."""

BUDGET = 60.0
"""Seconds, by the formula `dci.dci_cost`, that `score_all` lets the trees of DCI cost at most."""

_LEAST_ROWS = 1000


class ScoreFunction(Protocol):
    """One score of codes (N, L) against factors (N, K), with no bound on time."""

    def __call__(
        self, codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], *, discrete: bool, seed: int
    ) -> float: ...


@dataclass(frozen=True)
class Score:
    """One score, with what a reader needs to judge it.

    Attributes:
        name: As in `SCORES`.
        value: The score; None when it was not computed (`note` says why).
        per: One number per latent or per factor (see `ScoreSpec.over`); None when there is none.
        low: Value of codes that know nothing, or spread everything evenly.
        high: Best value.
        higher_is_better: Direction.
        meaning: One plain sentence.
        reference: Paper.
        note: What was cut, left out or is in doubt; "" when nothing.
    """

    name: str
    value: float | None
    per: tuple[float, ...] | None
    low: float
    high: float
    higher_is_better: bool
    meaning: str
    reference: str
    note: str = ""


@dataclass(frozen=True)
class ScoreSpec:
    """What is known of a score before it is computed.

    Attributes:
        name: As users call it.
        function: Computes it.
        meaning: One plain sentence.
        reference: Paper.
        enough: Items below which the value is flagged.
        over: What the numbers in `Score.per` stand for.
        low: Value of codes that know nothing, or spread everything evenly.
        high: Best value.
        higher_is_better: Direction.
    """

    name: str
    function: ScoreFunction
    meaning: str
    reference: str
    enough: int
    over: Literal["latent", "factor"]
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True


def score_all(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    names: Sequence[str] | None = None,
    discrete: bool = False,
    seed: int = 0,
    *,
    max_rows: int | None = MAX_ROWS,
    budget: float | None = BUDGET,
) -> list[Score]:
    """Scores of one set of codes; information matrices, the DCI fit and the split are made once for all.

    Scores that need test items (DCI, SAP, explicitness) get a third of them, drawn at random; the others use all.
    Factors that are constant are left out (0 in `Score.per`), dead latents stay.

    Args:
        codes: Finite numbers, one row per item.
        factors: Whole numbers without gaps; see `information.drop_missing`.
        names: Keys of `SCORES`; all by default.
        discrete: Whether each latent takes few values, each a symbol: decides the estimator of InfoMEC. The other
            scores keep their published definition (MIG and modularity: 20 equal-width bins).
        seed: Of the split and of everything random.
        max_rows: Items used at most, and half as many again for testing; None for all.
        budget: Seconds that DCI may cost by `dci.dci_cost`: its trees are fitted on fewer items to stay within, but
            on no fewer than 1000; it is skipped when that costs more still. None for no bound.

    Raises:
        DataError: Shapes that do not fit, or codes that are not finite.
        ConfigError: A name that is not in `SCORES`.
    """
    wanted = list(SCORES) if names is None else list(names)
    for name in wanted:
        if name not in SCORES:
            raise ConfigError("the name of a score", got=f"'{name}'", fix=nearest(name, SCORES))
    work = _Work(codes, factors, discrete=discrete, seed=seed, max_rows=max_rows, budget=budget)
    return [_score(SCORES[name], work) for name in wanted]


class _Work:
    """One set of codes and everything that several scores need of it, each made at most once."""

    def __init__(
        self,
        codes: np.ndarray,
        factors: np.ndarray,
        *,
        discrete: bool,
        seed: int,
        max_rows: int | None,
        budget: float | None,
    ) -> None:
        codes, factors = np.asarray(codes, dtype=np.float64), np.asarray(factors)
        _check(codes, factors)
        self.items, self.values, self.discrete, self.seed, self.budget = (
            len(codes),
            factors.shape[1],
            discrete,
            seed,
            budget,
        )
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

    @property
    def split(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Train codes, train factors, test codes, test factors."""
        codes, factors = self.all_codes, self.all_factors
        return codes[self.train], factors[self.train], codes[self.test], factors[self.test]

    @cached_property
    def information(self) -> np.ndarray:
        return mig.histogram_information(self.codes, self.factors)

    @cached_property
    def entropies(self) -> np.ndarray:
        return entropy(self.factors)

    @cached_property
    def nmi(self) -> np.ndarray:
        return infomec.normalised_information(self.codes, self.factors, discrete=self.discrete, seed=self.seed)

    @cached_property
    def active(self) -> np.ndarray:
        return infomec.active_latents(self.codes, discrete=self.discrete)

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

    @cached_property
    def dci_fit(self) -> dci.DciFit:
        return dci.dci_fit(*self.split, seed=self.seed, max_rows=self.dci_rows)

    @cached_property
    def sap_matrix(self) -> np.ndarray:
        return sap.sap_accuracy(*self.split, seed=self.seed)

    @cached_property
    def areas(self) -> np.ndarray:
        return modularity.explicitness_per_factor(*self.split)[1]

    @cached_property
    def gained(self) -> np.ndarray:
        return infomec.infoe_per_factor(self.codes, self.factors, discrete=self.discrete)


_COMPUTE: Mapping[str, Callable[[_Work], tuple[float, np.ndarray]]] = MappingProxyType(
    {
        "mig": lambda w: (mig.mig(w.information, w.entropies), mig.mig_per_factor(w.information, w.entropies)),
        "dci_disentanglement": lambda w: (
            dci.disentanglement(w.dci_fit.importance),
            dci.disentanglement_per_code(w.dci_fit.importance),
        ),
        "dci_completeness": lambda w: (
            dci.completeness(w.dci_fit.importance),
            dci.completeness_per_factor(w.dci_fit.importance),
        ),
        "dci_informativeness": lambda w: (dci.informativeness(w.dci_fit.test_accuracy), w.dci_fit.test_accuracy),
        "sap": lambda w: (sap.sap(w.sap_matrix), sap.sap_per_factor(w.sap_matrix)),
        "modularity": lambda w: (modularity.modularity(w.information), modularity.modularity_per_code(w.information)),
        "explicitness": lambda w: (modularity.explicitness(w.areas), w.areas),
        "infom": lambda w: (infomec.infom(w.nmi, w.active), infomec.infom_per_latent(w.nmi, w.active)),
        "infoc": lambda w: (infomec.infoc(w.nmi, w.active), infomec.infoc_per_factor(w.nmi, w.active)),
        "infoe": lambda w: (infomec.infoe(w.gained), w.gained),
    }
)


def _value(
    name: str, codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], *, discrete: bool, seed: int
) -> float:
    work = _Work(codes, factors, discrete=discrete, seed=seed, max_rows=None, budget=None)
    if not work.varies.any():
        raise DataError("a factor that varies", got="constants only", where="factors")
    return _COMPUTE[name](work)[0]


def _score(spec: ScoreSpec, work: _Work) -> Score:
    value, per, note = None, None, _notes(spec, work)
    if not work.varies.any():
        note = "no factor varies"
    elif spec.name.startswith("dci") and not work.dci_rows:
        seconds = dci.dci_cost(_LEAST_ROWS, work.codes.shape[1], work.all_factors)
        note = f"skipped: about {seconds:.0f} s on {_LEAST_ROWS} items, more than the budget of {work.budget:.0f} s"
    else:
        value, numbers = _COMPUTE[spec.name](work)
        if spec.over == "factor":
            numbers = _spread(numbers, work.varies)
        per = tuple(float(x) for x in numbers)
    return Score(spec.name, value, per, spec.low, spec.high, spec.higher_is_better, spec.meaning, spec.reference, note)


def _spread(numbers: np.ndarray, varies: np.ndarray) -> np.ndarray:
    full = np.zeros(len(varies))
    full[varies] = numbers
    return full


def _notes(spec: ScoreSpec, work: _Work) -> str:
    notes = []
    if work.items < spec.enough:
        notes.append(f"only {work.items} items, {spec.enough} are enough")
    if constant := int((~work.varies).sum()):
        notes.append(f"{constant} constant factor(s) left out")
    if spec.name.startswith("dci") and 0 < work.dci_rows < len(work.train):
        notes.append(f"trees fitted to {work.dci_rows} of {len(work.train)} train items")
    if work.discrete and spec.name in {"mig", "modularity"}:
        most = max((len(np.unique(column)) for column in work.codes.T), default=0)
        if most > BINS:
            notes.append(f"{most} values of a discrete latent merged into {BINS} bins")
    return "; ".join(notes)


def _check(codes: np.ndarray, factors: np.ndarray) -> None:
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or 0 in codes.shape or 0 in factors.shape:
        raise DataError("codes (N, L) and factors (N, K)", got=f"{codes.shape} and {factors.shape}")
    if not np.isfinite(codes).all():
        raise DataError("finite codes", got="NaN or infinity", where="codes")
    if factors.dtype.kind not in "iub":
        raise DataError("whole numbers", got=str(factors.dtype), where="factors", fix="see information.drop_missing")


def _spec(
    name: str, meaning: str, reference: str, enough: int, over: Literal["latent", "factor"], low: float = 0.0
) -> ScoreSpec:
    return ScoreSpec(name, partial(_value, name), meaning, reference, enough, over, low)


SCORES: Mapping[str, ScoreSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            _spec(
                "mig",
                "How much more the best latent knows of a factor than the second best, as a share of what there is.",
                "Chen et al. (2018), arXiv:1802.04942",
                1000,
                "factor",
            ),
            _spec(
                "dci_disentanglement",
                "Whether each latent serves to predict one factor only.",
                "Eastwood and Williams (2018), ICLR",
                1000,
                "latent",
            ),
            _spec(
                "dci_completeness",
                "Whether each factor is predicted from one latent only.",
                "Eastwood and Williams (2018), ICLR",
                1000,
                "factor",
            ),
            _spec(
                "dci_informativeness",
                "Share of new items whose factors boosted trees predict right from all latents.",
                "Eastwood and Williams (2018), ICLR",
                1000,
                "factor",
            ),
            _spec(
                "sap",
                "How much better the best latent alone predicts a factor than the second best.",
                "Kumar et al. (2018), arXiv:1711.00848",
                1000,
                "factor",
            ),
            _spec(
                "modularity",
                "Whether each latent knows one factor only; dead and noise latents pull it down.",
                "Ridgeway and Mozer (2018), arXiv:1802.05312",
                1000,
                "latent",
            ),
            _spec(
                "explicitness",
                "How well a linear classifier ranks a factor's values for new items; 0.5 is chance.",
                "Ridgeway and Mozer (2018), arXiv:1802.05312",
                500,
                "factor",
                0.5,
            ),
            _spec(
                "infom",
                "Whether each active latent knows one factor only; a ratio, to be read together with infoe.",
                "Hsu et al. (2023), arXiv:2305.18378",
                1000,
                "latent",
            ),
            _spec(
                "infoc",
                "Whether each factor is known to one active latent only.",
                "Hsu et al. (2023), arXiv:2305.18378",
                1000,
                "factor",
            ),
            _spec(
                "infoe",
                "Share of what there is to know of a factor that a linear model reads out; may fall just below 0.",
                "Hsu et al. (2023), arXiv:2305.18378",
                1000,
                "factor",
            ),
        )
    }
)
"""Every score by name; functions are exact and unbounded, `score_all` shares their work and bounds it."""
