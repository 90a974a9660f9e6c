import numpy as np
import pytest

from unbraid.core.errors import ConfigError, DataError
from unbraid.data.factors import FactorTable
from unbraid.steer import erase
from unbraid.steer.erasing import concept

N = 300


@pytest.fixture
def known():
    rng = np.random.default_rng(0)
    site, hour, age = rng.integers(3, size=N), rng.integers(8, size=N), rng.normal(size=N)
    codes = rng.normal(size=(N, 6)).astype(np.float32)
    codes[:, 0] += 3 * (site == 1)
    codes[:, 1] += age
    codes[:, 2] += np.sin(2 * np.pi * hour / 8)
    columns = {"site": [f"s{i}" for i in site], "hour": hour.tolist(), "age": age.tolist()}
    table = FactorTable.from_columns(columns, {"hour": "circular"})
    return {"code": codes, "other": codes[:, :2].copy()}, table


def gap(codes, site):
    means = np.stack([codes[site == i].mean(0) for i in np.unique(site)])
    return float(np.ptp(means, axis=0).max())


@pytest.mark.parametrize("how", ["leace", "rasa", "rasa-exact"])
def test_a_factor_goes_and_others_stay(known, how):
    parts, table = known
    done = erase(parts, table, ["site"], how=how)
    site = table.column("site")
    for name in parts:
        assert gap(done.parts[name], site) < 0.3 * gap(parts[name], site)
        assert done.parts[name].dtype == np.float32
    assert abs(np.corrcoef(done.parts["code"][:, 1], table.column("age"))[0, 1]) > 0.3
    np.testing.assert_allclose(done.parts["code"].mean(0), parts["code"].mean(0), atol=1e-5)


def test_rows_that_are_not_fitted_to_change_nothing_of_the_map(known):
    parts, table = known
    fit = np.arange(N) % 2 == 0
    one = erase(parts, table, ["site", "age"], fit=fit)
    noisy = {"code": np.where(fit[:, None], parts["code"], 7.0).astype(np.float32)}
    other = erase(noisy, table, ["site", "age"], fit=fit)
    assert one.rows == fit.sum()
    assert one.maps["code"].matrix.equal(other.maps["code"].matrix)
    assert (one.parts["code"][~fit] != parts["code"][~fit]).any()


def test_unknown_values_are_left_out_of_the_fit_and_cleaned_all_the_same(known):
    parts, table = known
    values = table.values.copy()
    values[:50, 0] = np.nan
    done = erase(parts, FactorTable(table.factors, values), ["site"])
    assert done.rows == N - 50
    assert (done.parts["code"][:50] != parts["code"][:50]).any()


def test_only_the_parts_that_are_named_change(known):
    parts, table = known
    done = erase(parts, table, ["site"], names=["other"])
    assert done.parts["code"] is parts["code"]
    assert list(done.maps) == ["other"]


def test_what_a_factor_is_to_a_map(known):
    import torch

    _, table = known
    rows = torch.arange(N)
    assert concept(table, "site", rows).values.shape == (N, 3)
    circle = concept(table, "hour", rows).values
    torch.testing.assert_close((2 * circle - 1).square().sum(1), torch.ones(N, dtype=torch.double))
    line = concept(table, "age", rows).values
    assert (float(line.min()), float(line.max()), line.shape) == (0.0, 1.0, (N, 1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"factors": ["sites"]}, ConfigError, "did you mean 'site'"),
        ({"factors": []}, ConfigError, "a factor to take out"),
        ({"how": "leas"}, ConfigError, "did you mean 'leace'"),
        ({"rounds": 0}, ConfigError, "at least 1 round"),
        ({"names": ["cod"]}, ConfigError, "did you mean 'code'"),
        ({"fit": np.zeros(N, dtype=bool)}, DataError, "two values among the rows to fit to"),
    ],
)
def test_mistakes(known, options, error, message):
    with pytest.raises(error, match=message):
        erase(*known, **{"factors": ["site"], **options})


def test_codes_that_are_not_finite(known):
    parts, table = known
    parts["code"][3, 0] = np.inf
    with pytest.raises(DataError, match="part 'code'"):
        erase(parts, table, ["site"])
