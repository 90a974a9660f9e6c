from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases

from unbraid.metrics import dci, infomec, mig, modularity, sap
from unbraid.metrics.information import entropy, label_encode

quick = cases(40)
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, 1))


def world(copies: int = 12) -> np.ndarray:
    """All combinations of three factors of 2, 3 and 4 values, each `copies` times."""
    grid = np.stack(np.meshgrid(range(2), range(3), range(4), indexing="ij"), -1).reshape(-1, 3)
    return np.tile(grid, (copies, 1))


def codes_of(kind: str, factors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    clean = (factors - factors.mean(0)) / factors.std(0)
    jitter = 0.02 * rng.normal(size=clean.shape)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return {
        "perfect": clean + jitter,
        "constant": np.full_like(clean, 0.7),
        "duplicated": np.concatenate([clean + jitter, clean + jitter], axis=1),
        "rotated": clean @ turn + jitter,
        "dead": np.concatenate([clean + jitter, np.full((len(clean), 1), 0.7)], axis=1),
        "noise": rng.normal(size=clean.shape),
    }[kind]


def values(kind: str) -> dict[str, float]:
    factors = world()
    codes = codes_of(kind, factors)
    information = mig.histogram_information(codes, factors)
    accuracy = sap.sap_accuracy(codes, factors, codes, factors)
    nmi, active = infomec.normalised_information(codes, factors), infomec.active_latents(codes)
    areas = modularity.explicitness_per_factor(codes, factors, codes, factors)[1]
    return {
        "mig": mig.mig(information, entropy(factors)),
        "modularity": modularity.modularity(information),
        "sap": sap.sap(accuracy),
        "sap_correlation": sap.sap(sap.sap_correlation(codes, factors.astype(float))),
        "explicitness": modularity.explicitness(areas),
        "infom": infomec.infom(nmi, active),
        "infoc": infomec.infoc(nmi, active),
        "infoe": infomec.infoe(infomec.infoe_per_factor(codes, factors)),
    }


def test_perfect_codes_score_highest():
    found = values("perfect")
    assert min(found[k] for k in ("mig", "modularity", "sap_correlation", "explicitness", "infom", "infoc")) > 0.95
    assert found["infoe"] > 0.99
    assert found["sap"] > 0.3


def test_constant_codes_score_lowest_and_never_nan():
    found = values("constant")
    assert found.pop("explicitness") == 0.5
    assert found.pop("infoe") == pytest.approx(0, abs=1e-6)
    assert set(found.values()) == {0.0}


def test_duplicated_codes_lose_compactness_only():
    found = values("duplicated")
    assert found["mig"] == found["sap_correlation"] == 0
    assert found["modularity"] > 0.95
    assert found["infom"] > 0.95
    assert found["infoc"] == pytest.approx((0.5 - 1 / 6) / (1 - 1 / 6), abs=0.01)


def test_rotated_codes_lose_structure_but_not_content():
    found, perfect = values("rotated"), values("perfect")
    for name in ("mig", "modularity", "sap_correlation", "infom", "infoc"):
        assert found[name] < perfect[name] - 0.1, name
    assert found["infoe"] > 0.9
    assert found["explicitness"] > 0.95


def test_a_dead_latent_changes_only_what_its_definition_says():
    found, perfect = values("dead"), values("perfect")
    assert found["modularity"] == pytest.approx(0.75 * perfect["modularity"])
    for name in set(found) - {"modularity"}:
        assert found[name] == pytest.approx(perfect[name], abs=1e-6), name


def test_noise_knows_nothing():
    found = values("noise")
    assert max(found[k] for k in ("mig", "sap_correlation", "infoe")) < 0.1


@quick
@given(st.permutations(range(3)), hnp.arrays(np.float64, 3, elements=st.floats(0.01, 100)))
def test_order_and_scale_of_latents_do_not_matter(order, scale):
    factors = world(3)
    codes = codes_of("rotated", factors)
    moved = (codes * scale)[:, order]
    information, other = mig.histogram_information(codes, factors), mig.histogram_information(moved, factors)
    assert mig.mig(other, entropy(factors)) == pytest.approx(mig.mig(information, entropy(factors)), abs=1e-9)
    assert modularity.modularity(other) == pytest.approx(modularity.modularity(information), abs=1e-9)
    same = sap.sap_correlation(moved, factors.astype(float))
    np.testing.assert_allclose(same, sap.sap_correlation(codes, factors.astype(float))[order], atol=1e-9)


@quick
@given(matrices)
def test_aggregators_keep_to_their_range(matrix):
    active = np.ones(len(matrix), dtype=bool)
    for score in (
        dci.disentanglement(matrix),
        dci.completeness(matrix),
        modularity.modularity(matrix),
        sap.sap(matrix),
        mig.mig(matrix, np.ones(matrix.shape[1])),
        infomec.infom(matrix, active),
        infomec.infoc(matrix, active),
        infomec.infom(matrix, ~active),
        infomec.infoc(matrix, ~active),
    ):
        assert -1e-9 <= score <= 1 + 1e-9


@quick
@given(matrices, st.randoms())
def test_aggregators_do_not_see_the_order_of_latents_and_factors(matrix, random):
    rows, columns = list(range(matrix.shape[0])), list(range(matrix.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    moved, active = matrix[rows][:, columns], np.ones(len(rows), dtype=bool)
    for score in (dci.disentanglement, dci.completeness, modularity.modularity, sap.sap):
        assert score(moved) == pytest.approx(score(matrix), abs=1e-9)
    for score in (infomec.infom, infomec.infoc):
        assert score(moved, active) == pytest.approx(score(matrix, active), abs=1e-9)


def test_aggregators_on_matrices_worked_by_hand():
    matrix = np.array([[0.8, 0.1], [0.2, 0.6]])
    assert mig.mig(matrix, np.array([1.0, 2.0])) == pytest.approx((0.6 + 0.25) / 2)
    assert sap.sap(matrix) == pytest.approx(0.55)
    assert modularity.modularity(matrix) == pytest.approx(1 - (0.1**2 / 0.8**2 + 0.2**2 / 0.6**2) / 2)
    active = np.array([True, True])
    assert infomec.infom(matrix, active) == pytest.approx(2 * (8 / 9 + 6 / 8) / 2 - 1)
    assert infomec.infoc(matrix, active) == pytest.approx(2 * (0.8 + 6 / 7) / 2 - 1)
    importance = np.array([[1.0, 0.5], [0.0, 0.5]])
    two_thirds = -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    assert dci.disentanglement(importance) == pytest.approx(0.75 * (1 - two_thirds) + 0.25)
    assert dci.completeness(importance) == pytest.approx(0.5)


def test_empty_rows_are_skipped_by_infomec():
    nmi = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    active = np.ones(3, dtype=bool)
    assert infomec.infom(nmi, active) == 1.0
    assert infomec.infoc(nmi[:, :1], active) == 1.0
    assert infomec.infom(0 * nmi, active) == infomec.infoc(0 * nmi, active) == 0.0


def test_active_rule_of_both_kinds():
    codes = np.array([[0.0, 0.0, 3.0], [100.0, 1.0, 3.0]])
    assert infomec.active_latents(codes).tolist() == [True, False, False]
    assert infomec.active_latents(codes, discrete=True).tolist() == [True, True, False]


def test_infoe_of_symbols_reads_what_a_line_cannot():
    factor = np.tile([0, 1, 0, 1], 30)[:, None]
    symbol = np.tile([0.0, 1.0, 2.0, 3.0], 30)[:, None]
    assert infomec.infoe(infomec.infoe_per_factor(symbol, factor, discrete=True)) > 0.99
    assert infomec.infoe(infomec.infoe_per_factor(symbol, factor)) < 0.4


def test_dci_from_data_finds_the_latent_of_each_factor():
    factors = world(4)[:, :2]
    codes = np.concatenate([codes_of("perfect", world(4))[:, :2], np.full((len(factors), 1), 0.7)], axis=1)
    fit = dci.dci_fit(codes, factors, codes, factors)
    np.testing.assert_allclose(fit.importance.sum(axis=0), 1)
    assert dci.disentanglement(fit.importance) > 0.99
    assert dci.completeness(fit.importance) > 0.99
    assert fit.importance[2].max() == 0
    assert dci.informativeness(fit.test_accuracy) == 1.0
    np.testing.assert_array_equal(dci.dci_importance(codes, factors), fit.importance)
    assert dci.dci_importance(codes, factors, max_rows=24).shape == (3, 2)


def test_constant_factor_gives_no_importance_and_no_gap():
    factors = np.stack([np.tile([0, 1], 20), np.zeros(40, int)], axis=1)
    codes = factors + 0.01 * np.random.default_rng(0).normal(size=(40, 2))
    fit = dci.dci_fit(codes, factors, codes, factors)
    assert fit.importance[:, 1].tolist() == [0, 0]
    assert fit.train_accuracy.tolist() == [1, 1]
    assert sap.sap_per_factor(sap.sap_accuracy(codes, factors, codes, factors))[1] == 0
    information = mig.histogram_information(codes, factors)
    assert mig.mig(information, entropy(factors)) > 0.5
    assert infomec.infoe_per_factor(codes, factors)[1] == 0
    assert infomec.normalised_information(codes, factors)[:, 1].tolist() == [0, 0]


def test_area_under_the_curve_agrees_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    scores = rng.integers(0, 6, (200, 4)) / 6 + (labels[:, None] == np.arange(4)) * 0.2
    expected = np.mean([roc_auc_score(labels == v, scores[:, v]) for v in range(4)])
    assert modularity.mean_auc(scores, labels, np.arange(4)) == pytest.approx(expected, abs=1e-12)
    assert modularity.mean_auc(scores, np.zeros(200, int), np.arange(4)) == 0.5


def test_squared_correlation_agrees_with_numpy():
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    expected = np.corrcoef(codes.T, factors.T)[:3, 3:] ** 2
    np.testing.assert_allclose(sap.sap_correlation(codes, factors), expected, atol=1e-12)


def test_labels_need_not_begin_at_zero():
    factors = world(2)
    codes = codes_of("perfect", factors)
    far = factors * 10 - 3
    np.testing.assert_allclose(mig.histogram_information(codes, far), mig.histogram_information(codes, factors))
    np.testing.assert_array_equal(label_encode(far), factors)
