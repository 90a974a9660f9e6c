import numpy as np
import pytest

from unbraid.core.errors import DataError
from unbraid.metrics import probes


def gain(log_p, y):
    """Nats per item that a prediction gains over the class frequencies, of the items with a label."""
    known = y >= 0
    share = np.bincount(y[known]) / known.sum()
    return float((log_p[known, y[known]] - np.log(share[y[known]])).mean())


def made(n=600, d=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    return rng.normal(size=(n, d)) + 4.0 * np.eye(classes, d)[y], y, rng.permutation(n) % 5, rng


@pytest.mark.parametrize("probe", [probes.linear, probes.mlp])
def test_probes_give_probabilities_and_find_what_is_there(probe):
    x, y, folds, rng = made()
    noise = rng.integers(4, size=len(y))
    found = probe(x, [y, noise], folds)
    assert [p.shape for p in found] == [(600, 3), (600, 4)]
    for log_p in found:
        np.testing.assert_allclose(np.exp(log_p).sum(1), 1.0, atol=1e-5)
    assert gain(found[0], y) > 0.75 * np.log(3)
    assert abs(gain(found[1], noise)) < 0.1


@pytest.mark.parametrize("probe", [probes.linear, probes.mlp])
def test_same_seed_same_bits_and_no_draw_from_the_global_generator(probe):
    import torch

    x, y, folds, _ = made(200)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = probe(x, [y], folds, seed=5)[0], probe(x, [y], folds, seed=5)[0]
    assert np.array_equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("probe", [probes.linear, probes.mlp])
def test_no_probe_sees_the_fold_it_predicts(probe):
    x, y, folds, rng = made(300)
    changed = np.where(folds == 2, rng.permutation(y), y)
    before, after = probe(x, [y], folds)[0], probe(x, [changed], folds)[0]
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.array_equal(before[folds == 1], after[folds == 1])


def test_a_fold_of_the_table_does_not_see_itself_either():
    x, y, folds, rng = made(300)
    changed = np.where(folds == 2, rng.permutation(y), y)
    for before, after in zip(probes.table(x, [y], folds), probes.table(x, [changed], folds), strict=True):
        assert np.array_equal(before[0][folds == 2], after[0][folds == 2])


def test_linear_probe_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    x, y, folds, rng = made(800, d=4, seed=2)
    x = x + 3 * rng.normal(size=x.shape)
    ours = probes.linear(x, [y], folds, strengths=(1.0,))[0]
    theirs = np.empty_like(ours)
    for fold in range(5):
        train, test = folds != fold, folds == fold
        mean, std = x[train].mean(0), x[train].std(0, ddof=1)
        model = LogisticRegression(C=1.0, max_iter=1000).fit((x[train] - mean) / std, y[train])
        theirs[test] = model.predict_log_proba((x[test] - mean) / std)
    assert np.abs(np.exp(ours) - np.exp(theirs)).max() < 0.02


def test_the_network_reads_what_a_line_cannot():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    folds = np.arange(1500) % 5
    assert gain(probes.linear(x, [y], folds)[0], y) < 0.02
    assert gain(probes.mlp(x, [y], folds)[0], y) > 0.3


@pytest.mark.parametrize("probe", [probes.linear, probes.mlp])
def test_unknown_labels_do_not_count(probe):
    x, y, folds, rng = made(400)
    hidden = rng.random(400) < 0.3
    first = probe(x, [np.where(hidden, -1, y)], folds)[0]
    assert gain(first, np.where(hidden, -1, y)) > 0.6
    assert np.isfinite(first[hidden]).all()


@pytest.mark.parametrize("probe", [probes.linear, probes.mlp])
def test_constant_and_repeated_columns_do_no_harm(probe):
    x, y, folds, _ = made(400)
    x = np.concatenate([x, x[:, :2], np.full((400, 1), 7.0), np.full((400, 1), 1e8)], 1)
    assert gain(probe(x, [y], folds)[0], y) > 0.7


def test_more_columns_than_items():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 300)), rng.integers(2, size=120)
    x[:, :150] += y[:, None]
    assert gain(probes.linear(x, [y], np.arange(120) % 5)[0], y) > 0.3


def test_groups_are_not_cut_by_the_tuning_and_too_few_are_refused():
    from unbraid.metrics.probes.common import plan

    rng = np.random.default_rng(0)
    groups = rng.integers(12, size=300)
    for rows in plan(groups % 3, groups, 1000, seed=0):
        assert not set(groups[rows.learn]) & set(groups[rows.tune])
        assert len(rows.tune) >= 1
    with pytest.raises(DataError, match="groups"):
        plan(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 10, seed=0)


def test_table_reads_symbols_and_ties():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=800)
    x = np.stack([y, (y // 2) * 10.0, rng.normal(size=800), np.zeros(800)], 1)
    found = [gain(column[0], y) for column in probes.table(x, [y], np.arange(800) % 5)]
    assert found[0] > 0.95 * np.log(4)
    assert 0.9 * np.log(2) < found[1] < 1.02 * np.log(2)
    assert abs(found[2]) < 0.05
    assert abs(found[3]) < 0.01


def test_bins_keep_equal_values_together():
    values = np.array([0.0] * 50 + list(np.linspace(1, 2, 50)))
    bins = probes.equal_frequency(values, 10)
    assert len(set(bins[:50])) == 1
    assert bins.max() + 1 <= 10
