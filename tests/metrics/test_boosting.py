from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.metrics import dci

boosting = pytest.importorskip("unbraid.metrics._boosting")


def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "unbraid.metrics._boosting", None)


def made(values: int, items: int = 400, noise: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Three latents that know the factor less and less, and one that does not."""
    rng = np.random.default_rng(values)
    factor = rng.integers(0, values, items)
    codes = factor[:, None] / values * np.array([1.0, -0.7, 0.3, 0.0]) + noise / values * rng.normal(size=(items, 4))
    return codes, factor


CODES, FACTOR = made(3)
CASES = {
    "binary": made(2),
    "six values": made(6),
    "sixteen values": made(16),
    "quantised": (np.round(CODES * 8) / 8, FACTOR),
    "constant latent": (np.where(np.arange(4) == 1, 0.7, CODES), FACTOR),
    "all latents constant": (np.ones((30, 2)), np.arange(30) % 3),
    "far from zero": (CODES + 100.0, FACTOR),
    "labels with gaps": (CODES, FACTOR * 7 - 5),
    "three items": (np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 2])),
}
UNTIED = {
    "one latent": (made(4)[0][:, :1], made(4)[1]),
    "one latent, binary": (made(2)[0][:, :1], made(2)[1]),
    "one latent, quantised": (np.round(CODES[:, :1] * 20) / 20, FACTOR),
    "one latent knows": (np.stack([FACTOR + 0.1 * CODES[:, 0], CODES[:, 3]], 1), FACTOR),
}


@pytest.mark.parametrize("name", CASES)
def test_both_ways_find_the_same(name, monkeypatch):
    codes, factor = CASES[name]
    half = max(3, 2 * len(codes) // 3)
    split = codes[:half], factor[:half, None], codes[half // 2 :], factor[half // 2 :, None]
    ours = dci.dci_fit(*split)
    without_numba(monkeypatch)
    theirs = dci.dci_fit(*split)
    np.testing.assert_allclose(ours.importance, theirs.importance, atol=5e-3)
    np.testing.assert_allclose(ours.train_accuracy, theirs.train_accuracy, atol=0.01)
    np.testing.assert_allclose(ours.test_accuracy, theirs.test_accuracy, atol=0.015)


@pytest.mark.parametrize("name", UNTIED)
def test_trees_without_ties_are_those_of_scikit_learn(name):
    codes, factor = UNTIED[name]
    single = codes.astype(np.float32)
    ours = boosting.boost(single[100:], factor[100:], single[:100])
    theirs = dci._scikit_learn(single[100:], factor[100:], single[:100], 0)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_array_equal(ours[2], theirs[2])


def test_a_value_seen_in_testing_only_is_missed(monkeypatch):
    codes, factor = FACTOR[:, None] + 0.01 * CODES, FACTOR
    known = factor < 2
    for _ in range(2):
        fit = dci.dci_fit(codes[known], factor[known, None], codes, factor[:, None])
        assert fit.test_accuracy[0] == pytest.approx(known.mean(), abs=0.01)
        without_numba(monkeypatch)


def test_equal_latents_share_by_chance_and_the_seed_decides():
    codes, factor = made(3)
    twice = np.repeat(codes[:, :1], 2, axis=1).astype(np.float32)
    share = boosting.boost(twice, factor, twice)[0]
    assert share.min() > 0.4
    np.testing.assert_array_equal(boosting.boost(twice, factor, twice)[0], share)
    assert not np.array_equal(boosting.boost(twice, factor, twice, 1)[0], share)


def test_codes_are_compared_in_single_precision(monkeypatch):
    factor = np.tile([0, 1], 20)
    codes = 1.0 + 1e-9 * factor[:, None]
    for _ in range(2):
        assert dci.dci_importance(codes, factor[:, None]).tolist() == [[0.0]]
        with pytest.raises(DataError, match="single precision"):
            dci.dci_importance(1e39 * codes, factor[:, None])
        without_numba(monkeypatch)


def test_the_callers_arrays_and_generators_are_left_alone():
    codes, factor = made(3)
    kept, state = codes.copy(), np.random.get_state()[1].copy()
    dci.dci_fit(codes, factor[:, None], codes, factor[:, None])
    np.testing.assert_array_equal(codes, kept)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_the_price_is_that_of_the_way_taken(monkeypatch):
    factors = np.arange(1000)[:, None] % np.array([3, 6, 40, 32, 32])
    fast = dci.dci_cost(5000, 10, factors)
    assert fast < 10
    without_numba(monkeypatch)
    assert dci.dci_cost(5000, 10, factors) > 10 * fast


def test_scores_load_neither_numba_nor_scikit_learn_before_they_are_asked():
    program = "import sys, unbraid.metrics.registry; print({'numba', 'sklearn'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_machine_without_a_place_for_compiled_code_compiles_in_silence(monkeypatch):
    from numba.core.caching import CacheImpl

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])

    def twice(x):
        return 2 * x

    assert boosting._compiled(twice)(3) == 6


def test_the_program_runs_where_numba_is_not_installed():
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from unbraid.metrics.registry import score_all\n"
        "factors = np.arange(60)[:, None] % 3\n"
        "print(score_all(factors + 0.0, factors, ['dci_informativeness'])[0].value)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (found.stdout.strip(), found.stderr) == ("1.0", "")
