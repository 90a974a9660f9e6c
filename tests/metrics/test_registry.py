from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.metrics import dci, infomec, registry
from unbraid.metrics.registry import SCORES, score_all

NAMES = [
    "mig",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
    "sap",
    "modularity",
    "explicitness",
    "infom",
    "infoc",
    "infoe",
]
OTHERS = [
    "rmig",
    "mig_sup",
    "jemmig",
    "dcimig",
    "irs",
    "beta_vae",
    "factor_vae",
    "unfairness",
    "gaussian_tc",
    "gaussian_wasserstein",
    "mutual_info",
]


@pytest.fixture
def small() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 2, 120), rng.integers(0, 3, 120)], axis=1)
    codes = factors + 0.02 * rng.normal(size=factors.shape)
    return np.concatenate([codes, np.full((120, 1), 0.7)], axis=1), factors


def test_every_score_is_described():
    assert list(SCORES) == [*NAMES, *OTHERS]
    assert registry.named() == NAMES
    assert registry.named(["all"]) == list(SCORES)
    for name, spec in SCORES.items():
        assert spec.name == name
        assert spec.low < spec.high
        assert spec.higher_is_better == (name not in OTHERS[-4:])
        assert spec.enough([2, 5], 10) >= 50
        assert spec.enough([2, 50], 200) >= spec.enough([2, 5], 10)
        assert spec.meaning.endswith(".")
        assert spec.reference


def test_all_scores_of_good_codes_with_a_dead_latent(small):
    codes, factors = small
    found = {s.name: s for s in score_all(codes, factors)}
    assert list(found) == NAMES
    for score in found.values():
        assert score.value is not None
        assert np.isfinite(score.value)
        assert score.low - 0.05 <= score.value <= score.high + 0.05
        assert score.per is not None
        assert len(score.per) == (3 if SCORES[score.name].over == "latent" else 2)
        assert "only 120 items; " in score.note
        assert score.note.endswith("would do")
    for name in set(NAMES) - {"sap", "modularity"}:
        assert found[name].value > 0.9, name
    assert found["modularity"].value < 0.7


def test_the_other_scores_of_good_codes(small):
    codes, factors = small
    tight = codes - codes.mean(0), np.full_like(codes, -9.0)
    found = {s.name: s for s in score_all(codes, factors, ["all"], posterior=tight)}
    for name in OTHERS:
        spec, score = SCORES[name], found[name]
        assert spec.low - 1e-9 <= score.value <= spec.high, name
        assert (score.per is None) == (spec.over is None), name
    for name in ("rmig", "dcimig", "irs", "beta_vae", "factor_vae"):
        assert found[name].value > 0.85, name
    assert found["mig_sup"].value == pytest.approx(2 / 3, abs=0.05)  # the dead latent counts
    assert found["unfairness"].value < 0.2
    assert max(found[name].value for name in OTHERS[-3:]) < 0.1
    assert score_all(codes, factors, ["rmig"])[0].note.startswith("needs a posterior")
    with pytest.raises(DataError, match="posterior"):
        SCORES["rmig"].function(codes, factors)
    with pytest.raises(DataError, match="means and log variances"):
        score_all(codes, factors, ["rmig"], posterior=(codes[:5], codes[:5]))


def test_scores_that_need_no_factor_do_without(small):
    codes, factors = small
    found = {s.name: s for s in score_all(codes, 0 * factors, ["all"])}
    assert {name for name, score in found.items() if score.value is not None} == set(OTHERS[-3:])


def test_functions_and_score_all_agree(small):
    codes, factors = small
    for score in score_all(codes, factors, ["mig", "sap", "infoe", "infom"], discrete=False, seed=3):
        assert SCORES[score.name].function(codes, factors, discrete=False, seed=3) == score.value


