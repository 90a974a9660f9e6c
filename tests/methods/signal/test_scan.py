import copy
import json

import numpy as np
import pytest
import torch

from unbraid import cli
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import At
from unbraid.data.catalog import open_data
from unbraid.data.dataset import MemoryDataset
from unbraid.data.epochs import Epochs
from unbraid.data.factors import FactorTable
from unbraid.data.made.erp import Erp
from unbraid.data.wrapped import in_roles
from unbraid.methods.signal.judged import correlation, group_folds, late_potential, linear, out_of_fold
from unbraid.methods.signal.scan import SCAN, read_label
from unbraid.testing.contract import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit


@pytest.fixture(scope="module")
def world():
    return Erp(people=12, trials=1)


def made(data, **changes):
    return build(SCAN, override(SCAN.Config(), {**SCAN.presets["tiny"], **changes}), data.fields)


@pytest.fixture(scope="module")
def trained(world):
    method = made(world)
    fit(method, world)
    return method


def test_the_contract():
    check_method(SCAN)


def test_the_contract_with_single_trials():
    data = in_roles(Erp(people=12, trials=2, single=True), SCAN.card.needs, {}, SCAN.card.wants)
    check_method(SCAN, data)


def test_the_first_stage_is_a_beta_vae_of_standardised_channels(world):
    method = made(world, beta=3.0)
    method.observed.measure({"train": world}, At())
    x = world.take(torch.arange(12))["x"]
    seen = method.observed(x)
    torch.testing.assert_close(seen.mean((0, 2)), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.square().mean((0, 2)), torch.ones(6), atol=1e-3, rtol=0)
    terms = method.loss({"x": x}, At(generator=torch.Generator().manual_seed(2)))
    mu, logvar = method.encoder(seen).chunk(2, 1)
    z = mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=torch.Generator().manual_seed(2))
    nll = -torch.distributions.Normal(method.decoder(z), 1.0).log_prob(seen).sum((1, 2))
    constant = 0.5 * np.log(2 * np.pi) * 6 * 256
    torch.testing.assert_close(terms["reconstruction"], nll - constant, rtol=1e-4, atol=1e-2)
    weight, divergence = terms["kl"]
    prior = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert weight == 3.0
    torch.testing.assert_close(divergence, prior.sum(1), rtol=1e-3, atol=1e-4)


def test_the_second_stage_leaves_the_first_alone(world):
    method = made(world)
    fit(method, world)
    batch = world.take(torch.arange(12))
    loss = sum(t[1].mean() if isinstance(t, tuple) else t.mean() for t in method.symbol_loss(batch, At()).values())
    found = torch.autograd.grad(loss, list(method.parameters()), allow_unused=True)
    moved = {n.partition(".")[0] for (n, _), g in zip(method.named_parameters(), found, strict=True) if g is not None}
    assert moved == {"symbols"}
    first, second = method.stages()
    assert {p.partition(".")[0] for p, _ in method.named_parameters()} == {"encoder", "decoder", "symbols"}
    assert list(second.updates[0].params()) == [method.symbols]
    assert list(first.updates[0].params()) == [method.encoder, method.decoder]


def test_numbers_are_cut_at_their_median_and_values_in_the_middle(world, trained):
    ages = world.table(torch.arange(12)).column("age")
    edges = dict(zip(trained.concepts, trained.symbols.edges.tolist(), strict=True))
    assert (ages > edges["age"]).sum() == 6
    assert edges["sex"] == 0.5


def test_participants_and_trials_are_no_labels_unless_they_are_named():
    data = Erp(people=4, trials=3, single=True)
    assert made(data).concepts == ("reactivity", "timing", "age", "sex", "site")
    assert made(data, concepts="trial").concepts == ("trial",)


def test_symbols_are_read_from_the_latents_alone(world, trained):
    batch = world.take(torch.arange(4))
    hidden = {**batch, "factors": 1 - batch["factors"], "known": ~batch["known"]}
    with torch.no_grad():
        assert torch.equal(trained.encode(batch)["symbol"], trained.encode(hidden)["symbol"])
        means, spread = trained.posterior(batch)
        torch.testing.assert_close(means["symbol"], trained.encode(batch)["symbol"])
        assert spread["latents"].shape == (4, 3)


