"""The scores by name, and all of them over one set of codes with the work shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError, DataError, nearest
from unbraid.metrics import beta_vae, dci, fairness, infomec, irs, mig, modularity, sap, unsupervised
from unbraid.metrics import factor_vae as factor
from unbraid.metrics.information import BINS
from unbraid.metrics.mig import BINS_OF_GAPS
from unbraid.metrics.score import Enough, Posterior, Score, ScoreSpec
from unbraid.metrics.work import Work

__all__ = ["BUDGET", "MAX_ROWS", "SCORES", "Score", "ScoreSpec", "named", "score_all"]

MAX_ROWS = 10_000
"""Items that `score_all` uses at most (half as many again for testing), as in Locatello et al. (2019)."""

BUDGET = 60.0
"""Seconds, by the formula `dci.dci_cost`, that `score_all` lets the trees of DCI cost at most."""

Over = Literal["latent", "factor"] | None

Found = tuple[float, np.ndarray | None]


def named(names: Sequence[str] | None = None, where: str = "") -> list[str]:
    """Names of scores: the usual ones where None; "all" stands for every one.

    Raises:
        ConfigError: A name that is not in `SCORES`.

    >>> named(["mig", "infoe"]), len(named()) < len(named(["all"]))
    (['mig', 'infoe'], True)
    """
    if names is None:
        return [name for name, spec in SCORES.items() if spec.usual]
    if list(names) == ["all"]:
        return list(SCORES)
    for name in names:
        if name not in SCORES:
            raise ConfigError("the name of a score", got=f"'{name}'", fix=nearest(name, SCORES), where=where)
    return list(dict.fromkeys(names))


def score_all(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    names: Sequence[str] | None = None,
    discrete: bool = False,
    seed: int = 0,
    *,
    posterior: Posterior | None = None,
    max_rows: int | None = MAX_ROWS,
    budget: float | None = BUDGET,
) -> list[Score]:
    """Scores of one set of codes; information matrices, the DCI fit and the split are made once for all.

    Scores that need test items (DCI, SAP, explicitness, unfairness) get a third of them, drawn at random; the others
    use all. Factors that are constant are left out (0 in `Score.per`), dead latents stay. A score from fewer items
    than are enough is computed, and its note says how many would do.

    Args:
        codes: Finite numbers, one row per item.
        factors: Whole numbers without gaps; see `information.drop_missing`.
        names: Keys of `SCORES`, or "all" alone; the usual ones by default.
        discrete: Whether each latent takes few values, each a symbol: decides the estimator of InfoMEC. The other
            scores keep their published definition (MIG and modularity: 20 equal-width bins).
        seed: Of the split and of everything random.
        posterior: Means and log variances (N, L) behind the codes, which RMIG needs.
        max_rows: Items used at most, and half as many again for testing; None for all.
        budget: Seconds that DCI may cost by `dci.dci_cost`: its trees are fitted on fewer items to stay within, but
            on no fewer than 1000; it is skipped when that costs more still. None for no bound.

    Raises:
        DataError: Shapes that do not fit, or codes that are not finite.
        ConfigError: A name that is not in `SCORES`.
    """
    wanted = named(names)
    work = Work(codes, factors, discrete=discrete, seed=seed, max_rows=max_rows, budget=budget, posterior=posterior)
    return [_score(SCORES[name], work) for name in wanted]


def _value(
    name: str,
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    *,
    discrete: bool = False,
    seed: int = 0,
    posterior: Posterior | None = None,
) -> float:
    work = Work(codes, factors, discrete=discrete, seed=seed, max_rows=None, budget=None, posterior=posterior)
    if not work.varies.any() and SCORES[name].needs != "nothing":
        raise DataError("a factor that varies", got="constants only", where="factors")
    return _COMPUTE[name](work)[0]


def _score(spec: ScoreSpec, work: Work) -> Score:
    value, per, note = None, None, _refused(spec, work)
    if not note:
        value, numbers = _COMPUTE[spec.name](work)
        note = _notes(spec, work)
        if numbers is not None:
            per = tuple(float(x) for x in (_spread(numbers, work.varies) if spec.over == "factor" else numbers))
    return Score(spec.name, value, per, spec.low, spec.high, spec.higher_is_better, spec.meaning, spec.reference, note)


def _refused(spec: ScoreSpec, work: Work) -> str:
    """Why a score cannot be computed; "" when it can."""
    if spec.needs != "nothing" and not work.varies.any():
        return "no factor varies"
    if spec.needs == "posterior" and work.posterior is None:
        return "needs a posterior: the method gives none, or only codes were given"
    return work.dci_skipped if spec.name in _BY_TREES else ""


def _spread(numbers: np.ndarray, varies: np.ndarray) -> np.ndarray:
    full = np.zeros(len(varies))
    full[varies] = numbers
    return full


def _notes(spec: ScoreSpec, work: Work) -> str:
    notes = []
    if work.items < (enough := spec.enough(work.values, work.codes.shape[1])):
        notes.append(f"only {work.items:,} items; {enough:,} would do")
    if spec.needs != "nothing" and (constant := int((~work.varies).sum())):
        notes.append(f"{constant} constant factor(s) left out")
    if spec.name in _BY_TREES and work.dci_rows < len(work.train):
        notes.append(f"trees fitted to {work.dci_rows} of {len(work.train)} train items")
    if work.discrete and (bins := _BINS.get(spec.name)):
        most = max((len(np.unique(column)) for column in work.codes.T), default=0)
        if most > bins:
            notes.append(f"{most} values of a discrete latent merged into {bins} bins")
    return "; ".join(notes)


_COMPUTE: Mapping[str, Callable[[Work], Found]] = MappingProxyType(
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
        "rmig": lambda w: (
            mig.mig(w.posterior_information, w.entropies),
            mig.mig_per_factor(w.posterior_information, w.entropies),
        ),
        "mig_sup": lambda w: (
            mig.mig_sup(mig.normalised_by(w.coarse_information, w.entropies)),
            mig.mig_sup_per_latent(mig.normalised_by(w.coarse_information, w.entropies)),
        ),
        "jemmig": lambda w: (
            mig.jemmig(w.coarse_information, w.entropies, w.coarse_entropies),
            mig.jemmig_per_factor(w.coarse_information, w.entropies, w.coarse_entropies),
        ),
        "dcimig": lambda w: (
            mig.dcimig(w.coarse_information, w.entropies),
            mig.dcimig_per_factor(w.coarse_information, w.entropies),
        ),
        "irs": lambda w: (irs.irs(w.robustness), w.robustness.per_latent),
        "beta_vae": lambda w: (beta_vae.beta_vae_score(w.codes, w.factors, seed=w.seed), None),
        "factor_vae": lambda w: (factor.factor_vae_score(w.codes, w.factors, seed=w.seed), None),
        "unfairness": lambda w: (fairness.unfairness(w.unfairness), fairness.unfairness_per_factor(w.unfairness)),
        "gaussian_tc": lambda w: (unsupervised.gaussian_total_correlation(w.codes), None),
        "gaussian_wasserstein": lambda w: (unsupervised.gaussian_wasserstein(w.codes), None),
        "mutual_info": lambda w: (unsupervised.mutual_information_score(w.codes), None),
    }
)

_BY_TREES = frozenset({"dci_disentanglement", "dci_completeness", "dci_informativeness", "unfairness"})
_BINS: Mapping[str, int] = MappingProxyType(
    {"mig": BINS, "modularity": BINS, "mutual_info": BINS}
    | dict.fromkeys(("mig_sup", "jemmig", "dcimig"), BINS_OF_GAPS)
)


def _spec(name: str, meaning: str, reference: str, enough: Enough, over: Over, **more: Any) -> ScoreSpec:
    return ScoreSpec(name, partial(_value, name), meaning, reference, enough, over, **more)


_DCI = "Eastwood and Williams (2018), ICLR"
_RIDGEWAY = "Ridgeway and Mozer (2018), arXiv:1802.05312"
_HSU = "Hsu et al. (2023), arXiv:2305.18378"
_STUDY = "Locatello et al. (2019), arXiv:1811.12359"
_LEARNT = Enough(1000, each_value=50)

SCORES: Mapping[str, ScoreSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            _spec(
                "mig",
                "How much more the best latent knows of a factor than the second best, as a share of what there is.",
                "Chen et al. (2018), arXiv:1802.04942",
                Enough(bins=BINS),
                "factor",
                usual=True,
            ),
            _spec(
                "dci_disentanglement",
                "Whether each latent serves to predict one factor only.",
                _DCI,
                _LEARNT,
                "latent",
                usual=True,
            ),
            _spec(
                "dci_completeness",
                "Whether each factor is predicted from one latent only.",
                _DCI,
                _LEARNT,
                "factor",
                usual=True,
            ),
            _spec(
                "dci_informativeness",
                "Share of new items whose factors boosted trees predict right from all latents.",
                _DCI,
                _LEARNT,
                "factor",
                usual=True,
            ),
            _spec(
                "sap",
                "How much better the best latent alone predicts a factor than the second best.",
                "Kumar et al. (2018), arXiv:1711.00848",
                _LEARNT,
                "factor",
                usual=True,
            ),
            _spec(
                "modularity",
                "Whether each latent knows one factor only; dead and noise latents pull it down.",
                _RIDGEWAY,
                Enough(bins=BINS),
                "latent",
                usual=True,
            ),
            _spec(
                "explicitness",
                "How well a linear classifier ranks a factor's values for new items; 0.5 is chance.",
                _RIDGEWAY,
                Enough(500, each_value=30),
                "factor",
                low=0.5,
                usual=True,
            ),
            _spec(
                "infom",
                "Whether each active latent knows one factor only; a ratio, to be read together with infoe.",
                _HSU,
                _LEARNT,
                "latent",
                usual=True,
            ),
            _spec(
                "infoc", "Whether each factor is known to one active latent only.", _HSU, _LEARNT, "factor", usual=True
            ),
            _spec(
                "infoe",
                "Share of what there is to know of a factor that a linear model reads out; may fall just below 0.",
                _HSU,
                _LEARNT,
                "factor",
                usual=True,
            ),
            _spec(
                "rmig",
                "MIG with each item spread over its posterior instead of put at its mean.",
                "Do and Tran (2020), arXiv:1908.09961",
                Enough(bins=BINS),
                "factor",
                needs="posterior",
            ),
            _spec(
                "mig_sup",
                "How much more a latent knows of its best factor than of the next; dead latents count as 0.",
                "Li et al. (2020), arXiv:2002.10549",
                Enough(bins=BINS_OF_GAPS),
                "latent",
            ),
            _spec(
                "jemmig",
                "MIG that also asks the best latent to hold nothing but the factor.",
                "Do and Tran (2020), arXiv:1908.09961",
                Enough(bins=BINS_OF_GAPS),
                "factor",
            ),
            _spec(
                "dcimig",
                "Each latent's gap between its two best factors, counted once for each factor.",
                "Sepliarskaia et al. (2020), arXiv:1910.05587",
                Enough(bins=BINS_OF_GAPS),
                "factor",
            ),
            _spec(
                "irs",
                "Whether a latent stays where its factor puts it while the other factors change.",
                "Suter et al. (2019), arXiv:1811.00007",
                Enough(each_value=100),
                "latent",
            ),
            _spec(
                "beta_vae",
                "How often a line tells which factor pairs of items share; saturates, 1 over their number is chance.",
                "Higgins et al. (2017), openreview:Sy2fzU9gl",
                Enough(each_value=64),
                None,
            ),
            _spec(
                "factor_vae",
                "How often the latent that varies least tells which factor items share; saturates; depends on scale.",
                "Kim and Mnih (2018), arXiv:1802.05983",
                Enough(each_value=64),
                None,
            ),
            _spec(
                "unfairness",
                "How far predictions of one factor from the codes shift with another one, in total variation.",
                "Locatello et al. (2019), arXiv:1905.13662",
                Enough(1000, each_value=100),
                "factor",
                higher_is_better=False,
            ),
            _spec(
                "gaussian_tc",
                "Dependence between latents that shows in their covariance, in nats.",
                _STUDY,
                Enough(each_latent=50),
                None,
                high=np.inf,
                higher_is_better=False,
                needs="nothing",
            ),
            _spec(
                "gaussian_wasserstein",
                "How far the covariance of the latents is from diagonal, as a share of their variance.",
                _STUDY,
                Enough(each_latent=50),
                None,
                high=2.0,
                higher_is_better=False,
                needs="nothing",
            ),
            _spec(
                "mutual_info",
                "Mean information in nats that two latents have of each other.",
                _STUDY,
                Enough(Enough(bins=BINS)([BINS], 1)),
                None,
                high=float(np.log(BINS)),
                higher_is_better=False,
                needs="nothing",
            ),
        )
    }
)
"""Every score by name; functions are exact and unbounded, `score_all` shares their work and bounds it."""
