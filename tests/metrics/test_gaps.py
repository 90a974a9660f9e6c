"""The relatives of MIG, against their formulas worked by hand and against what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from profiles import cases

from unbraid.metrics import mig
from unbraid.metrics.information import entropy, histogram_bins, label_encode, mutual_information

matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, 1))


def made(seed: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, [2, 3, 5], size=(rows, 3))
    return factors @ rng.normal(size=(3, 4)) + 0.3 * rng.normal(size=(rows, 4)), factors


def all_gaps(codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
    bins = histogram_bins(codes, mig.BINS_OF_GAPS)
    information, entropies = mutual_information(bins, label_encode(factors)), entropy(label_encode(factors))
    return {
        "mig_sup": mig.mig_sup(mig.normalised_by(information, entropies)),
        "jemmig": mig.jemmig(information, entropies, entropy(bins)),
        "dcimig": mig.dcimig(information, entropies),
    }


def test_worked_by_hand():
    information = np.array([[0.6, 0.1], [0.2, 0.5], [0.3, 0.0]])
    entropies, code_entropies = np.array([0.8, 1.0]), np.array([1.2, 0.9, 0.7])
    shares = information / entropies
    expected = np.mean([shares[0, 0] - 0.1, 0.5 - shares[1, 0], shares[2, 0]])
    assert mig.mig_sup(mig.normalised_by(information, entropies)) == pytest.approx(expected)
    first = 1 - (0.8 + 1.2 - 0.6 - 0.6 + 0.3) / (0.8 + np.log(10))
    second = 1 - (1.0 + 0.9 - 0.5 - 0.5 + 0.1) / (1.0 + np.log(10))
    assert mig.jemmig(information, entropies, code_entropies) == pytest.approx((first + second) / 2)
    assert mig.dcimig(information, entropies) == pytest.approx((0.5 + 0.3) / 1.8)


def test_joint_entropy_of_jemmig_is_that_of_the_table():
    codes, factors = made(0)
    bins, labels = histogram_bins(codes, 10), label_encode(factors)
    information = mutual_information(bins, labels)
    for k in range(3):
        best = int(information[:, k].argmax())
        second = np.sort(information[:, k])[-2]
        joint = entropy((bins[:, best] * 10 + labels[:, k])[:, None])[0]
        expected = 1 - (joint - information[best, k] + second) / (entropy(labels)[k] + np.log(10))
        found = mig.jemmig_per_factor(information, entropy(labels), entropy(bins))
        assert found[k] == pytest.approx(expected)


def test_a_latent_that_holds_more_than_its_factor_loses_in_jemmig_only():
    factors = np.stack(np.meshgrid(range(3), range(4), range(20), indexing="ij"), -1).reshape(-1, 3)
    pure = factors[:, :2].astype(float)
    loaded = pure + np.stack([0 * factors[:, 2], factors[:, 2] / 40], axis=1)
    assert all_gaps(pure, factors[:, :2])["dcimig"] == pytest.approx(all_gaps(loaded, factors[:, :2])["dcimig"])
    assert all_gaps(pure, factors[:, :2])["jemmig"] > all_gaps(loaded, factors[:, :2])["jemmig"] + 0.05


def test_dead_latents_and_constant_factors():
    codes, factors = made(1)
    dead = np.concatenate([codes, np.full((len(codes), 2), 0.7)], axis=1)
    found, wider = all_gaps(codes, factors), all_gaps(dead, factors)
    assert wider["mig_sup"] == pytest.approx(found["mig_sup"] * 4 / 6)
    assert wider["dcimig"] == found["dcimig"]
    assert wider["jemmig"] == pytest.approx(found["jemmig"])
    assert all(np.isfinite(v) for v in all_gaps(dead, np.zeros_like(factors)).values())


@cases(40)
@given(st.integers(0, 10**6), st.permutations(range(4)), hnp.arrays(np.float64, 4, elements=st.floats(0.01, 100)))
def test_order_and_scale_of_latents_and_names_of_values_do_not_matter(seed, order, scale):
    codes, factors = made(seed)
    moved = all_gaps((codes * scale)[:, order], 7 - 3 * factors[:, ::-1])
    for name, value in all_gaps(codes, factors).items():
        assert moved[name] == pytest.approx(value, abs=0.02 if name == "jemmig" else 1e-9), name


@cases(40)
@given(matrices)
def test_ranges(matrix):
    entropies, codes = np.ones(matrix.shape[1]), np.ones(len(matrix))
    assert -1e-9 <= mig.mig_sup(matrix) <= 1 + 1e-9
    assert -1e-9 <= mig.dcimig(matrix, entropies) <= 1 + 1e-9
    assert -1e-9 <= mig.jemmig(matrix, entropies, codes) <= 1 + 1e-9


# ------------------------------------------------------------------------------------------------------------- RMIG


def test_without_variance_rmig_is_mig_on_the_same_bins():
    codes, factors = made(2)
    edges = mig.even_edges(-6, 6, 30, 4)
    labels = np.stack([np.searchsorted(edges[:, j], codes[:, j], side="right") for j in range(4)], axis=1)
    expected = mutual_information(label_encode(labels), factors)
    for logvar in (np.full_like(codes, -np.inf), np.full_like(codes, -60.0)):
        np.testing.assert_allclose(mig.posterior_information(codes, logvar, factors, edges), expected, atol=1e-12)


def test_posterior_information_agrees_with_many_draws():
    codes, factors = made(3, rows=60)
    logvar = np.random.default_rng(0).normal(-1, 0.5, size=codes.shape)
    edges = mig.even_edges(-4, 4, 8, 4)
    noise = np.random.default_rng(1).normal(size=(4000, *codes.shape))
    drawn = (codes + np.exp(logvar / 2) * noise).reshape(-1, 4)
    labels = np.stack([np.searchsorted(edges[:, j], drawn[:, j]) for j in range(4)], axis=1)
    expected = mutual_information(label_encode(labels), np.tile(factors, (4000, 1)))
    np.testing.assert_allclose(mig.posterior_information(codes, logvar, factors, edges), expected, atol=5e-3)


@cases(20)
@given(st.integers(0, 10**6), st.floats(-4, 2))
def test_noise_takes_information_away_and_never_below_zero(seed, logvar):
    codes, factors = made(seed, rows=50)
    edges = mig.even_edges(-4, 4, 10, 4)
    less = mig.posterior_information(codes, np.full_like(codes, logvar), factors, edges)
    assert (less >= 0).all()
    assert (less <= entropy(factors) + 1e-9).all()
    assert mig.posterior_information(codes, np.full_like(codes, 20.0), factors, edges).max() < 0.05