def test_labels_are_said_by_value_or_by_name(world):
    concepts = ("age", "sex")
    assert read_label("sex=0", concepts) == (1, 0)
    assert read_label("sex = male", concepts, world) == (1, 1)
    numbered = MemoryDataset("n", torch.zeros(2, 1), FactorTable.from_columns({"sex": [1, 2]}))
    assert read_label("sex=1", concepts, numbered) == (1, 0)
    with pytest.raises(ConfigError, match=r"sex=0 or 1 or female or male, got 'sex=man'"):
        read_label("sex=man", concepts, world)
    with pytest.raises(ConfigError, match=r"CONCEPT=VALUE, got 'sexx=1'"):
        read_label("sexx=1", concepts, world)


def test_explain_names_what_a_label_decides(world, trained):
    table = trained.explain("sex=male,age=1", world)
    nats = table.columns["nats"]
    assert sorted(table.columns["latent"]) == ["latents[0]", "latents[1]", "latents[2]"]
    assert list(nats) == sorted(nats, reverse=True)
    for mean, sigma, n, decided in zip(*(table.columns[c] for c in ("mean", "sigma", "nats", "decided")), strict=True):
        assert n == pytest.approx((mean**2 + sigma**2 - 1) / 2 - np.log(sigma), abs=2e-3)
        assert decided == (n > 0.1) or abs(n - 0.1) < 1e-3


def test_imagined_potentials_are_decoded_draws_of_the_label(world, trained):
    one, two = (trained.imagine("sex=1", count=5, seed=3, data=world) for _ in range(2))
    assert isinstance(one, Epochs)
    assert (len(one), one.channels) == (5, world.channels)
    x = one.take(torch.arange(5))["x"]
    assert torch.equal(x, two.take(torch.arange(5))["x"])
    assert not torch.equal(x, trained.imagine("sex=1", count=5, seed=4).take(torch.arange(5))["x"])
    with pytest.raises(ConfigError, match="--count"):
        trained.imagine("sex=1", count=0)


def test_denoised_potentials_are_decoded_means(world, trained):
    out = trained.denoise(world)
    batch = world.take(torch.arange(12))
    with torch.no_grad():
        expected = trained.decode(trained.encode(batch))
    torch.testing.assert_close(out.take(torch.arange(12))["x"], expected)
    assert out.ids(torch.arange(2)) == world.ids(torch.arange(2))
    assert [f.name for f in out.factors] == [f.name for f in world.factors]


def test_tell_gives_the_chance_of_the_upper_value(world, trained):
    table = trained.tell(world)
    batch = world.take(torch.arange(12))
    with torch.no_grad():
        first = trained.predict(batch).probability[:, 1]
    np.testing.assert_allclose(table.columns["reactivity"], first, atol=1e-4)
    assert list(table.columns) == ["item", *trained.concepts]
    with pytest.raises(ConfigError, match="data"):
        trained.tell()


def test_remapping_changes_the_labels_and_nothing_else(world, trained):
    method = copy.deepcopy(trained)
    before = {n: t.clone() for n, t in method.tensors().items() if not n.startswith("symbols")}
    found = method.remap(("site", "sex"), world)
    assert method.concepts == method.config.concepts == ("site", "sex")
    assert method.symbols.decoder[-1].out_features == 4
    assert all(torch.equal(before[n], method.tensors()[n]) for n in before)
    assert list(found.tables["balanced accuracy"].columns["label"]) == ["site", "sex"]
    with pytest.raises(ConfigError, match=r"concepts: expected the name of a factor, got 'sight'"):
        method.remap(("sight",), world)


def test_examined_on_data_without_the_truth(world, trained):
    x = world.take(torch.arange(12))["x"]
    plain = MemoryDataset("plain", x, world.table(torch.arange(12)))
    found = trained.examine(plain)
    assert not any(name.startswith("correlation") for name in found.numbers)
    assert "imagined sex=1, channel" in " ".join(found.arrays)
    lacking = MemoryDataset("lacking", x, world.table(torch.arange(12)).without("sex"))
    with pytest.raises(DataError, match="data with the factor 'sex'"):
        trained.examine(lacking)


