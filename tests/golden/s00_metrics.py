"""Scores against the values of disentanglement_lib and of the InfoMEC authors' code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from unbraid.metrics import dci, infomec, irs, mig, modularity, sap, udr, unsupervised
from unbraid.metrics.information import entropy, histogram_bins, label_encode, mutual_information, standardise

SLUG = "00-metrics"
INPUTS = {"factor_sizes", "factors_train", "factors_test", "codes_train", "codes_test", "code_table"}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Assert everything in the case that is built; the names of the arrays compared."""
    if "z_logvar" in arrays:
        return _vae_losses(arrays)
    if "lasso_raw" in arrays:
        return _udr(arrays)
    if "codes_train" not in arrays or "factors_train" not in arrays:
        return set()
    case = _Case(arrays)
    parts = (_information, _gaps, _dci_aggregators, _dci_from_data, _sap, _explicitness, _infomec, _irs, _unsupervised)
    for part in (*parts, _interventions):
        part(case)
    return case.compared | (INPUTS & set(arrays))


class _Case:
    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.compared: set[str] = set()
        self.codes, self.codes_test = (arrays[f"codes_{s}"].astype(np.float64) for s in ("train", "test"))
        self.factors, self.factors_test = (arrays[f"factors_{s}"].astype(np.int64) for s in ("train", "test"))

    def has(self, name: str) -> bool:
        return name in self.arrays

    def close(self, name: str, value: object, tolerance: float) -> None:
        if name in self.arrays:
            wanted = self.arrays[name]
            assert np.shape(value) == wanted.shape, f"{name}: shape {np.shape(value)}, expected {wanted.shape}"
            np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance, err_msg=name)
            self.compared.add(name)


def _information(case: _Case) -> None:
    information = mig.histogram_information(case.codes, case.factors)
    entropies = entropy(label_encode(case.factors))
    bins = histogram_bins(case.codes)
    case.close("mi_hist20", information, 1e-6)
    case.close("factor_entropy", entropies, 1e-6)
    case.close("mig_per_factor", mig.mig_per_factor(information, entropies), 1e-6)
    case.close("mig", mig.mig(information, entropies), 1e-6)
    case.close("mi_codes_hist20", mutual_information(bins, bins), 1e-6)
    case.close("modularity", modularity.modularity(information), 1e-6)


def _gaps(case: _Case) -> None:
    bins = histogram_bins(case.codes, mig.BINS_OF_GAPS)
    information = mutual_information(bins, label_encode(case.factors))
    entropies = entropy(label_encode(case.factors))
    theirs = mig.normalised_by(information, entropy(bins)[:, None])  # they divide by the entropy of the latent
    case.close("ubi_dcimig", mig.dcimig(information, entropies), 1e-6)
    case.close("ubi_jemmig", mig.jemmig(information, entropies, entropy(bins)), 1e-6)
    for name, value in (
        ("ubi_mig_sup", mig.mig_sup(theirs)),
        ("ubi_mig_10bins", float(mig.top_gap(theirs).mean())),
    ):
        if case.has(name) and np.isnan(case.arrays[name]):  # theirs where a latent is constant
            assert np.isfinite(value), name
            case.compared.add(name)
        else:
            case.close(name, value, 1e-6)


def _irs(case: _Case) -> None:
    found = irs.robustness(case.codes, case.factors)
    case.close("irs", irs.irs(found), 1e-6)
    case.close("irs_matrix", found.matrix, 1e-6)
    case.close("irs_scores", found.per_latent[found.active], 1e-6)
    case.close("irs_parents", found.parents, 0)
    case.close("irs_max_deviations", found.deviation, 1e-6)
    case.close("irs_q100", irs.irs(irs.robustness(case.codes, case.factors, quantile=1.0)), 1e-6)


def _unsupervised(case: _Case) -> None:
    case.close("gaussian_tc", unsupervised.gaussian_total_correlation(case.codes), 1e-5)
    case.close("gaussian_wasserstein", unsupervised.gaussian_wasserstein(case.codes, normalise=False), 1e-5)
    case.close("gaussian_wasserstein_norm", unsupervised.gaussian_wasserstein(case.codes), 1e-5)
    case.close("mutual_info_score", unsupervised.mutual_information_score(case.codes), 1e-6)


def _interventions(case: _Case) -> None:
    if not case.has("sampling_settings") or not case.has("code_table"):
        return
    module = _beside("_interventions")
    for name, (value, tolerance) in {
        **(module.beta_vae_values(case.arrays) if case.has("beta_vae_features_train") else {}),
        **(module.factor_vae_values(case.arrays) if case.has("factor_vae_votes_train") else {}),
    }.items():
        case.close(name, value, tolerance)
    case.compared.add("sampling_settings")


def _udr(arrays: dict[str, np.ndarray]) -> set[str]:
    codes, kl = arrays["codes"], arrays["kl"]
    alive = kl > udr.INFORMATIVE
    read = [standardise(model) * on for model, on in zip(codes, alive, strict=True)]
    for how in ("lasso", "spearman"):
        raw, pairwise = arrays[f"{how}_raw"], udr.udr_pairwise(codes, kl, how)
        for i, j in np.argwhere(~np.eye(len(codes), dtype=bool)):
            cut = np.ix_(alive[i], alive[j])
            np.testing.assert_allclose(
                udr.relation(read[i], read[j], how)[cut], np.abs(raw[i, j][cut]), atol=1e-4, err_msg=how
            )
        others = ~np.eye(len(codes), dtype=bool)
        np.testing.assert_allclose(pairwise[others], arrays[f"{how}_pairwise"][others], atol=1e-4, err_msg=how)
        np.testing.assert_allclose(udr.udr(pairwise), arrays[f"{how}_model_scores"], atol=1e-4, err_msg=how)
    return set(arrays)


