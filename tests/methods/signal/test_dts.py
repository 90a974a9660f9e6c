import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.made.sines import Sines
from unbraid.data.wrapped import in_roles
from unbraid.losses.adversarial import ramp
from unbraid.methods.signal.dts import DTS, DTSGroup
from unbraid.methods.signal.series_judged import Judged, explained, macro_f1
from unbraid.steer.edit import traverse
from unbraid.testing.contract import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.verbs.trying import tiny_config


def made(cls=DTS, data=None, roles=None, **changes):
    data = data if data is not None else Sines(rows=24, steps=8)
    data = in_roles(data, cls.card.needs, roles or {}, cls.card.wants, cls.card.partly)
    return build(cls, override(tiny_config(cls), changes), data.fields), data


def some(data, n=12):
    return data.take(torch.arange(n))


def value(terms):
    pairs = [t if isinstance(t, tuple) else (1.0, t) for t in terms.values()]
    return float(sum(w * t.detach().mean() for w, t in pairs))


def by_hand(method, batch):
    """Reconstruction and divergence, and MI, TC and dimension-wise KL of a batch, from densities one by one."""
    x = method.observed(batch["x"])
    mu, logvar = method.encoder(x).chunk(2, 1)
    z = mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=At().generator)
    density = Normal(mu, (logvar / 2).exp()).log_prob(z[:, None]).double()
    own = density.diagonal().T.sum(1)
    joint = density.sum(2).exp().mean(1).log()
    marginals = density.exp().mean(1).log().sum(1)
    prior = Normal(0.0, 1.0).log_prob(z).double().sum(1)
    reconstruction = 0.5 * (method.decoder(z, x) - x).square().sum((1, 2))
    divergence = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1)
    return reconstruction, divergence, (own - joint), (joint - marginals), (marginals - prior), z


def at():
    return At(generator=At().generator)


def test_the_loss_is_the_sum_of_its_five_terms():
    method, data = made(alpha=0.7, beta=3.0, gamma=2.5)
    batch = some(data)
    reconstruction, divergence, mi, tc, each, _ = by_hand(method, batch)
    wanted = reconstruction + divergence + 2 * tc + 1.5 * each - 1.7 * mi
    assert value(method.loss(batch, at())) == pytest.approx(float(wanted.mean().detach()), rel=1e-4)


def test_with_plain_weights_it_is_the_evidence_bound():
    method, data = made(alpha=-1.0, beta=1.0, gamma=1.0)
    terms = method.loss(some(data), at())
    assert set(terms) == {"reconstruction", "kl"}
    reconstruction, divergence, *_ = by_hand(method, some(data))
    assert value(terms) == pytest.approx(float((reconstruction + divergence).mean().detach()), rel=1e-5)