def test_what_cannot_be_a_label_is_refused(world):
    x = world.take(torch.arange(12))["x"]
    table = FactorTable.from_columns({"site": list("abcabcabcabc"), "sex": list("mfmfmfmfmfmf")})
    data = MemoryDataset("three", x, table)
    with pytest.raises(DataError, match=r"factor 'site': .* got 3 without order; .*--set concepts=sex"):
        fit(made(data), data)
    fit(made(data, concepts="sex"), data)
    with pytest.raises(ConfigError, match="concepts: expected the name of a factor"):
        made(data, concepts="age")
    only = MemoryDataset("only", x, FactorTable.from_columns({"participant": list("abcdefghijkl")}))
    with pytest.raises(DataError, match="a factor that can be a label"):
        made(only)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"drop": 1.0}, "drop"), ({"folds": 1}, "folds"), ({"latents": 0}, "latents"), ({"kernel": 5}, "even")],
)
def test_options_out_of_bounds(world, change, says):
    with pytest.raises(ConfigError, match=says):
        made(world, **change)


def test_images_are_refused():
    with pytest.raises(DataError, match=r"series \(C, T\)"):
        made(open_data("discs"))


# ------------------------------------------------------------------------------------------------------------- judging


def test_folds_do_not_cut_a_group():
    groups = np.repeat(np.arange(7), 5)
    folds = group_folds(groups, 3)
    assert all(len(set(folds[groups == g])) == 1 for g in range(7))
    assert set(folds) == {0, 1, 2}
    assert set(group_folds(np.arange(2), 10)) == {0, 1}


def test_nobody_is_asked_about_what_it_learned_from():
    upper, known = np.arange(8)[:, None] % 2 == 0, np.ones((8, 1), dtype=bool)
    features, folds = np.arange(8.0)[:, None], np.arange(8) // 2
    asked = []

    def reads(learn, y, ask):
        assert not set(learn[:, 0]) & set(ask[:, 0])
        asked.extend(ask[:, 0])
        return np.ones(len(ask), dtype=bool)

    assert out_of_fold(features, upper, known, folds, reads).all()
    assert sorted(asked) == list(range(8))
    one = out_of_fold(features, np.ones((8, 1), dtype=bool), known, folds, reads)
    assert one.all()
    assert len(asked) == 8  # nothing to learn from one class


def test_the_late_potential_is_the_mean_of_its_window(world):
    x = np.zeros((1, 6, 256))
    x[0, 2, (world.times >= 0.4) & (world.times <= 0.75)] = 3
    assert late_potential(x, world, (0.4, 0.75)).tolist() == [[0, 0, 3, 0, 0, 0]]


def test_linear_readers_tell_what_is_linear():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = x[:, 0] > 0
    for reader in (linear(), linear(strength=0.01), linear(components=5)):
        assert (reader(x[:100], y[:100], x[100:]) == y[100:]).mean() > 0.85


def test_correlations_are_those_of_numpy():
    a, b = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    expected = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-6)


# ------------------------------------------------------------------------------------------------- on the command line


def test_a_remapped_run_opens_on_its_new_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = Erp(people=12, trials=1)
    np.savez("labels.npz", x=data.take(torch.arange(12))["x"].numpy(), diagnosis=np.array(list("yn" * 6)))

    def unbraid(*words):
        assert cli.run(list(words)) == 0

    unbraid("train", "scan", "--data", "erp:people=12,trials=1", "--preset", "tiny", "--out", "run", "--no-audit")
    unbraid("apply", "run", "remap", "--data", "eeg:labels.npz", "--out", "again")
    facts = json.loads((tmp_path / "again" / "run.json").read_text())
    assert facts["data"]["items"] == 12
    assert facts["fields"]["factors"]["names"] == ["diagnosis"]
    assert facts["origin"] == {"run": "run", "action": "remap"}
    unbraid("apply", "again", "explain", "--label", "diagnosis=y")
    unbraid("apply", "run", "remap", "--concepts", "sex", "--out", "same")
    same = json.loads((tmp_path / "same" / "run.json").read_text())
    assert same["config"]["concepts"] == ["sex"]
    assert same["request"]["data"] == "erp:people=12,trials=1"
    unbraid("apply", "same", "tell", "--out", "said.csv")
    assert (tmp_path / "said.csv").read_text().startswith("item,sex\nsub-01,")