def _dci_aggregators(case: _Case) -> None:
    if case.has("dci_importance"):
        importance = case.arrays["dci_importance"]
        case.close("dci_disentanglement_per_code", dci.disentanglement_per_code(importance), 1e-9)
        case.close("dci_completeness_per_factor", dci.completeness_per_factor(importance), 1e-9)
        case.close("dci_disentanglement", dci.disentanglement(importance), 1e-9)
        case.close("dci_completeness", dci.completeness(importance), 1e-9)


def _dci_from_data(case: _Case) -> None:
    if not case.has("dci_importance"):
        return
    fit = dci.dci_fit(case.codes, case.factors, case.codes_test, case.factors_test)
    case.close("dci_informativeness_train", dci.informativeness(fit.train_accuracy), 0.02)
    case.close("dci_informativeness_test", dci.informativeness(fit.test_accuracy), 0.02)
    alike = _same_order(case.codes)
    together = [fit.importance[alike == g].sum(axis=0) for g in np.unique(alike)]
    wanted = [case.arrays["dci_importance"][alike == g].sum(axis=0) for g in np.unique(alike)]
    np.testing.assert_allclose(together, wanted, rtol=0, atol=0.03, err_msg="dci_importance")
    case.compared.add("dci_importance")
    if len(np.unique(alike)) == len(alike):
        case.close("dci_disentanglement", dci.disentanglement(fit.importance), 0.02)
        case.close("dci_completeness", dci.completeness(fit.importance), 0.02)


def _same_order(codes: np.ndarray) -> np.ndarray:
    """Group of each latent: latents that order all items alike are equal to a tree, which then chooses by chance."""
    ranks = label_encode(codes)
    return np.unique(ranks, axis=1, return_inverse=True)[1].reshape(-1)


def _sap(case: _Case) -> None:
    if case.has("sap_matrix_svc"):
        case.close("sap", sap.sap(case.arrays["sap_matrix_svc"]), 1e-9)
        matrix = sap.sap_accuracy(case.codes, case.factors, case.codes_test, case.factors_test)
        case.close("sap_matrix_svc", matrix, 0.03)
        case.close("sap", sap.sap(matrix), 0.02)
    correlation = sap.sap_correlation(case.codes, case.factors.astype(np.float64))
    case.close("sap_matrix_r2", correlation, 1e-6)
    case.close("sap_continuous", sap.sap(correlation), 1e-6)


def _explicitness(case: _Case) -> None:
    train, test = modularity.explicitness_per_factor(case.codes, case.factors, case.codes_test, case.factors_test)
    case.close("explicitness_train", modularity.explicitness(train), 5e-3)
    case.close("explicitness_test", modularity.explicitness(test), 5e-3)
    case.close("explicitness_test_per_factor", test, 5e-3)
    case.close("explicitness_dropped_constant_codes", int((np.ptp(case.codes, axis=0) == 0).sum()), 0)


def _infomec(case: _Case) -> None:
    if not case.has("infomec_discrete_flag"):
        return
    discrete = bool(case.arrays["infomec_discrete_flag"])
    active = infomec.active_latents(case.codes, discrete=discrete)
    case.close("active_latents", active, 0)
    case.compared.add("infomec_discrete_flag")
    tolerance = 0.03 if not discrete and _ties(case.codes[:, active], case.factors) else 1e-4
    tolerance += 0.0 if discrete else _rounding_of_small_classes(case.factors)
    nmi = infomec.normalised_information(case.codes, case.factors, discrete=discrete)
    if case.has("nmi"):
        shown = active & (np.ptp(case.codes, axis=0) > 0)
        np.testing.assert_allclose(nmi.T[:, shown], case.arrays["nmi"][:, shown], rtol=0, atol=tolerance, err_msg="nmi")
        case.compared.add("nmi")
    for name, finite, value in (
        ("infom", "infom_finite", infomec.infom(nmi, active)),
        ("infoc", "infoc_alt", infomec.infoc(nmi, active)),
    ):
        assert np.isfinite(value), name
        for stored in (name, finite):
            if case.has(stored) and np.isfinite(case.arrays[stored]):
                case.close(stored, value, tolerance)
            elif case.has(stored):
                case.compared.add(stored)
    case.close("infoe", infomec.infoe(infomec.infoe_per_factor(case.codes, case.factors, discrete=discrete)), 5e-3)


def _ties(codes: np.ndarray, factors: np.ndarray) -> bool:
    """Whether a latent takes one value twice within a class of any factor."""
    return any(
        len(np.unique(np.stack([code, factor], axis=1), axis=0)) < len(code) for code in codes.T for factor in factors.T
    )


def _rounding_of_small_classes(factors: np.ndarray, neighbours: int = 10) -> float:
    """How far the reference's neighbour estimate may be off: it rounds distances within classes of 2k + 1 or fewer.

    The k-th neighbour itself may then be counted as nearer, which moves psi(m) by at most 1/k for each such item.
    """
    most = 0.0
    for labels, known in zip(label_encode(factors).T, entropy(label_encode(factors)), strict=True):
        size = np.bincount(labels)[labels]
        size = size[size > 1]
        if known > 0 and len(size):
            k = np.minimum(neighbours, size - 1)
            most = max(most, float(np.where(k >= size // 2, 1 / k, 0.0).mean() / known))
    return most


def _vae_losses(arrays: dict[str, np.ndarray]) -> set[str]:
    return set(_beside("_vae_losses").check_vae_losses(arrays))


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"golden{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