def test_information_weighs_minus_alpha_in_all():
    """The sampled divergence is MI + TC + dimension-wise KL, sample by sample."""
    method, data = made()
    *_, mi, tc, each, z = by_hand(method, some(data))
    mu, logvar = method.infer(method.observed(some(data)["x"]))
    sampled = (Normal(mu, (logvar / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1)
    torch.testing.assert_close((mi + tc + each).float(), sampled, rtol=1e-4, atol=1e-4)


def test_a_stratified_batch_stands_for_the_whole_set():
    batch, plain = made(sampling="batch")[0], made(sampling="stratified")[0]
    plain.load_tensors(batch.tensors())
    plain.items.fill_(1000)
    rows = some(made()[1])
    one, two = (float(m.loss(rows, at())["information"][1].detach().mean()) for m in (batch, plain))
    assert one <= math.log(12) + 1e-6
    assert two > one


def test_the_critic_tells_pairs_and_the_code_is_moved_by_what_it_tells():
    method, data = made(mi="jsd", alpha=0.5)
    batch, now = some(data), at()
    terms = method.loss(batch, now)
    assert terms["information"][0] == -1.0
    weight, told = terms["critic_information"]
    assert weight == -0.5
    x, z = method.observed(batch["x"]).flatten(1), now.memo["z"]
    matched, mixed = (method.critics["pairs"](torch.cat([x, c], 1))[:, 0] for c in (z, z.roll(1, 0)))
    wanted = -functional.softplus(-matched) - functional.softplus(mixed)
    torch.testing.assert_close(told, wanted)
    torch.testing.assert_close(method.critic_loss(batch, now)["pairs"], -wanted)
    for params, loss, moves in (
        (method.encoder, told.mean(), True),
        (method.encoder, method.critic_loss(batch, now)["pairs"].mean(), False),
    ):
        found = torch.autograd.grad(loss, list(params.parameters()), allow_unused=True, retain_graph=True)
        assert any(g is not None for g in found) == moves


def test_updates_share_out_the_parameters():
    method, _ = made(DTSGroup, mi="jsd", independence="ratio")
    fit_, critic = method.stages()[0].updates
    moved = [{id(p) for m in u.params() for p in m.parameters()} for u in (fit_, critic)]
    assert not moved[0] & moved[1]
    assert moved[0] | moved[1] == {id(p) for p in method.parameters()}
    assert critic.optim.lr == 1e-4


def test_a_traversal_moves_one_number_and_keeps_the_others():
    method, data = made()
    codes = method.encode(some(data))
    grid = traverse(method, codes.rows(slice(1)), codes, "factors[1]", steps=5)
    factors = grid.parts["factors"].detach()
    assert len(factors[:, 1].unique()) == 5
    others = codes["factors"][0].detach()
    assert torch.equal(factors[:, 0], others[0].expand(5))
    assert torch.equal(factors[:, 2], others[2].expand(5))


# ------------------------------------------------------------------------------------------------------ the group level


def test_labels_of_the_target_are_never_learnt_from():
    method, data = made(DTSGroup)
    method.measure(method.sources(data), At())
    assert method.learnt.tolist() == [True, False]
    batch = some(data, 24)
    other = {**batch, "label": torch.where(batch["domain"] == 1, (batch["label"] + 1) % 4, batch["label"])}
    assert not torch.equal(other["label"], batch["label"])
    assert value(method.loss(batch, at())) == value(method.loss(other, at()))
    source = batch["domain"] == 0
    now = at()
    told = method.loss(batch, now)["label"][1].mean()
    logits = method.label(now.memo["z"][:, :3])
    torch.testing.assert_close(told, functional.cross_entropy(logits[source], batch["label"][source]))


def test_unknown_labels_are_not_asked_for():
    x = torch.randn(12, 2, 8)
    labels = ["walk", "sit", "", "walk", "sit", ""] * 2
    table = FactorTable.from_columns({"activity": labels, "place": ["a", "b", "b"] * 4})
    data = MemoryDataset("made", x, table)
    method, data = made(DTSGroup, data, {"label": "activity", "domain": "place"}, target="none")
    method.measure(method.sources(data), At())
    batch = some(data)
    assert method.known(batch).tolist() == [True, True, False] * 4
    known = batch["label"] >= 0
    now = at()
    told = method.loss(batch, now)["label"][1].mean()
    logits = method.label(now.memo["z"][:, :3])
    torch.testing.assert_close(told, functional.cross_entropy(logits[known], batch["label"][known]))
    none = {**batch, "label": torch.full((12,), -1)}
    assert not method.loss(none, at())["label"][1].any()


@pytest.mark.parametrize(("term", "segment"), [("label_adversary", "domain"), ("domain_adversary", "content")])
def test_adversaries_move_the_encoder_the_other_way(term, segment):
    method, data = made(DTSGroup, target="none")
    batch, now = some(data), At(step=1, steps=4, generator=At().generator)
    loss = method.loss(batch, now)[term][1].mean()
    role = term.partition("_")[0]
    head = method.adversaries[role]
    *_, z = by_hand(method, batch)
    plain = functional.cross_entropy(head(method.named(z)[segment]), batch[role])
    torch.testing.assert_close(loss, plain)
    for owner, factor in ((method.encoder, -ramp(0.25)), (head, 1.0)):
        one, two = (torch.autograd.grad(v, list(owner.parameters()), retain_graph=True) for v in (loss, plain))
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, factor * b, rtol=1e-4, atol=1e-7)


def test_the_segments_are_held_apart_by_their_posteriors_or_by_a_critic():
    method, data = made(DTSGroup)
    batch, now = some(data), at()
    weight, told = method.loss(batch, now)["segments"]
    mu, logvar = method.infer(method.observed(batch["x"]))
    density = Normal(mu, (logvar / 2).exp()).log_prob(now.memo["z"][:, None])
    joint, one, two = (density[..., s].sum(2).exp().mean(1).log() for s in (slice(5), slice(3), slice(3, 5)))
    assert weight == 1.0
    torch.testing.assert_close(told, joint - one - two, rtol=1e-4, atol=1e-4)
    critical, _ = made(DTSGroup, independence="ratio")
    told = critical.loss(batch, now)["segments"][1]
    logits = critical.critics["segments"](now.memo["z"])
    torch.testing.assert_close(told, logits[:, 0] - logits[:, 1])
    assert set(critical.critic_loss(batch, now)) == {"segments"}


def test_without_domains_labels_are_all_there_is():
    data = MemoryDataset("made", torch.randn(12, 1, 8), FactorTable.from_columns({"label": ["a", "b"] * 6}))
    method, data = made(DTSGroup, data)
    assert "domain" not in method.adversaries
    assert [s.free_of for s in method.parts()] == [(), ("label",)]
    terms = method.loss(some(data), at())
    assert {"label", "label_adversary"} < set(terms)
    assert "domain" not in terms
    assert method.known(some(data)).all()


@pytest.mark.parametrize(
    ("target", "said"), [("hre", "did you mean 'here'"), ("here+there", "one domain at least"), ("", "domain")]
)
def test_a_target_that_cannot_be_is_one_line(target, said):
    method, data = made(DTSGroup, target=target)
    with pytest.raises(ConfigError, match=said):
        method.measure(method.sources(data), At())


def test_where_the_split_is_the_domain_all_rows_are_learnt_from():
    table = FactorTable.from_columns({"label": ["a", "b"] * 6, "split": ["train"] * 8 + ["test"] * 4})
    data = MemoryDataset("made", torch.randn(12, 1, 8), table)
    method, seen = made(DTSGroup, data, {"domain": "split", "label": "label"}, target="test")
    assert len(method.sources(seen)["train"]) == 12
    method.measure(method.sources(seen), At())
    assert method.learnt.tolist() == [f == "train" for f in data.factors[1].labels]
    plain, seen = made(DTSGroup, data, {"label": "label"})
    assert len(plain.sources(seen)["train"]) == 8


# ------------------------------------------------------------------------------------------------------------ judgement


def test_what_an_examination_finds():
    method, data = made(DTSGroup, Sines(rows=60, steps=8))
    for _ in fit(method, data, seed=0):
        pass
    found = method.eval().examine(data)
    assert {"accuracy of source", "accuracy of target", "mutual information", "label from content"} < set(found.numbers)
    assert found.tables["Labels told"].columns["labels"] == ["learnt from", "not seen"]
    read = found.tables["Factors read"].columns
    assert read["factor"] == ["amplitude", "frequency", "trend", "phase", "place"]
    assert read["measure"] == ["R2", "accuracy", "R2", "R2", "accuracy"]
    assert 0 <= found.numbers["mutual information"] <= math.log(60)


def test_an_empty_code_tells_nothing_when_it_is_drawn():
    method, data = made(data=Sines(rows=400, steps=8, noise=0.0))
    with torch.no_grad():
        method.encoder.read.weight.mul_(1e-4)
        method.encoder.read.bias.zero_()
    found = method.eval().examine(data)
    read = found.tables["Factors read"].columns
    trend = read["factor"].index("trend")
    assert read["factors"][trend] > 0.3
    assert abs(read["a draw of the code"][trend]) < 0.05
    assert found.numbers["mutual information"] == pytest.approx(0, abs=1e-3)


def test_moving_a_number_is_described_by_what_it_does():
    method, data = made()
    with torch.no_grad():  # the second number lifts the end of the series, the others do nothing
        method.decoder.begin.weight.zero_()
        for weights in (method.decoder.lstm.weight_ih_l0,):
            weights[:, [0, 2]] = 0
    table = method.eval().examine(data).tables["From -3 to 3"]
    assert table.columns["moved"] == ["factors[0]", "factors[1]", "factors[2]"]
    assert table.columns["trend"][0] == table.columns["trend"][2] == 0
    assert table.columns["trend"][1] != 0


def test_folds_cut_no_group():
    x = torch.randn(40, 1, 8)
    table = FactorTable.from_columns({"label": ["a", "b"] * 20, "user": [f"u{i // 4}" for i in range(40)]})
    method, data = made(DTSGroup, MemoryDataset("made", x, table), {"group": "user", "label": "label"})
    folds = Judged.of(method.eval(), data).folds
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    assert all(len(set(folds[4 * g : 4 * g + 4])) == 1 for g in range(10))


def test_the_measures():
    rng = np.random.default_rng(0)
    x, folds = rng.normal(size=(400, 3)), np.arange(400) % 5
    assert explained(x, x[:, :1] + rng.normal(size=(400, 1)), folds) == pytest.approx(0.5, abs=0.07)
    assert abs(explained(x, rng.normal(size=(400, 1)), folds)) < 0.05
    assert macro_f1(np.array([0, 0, 1]), np.array([0, 0, 0])) == pytest.approx(0.4)


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("cls", "changes", "said"),
    [
        (DTS, {"beta": -1.0}, "beta: expected a number from 0 on"),
        (DTS, {"alpha": -1.0, "mi": "jsd"}, "alpha: expected a number from 0 on"),
        (DTS, {"alpha": math.nan}, "alpha"),
        (DTS, {"batch": 1}, "batch: expected 2 items or more"),
        (DTS, {"steps": 0}, "steps"),
        (DTS, {"epochs": 0.0}, "epochs"),
        (DTSGroup, {"content": 0}, "content"),
        (DTSGroup, {"adverse": -1.0}, "adverse"),
    ],
)
def test_wrong_options_are_one_line(cls, changes, said):
    with pytest.raises(ConfigError, match=said):
        override(cls.Config(), changes)


def test_data_that_are_no_series_are_one_line():
    with pytest.raises(DataError, match="series"):
        build(DTS, tiny_config(DTS), Fields(x=Field((3,))))
    fields = Fields(x=Field((1, 8)), label=Field((), "int64", classes=1))
    with pytest.raises(DataError, match="label of two values"):
        build(DTSGroup, tiny_config(DTSGroup), fields)


@pytest.mark.parametrize(
    ("cls", "changes"),
    [
        (DTS, {"mi": "jsd", "sampling": "stratified", "gamma": 2.0, "teacher_forcing": True, "layers": 2}),
        (DTSGroup, {"independence": "ratio", "mi": "jsd"}),
    ],
)
def test_the_contract(cls, changes):
    check_method(cls, config=override(tiny_config(cls), changes))


def test_how_long_training_lasts():
    config = replace(tiny_config(DTS), steps=None, epochs=3.0)
    method = build(DTS, config, Sines(rows=24, steps=8).fields)
    assert method.stages()[0].budget.epochs == 3.0
