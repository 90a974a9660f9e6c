import numpy as np
import pytest

from unbraid.metrics.attributes import attribute_scores, direction


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 5))
    noise = rng.normal(size=400)
    return codes, noise, np.arange(400) % 5


def test_what_lies_in_the_codes_is_read_and_what_does_not_is_not(world):
    codes, noise, folds = world
    values = [(codes[:, 0] > 0) * 1.0, np.digitize(codes[:, 1], [-0.5, 0.5]) * 1.0, codes[:, 2] * 3 + 1]
    values += [(noise > 0) * 1.0, noise]
    found = attribute_scores(codes, values, [2, 3, 0, 2, 0], folds)
    assert found[0] > 0.95
    assert found[1] > 0.75
    assert found[2] > 0.99
    assert abs(found[3] - 0.5) < 0.1
    assert abs(found[4]) < 0.15


def test_unknown_values_do_not_count_and_constant_ones_have_no_score(world):
    codes, _, folds = world
    binary, number = (codes[:, 0] > 0) * 1.0, codes[:, 2].copy()
    binary[::7] = number[::5] = np.nan
    found = attribute_scores(codes, [binary, number, np.zeros(400), np.ones(400)], [2, 0, 2, 0], folds)
    assert found[0] > 0.95
    assert found[1] > 0.99
    assert np.isnan(found[2:]).all()


def test_a_direction_is_in_standard_deviations_and_so_has_no_unit(world):
    codes, _, _ = world
    has = (codes[:, 0] - codes[:, 3] > 0).astype(np.int64)
    w = direction(codes, has)
    assert w[0] > 0 > w[3]
    assert max(abs(w[[1, 2, 4]])) < 0.2 * w[0]
    np.testing.assert_allclose(direction(codes * [1, 1, 1, 100, 1], has), w, rtol=0.05, atol=0.05)