def test_work_is_shared(small, monkeypatch):
    codes, factors = small
    calls = []
    fit, matrix = dci.dci_fit, infomec.normalised_information
    monkeypatch.setattr(dci, "dci_fit", lambda *a, **k: calls.append("dci") or fit(*a, **k))
    monkeypatch.setattr(infomec, "normalised_information", lambda *a, **k: calls.append("nmi") or matrix(*a, **k))
    score_all(codes, factors)
    assert sorted(calls) == ["dci", "nmi"]


def test_same_seed_same_values(small):
    codes, factors = small
    names = ["sap", "explicitness", "infom"]
    assert score_all(codes, factors, names, seed=1) == score_all(codes, factors, names, seed=1)


def test_trees_that_cost_too_much_are_cut_then_skipped(small):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 2, (3000, 1))
    codes = factors + 0.1 * rng.normal(size=(3000, 2))
    [cut] = score_all(codes, factors, ["dci_completeness"], budget=dci.dci_cost(1200, 2, factors))
    assert "trees fitted to 1" in cut.note
    assert cut.value is not None
    wide = rng.integers(0, 32, (3000, 6))
    [skipped] = score_all(rng.normal(size=(3000, 10)), wide, ["dci_disentanglement"], budget=1.0)
    assert skipped.value is None
    assert skipped.per is None
    assert skipped.note.startswith("skipped: about")


def test_rows_are_capped(small, monkeypatch):
    codes, factors = small
    seen = []
    found = infomec.infoe_per_factor
    monkeypatch.setattr(infomec, "infoe_per_factor", lambda c, f, **k: seen.append(len(c)) or found(c, f, **k))
    score_all(codes, factors, ["infoe", "explicitness"], max_rows=60)
    assert seen == [60]


def test_constant_factors_are_left_out_and_said(small):
    codes, factors = small
    wider = np.concatenate([np.full((len(factors), 1), 5), factors], axis=1)
    names = ["mig", "sap", "explicitness", "infom", "infoc", "infoe", "modularity"]
    for ours, base in zip(score_all(codes, wider, names), score_all(codes, factors, names), strict=True):
        assert ours.value == base.value
        assert "1 constant factor(s) left out" in ours.note
        if SCORES[ours.name].over == "factor":
            assert ours.per[0] == 0
    assert all(s.value is None and s.note == "no factor varies" for s in score_all(codes, wider[:, :1]))


def test_symbols_of_many_values_are_flagged():
    rng = np.random.default_rng(0)
    codes, factors = rng.integers(0, 50, (300, 1)).astype(float), rng.integers(0, 2, (300, 1))
    [score] = score_all(codes, factors, ["mig"], discrete=True)
    assert "50 values of a discrete latent merged into 20 bins" in score.note


def test_a_handful_of_items_gives_numbers():
    codes, factors = np.array([[0.0], [1.0], [2.0]]), np.array([[0], [1], [1]])
    names = [n for n in NAMES if not n.startswith("dci")]
    assert all(np.isfinite(s.value) for s in score_all(codes, factors, names))


@pytest.mark.parametrize(
    ("codes", "factors"),
    [
        (np.zeros((3, 2)), np.zeros((4, 1), int)),
        (np.zeros(3), np.zeros((3, 1), int)),
        (np.full((3, 1), np.nan), np.zeros((3, 1), int)),
        (np.zeros((3, 1)), np.zeros((3, 1))),
        (np.zeros((0, 1)), np.zeros((0, 1), int)),
    ],
)
def test_unfit_arrays_are_refused(codes, factors):
    with pytest.raises(DataError):
        score_all(codes, factors)


def test_more_values_than_half_the_items_is_no_warning():
    factors = np.arange(30)[:, None] % 20
    assert all(s.value is not None for s in score_all(factors.astype(float), factors, ["sap", "explicitness", "infoe"]))


def test_unknown_score_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="infom"):
        score_all(np.zeros((3, 1)), np.zeros((3, 1), int), ["infomm"])


def test_importing_the_scores_is_light():
    program = "import sys, unbraid.metrics.registry; print({'sklearn', 'scipy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_default_bounds_are_those_of_the_study():
    assert registry.MAX_ROWS == 10_000
