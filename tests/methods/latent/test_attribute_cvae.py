import math

import numpy as np
import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import At
from unbraid.core.parts import Parts
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.wrapped import WithAttributes
from unbraid.losses.gaussian import kl
from unbraid.methods.latent.attribute_cvae import AttributeCVAE
from unbraid.methods.latent.attribute_names import Attributes
from unbraid.training.build import build
from unbraid.training.fit import fit


def world(n=60, split=False):
    rng = np.random.default_rng(0)
    hair, smile = rng.integers(3, size=n), rng.integers(2, size=n)
    smile[:3], hair[:3] = (0, 1, 0), (0, 1, 2)
    x = 0.5 + 0.1 * rng.normal(size=(n, 1, 8, 8))
    x[:, 0, 0] += 0.3 * smile[:, None]
    x[:, 0, 5] += 0.2 * (hair[:, None] - 1)
    columns = {"hair": np.array(["dark", "fair", "red"])[hair], "smile": np.array(["no", "yes"])[smile]}
    if split:
        columns["split"] = np.array(["train", "test"])[np.arange(n) % 3 // 2]
    table = FactorTable.from_columns({name: list(v) for name, v in columns.items()})
    data = MemoryDataset("faces", torch.from_numpy(x).float().clamp(0, 1), table, unit=True)
    return WithAttributes(data, ["hair", "smile"])


def made(data=None, bent=True, **changes):
    data = data or world()
    config = override(AttributeCVAE.Config(), {**AttributeCVAE.presets["tiny"], **changes})
    method = build(AttributeCVAE, config, data.fields)
    if bent and method.prior is not None:  # away from N(0, I), where it begins
        with torch.no_grad():
            method.prior.net[-1].weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    return method.eval(), data


def batch_of(data, n=10):
    return data.take(torch.arange(n))


def seeded(epoch=9.0, seed=5):
    return At(epoch=epoch, generator=torch.Generator().manual_seed(seed))


def total(terms):
    return sum(weight * value.mean() for weight, value in terms.values())


# -------------------------------------------------------------------------------------------------------------- loss


def test_the_divergence_in_closed_form():
    at = torch.full((1, 1), 0.5), torch.tensor([[2 * math.log(0.3)]])
    assert kl(*at).item() == pytest.approx(0.873973, abs=1e-6)


@pytest.mark.parametrize("prior", ["conditional", "standard"])
def test_the_loss_is_the_weighted_bound(prior):
    method, data = made(prior=prior, beta=3.0)
    batch = batch_of(data)
    x, y = batch["x"], batch["attributes"]
    terms = method.loss(batch, seeded())
    mean, logvar = method.encoder(x, y).chunk(2, 1)
    mean_p, logvar_p = method.prior(y) if prior == "conditional" else (torch.zeros(2), torch.zeros(2))
    z = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
    p = method.decoder(z, y).sigmoid()
    error = -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    s, sp = (logvar / 2).exp(), (logvar_p / 2).exp()
    divergence = ((sp / s).log() + (s**2 + (mean - mean_p) ** 2) / (2 * sp**2) - 0.5).sum(1)
    assert torch.allclose(terms["reconstruction"][1], error, rtol=1e-4)
    assert torch.allclose(terms["kl"][1], divergence, rtol=1e-4, atol=1e-5)
    assert (terms["reconstruction"][0], terms["kl"][0]) == (1.0, 3.0)


def test_the_weight_of_the_divergence_grows_over_the_first_epochs():
    method, data = made(beta=4.0, warm=2.0)
    weights = [method.loss(batch_of(data), seeded(epoch))["kl"][0] for epoch in (0.0, 1.0, 2.0, 5.0)]
    assert weights == [0.0, 2.0, 4.0, 4.0]
    assert made(beta=4.0, warm=0.0)[0].beta(0.0) == 4.0


def test_both_networks_learn_from_the_divergence():
    method, data = made()
    value = method.loss(batch_of(data), seeded())["kl"][1].mean()
    for net in (method.encoder, method.prior):
        assert any(g.any() for g in torch.autograd.grad(value, list(net.parameters()), retain_graph=True))


def test_alpha_one_is_the_bound_and_alpha_zero_the_prior_alone():
    method, data = made(alpha=1.0)
    terms = method.loss(batch_of(data), seeded())
    assert set(terms) == {"reconstruction", "kl"}
    method, _ = made(alpha=0.0)
    terms = method.loss(batch_of(data), seeded())
    assert set(terms) == {"from_prior"}
    batch = batch_of(data)
    mean_p, logvar_p = method.of_attributes(batch["attributes"])
    z = mean_p + (logvar_p / 2).exp() * torch.randn(mean_p.shape, generator=torch.Generator().manual_seed(5))
    expected = method.nll(method.decoder(z, batch["attributes"]), batch["x"])
    assert torch.allclose(terms["from_prior"][1], expected)
    grads = torch.autograd.grad(total(terms), list(method.encoder.parameters()), allow_unused=True)
    assert all(g is None for g in grads)
    method, _ = made(alpha=0.25, beta=2.0)
    terms = method.loss(batch_of(data), seeded())
    assert {name: weight for name, (weight, _) in terms.items()} == {
        "reconstruction": 0.25,
        "kl": 0.5,
        "from_prior": 0.75,
    }


def test_the_divergence_is_nothing_where_posterior_and_prior_agree():
    method, data = made()
    y = batch_of(data)["attributes"]
    mean, logvar = method.of_attributes(y)
    assert kl(mean, logvar, *method.of_attributes(y)).abs().max() < 1e-6


def test_log_variances_stay_in_bounds():
    method, data = made()
    with torch.no_grad():
        method.encoder.read[-1].bias[2:] = 99.0
        method.prior.net[-1].bias[2:] = -99.0
    batch = batch_of(data)
    assert (method.infer(batch["x"], batch["attributes"])[1] == 4).all()
    assert (method.of_attributes(batch["attributes"])[1] == -8).all()


# ------------------------------------------------------------------------------------------------------------- parts


def test_the_residual_is_the_code_in_units_of_the_prior():
    method, data = made()
    batch = batch_of(data)
    x, y = batch["x"], batch["attributes"]
    parts = method.encode(batch)
    mean, logvar = method.infer(x, y)
    mean_p, logvar_p = method.of_attributes(y)
    assert torch.allclose(parts["residual"], (mean - mean_p) / (logvar_p / 2).exp(), atol=1e-5)
    assert torch.allclose(method.decode(parts), method.made(mean, y), atol=1e-5)
    own = [p["residual"] for p in method.posterior(batch)]
    assert torch.allclose(kl(*own), kl(mean, logvar, mean_p, logvar_p), atol=1e-4)
    assert [s.name for s in method.parts()] == ["attributes", "residual"]
    assert method.parts()[0].carries == method.parts()[1].free_of == ("hair", "smile")


def test_exchanging_attributes_is_the_edit_and_nothing_changes_without_a_change():
    method, data = made()
    batch = batch_of(data)
    y, other = batch["attributes"], batch["attributes"].flip(0)
    z = method.infer(batch["x"], y)[0]
    assert torch.allclose(method.moved(z, y, y), z, atol=1e-6)
    mean, logvar = method.of_attributes(y)
    new_mean, new_logvar = method.of_attributes(other)
    by_hand = new_mean + new_logvar.exp().sqrt() / logvar.exp().sqrt() * (z - mean)
    assert torch.allclose(method.moved(z, y, other), by_hand, atol=1e-5)
    swapped = method.encode(batch).replace(attributes=other)
    assert torch.allclose(method.changed(batch, other), method.decode(swapped), atol=1e-5)
    up = method.edit(batch, "smile", 1.0)
    assert torch.allclose(up, method.changed(batch, method.attributes.set(y, ["smile"])), atol=1e-6)
    assert torch.allclose(method.edit(batch, "hair=red", 0.0), method.changed(batch, y), atol=1e-6)


def test_a_standard_prior_is_that_of_zeros():
    method, data = made(prior="standard")
    y = batch_of(data)["attributes"]
    assert all(not s.any() for s in method.of_attributes(y))
    assert method.prior is None
    fresh, _ = made(bent=False)
    assert all(not s.any() for s in fresh.of_attributes(y))


def test_samples_have_attributes_that_occur_and_the_temperature_draws_them_in():
    method, data = made()
    fit(method, data)
    method.eval()
    assert method.seen.shape == (60, 4)
    assert torch.equal(method.seen, data.take(torch.arange(60))["attributes"])
    drawn = method.sample(5, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, method.sample(5, torch.Generator().manual_seed(0)))
    y = method.seen[:1].expand(20, -1)
    with torch.no_grad():
        spread = [method.with_attributes(y, torch.Generator().manual_seed(0), t).var(0).mean() for t in (0, 0.5, 1.0)]
    assert spread[0] < 1e-12 < spread[1] < spread[2]


def test_rows_set_aside_are_not_learnt_from():
    data = world(split=True)
    method, _ = made(data)
    assert len(method.sources(data)["train"]) == 40


# ------------------------------------------------------------------------------------------------------------- names


def test_attributes_belong_to_factors():
    attributes = Attributes.of(world().fields)
    assert attributes.names == ("hair=dark", "hair=fair", "hair=red", "smile")
    assert attributes.factors == ("hair", "smile")
    assert attributes.groups == ((0, 1, 2), (3,))
    assert attributes.classes == (3, 2)
    y = torch.tensor([[0, 1, 0, 1.0], [1, 0, 0, 0]])
    assert attributes.labels(y).tolist() == [[1, 1], [0, 0]]
    assert attributes.set(y, ["hair=red", "smile=0"]).tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]
    assert attributes.moved(y, "hair=red", 0.5).tolist() == [[0, 0.5, 0.5, 1], [0.5, 0, 0.5, 0]]
    assert attributes.moved(y, "smile", -3.0)[:, 3].tolist() == [0, 0]
    assert attributes.told(y[0]) == "hair=fair, smile"
    for text in ("hair", "hair=blue", "smile=2", "hair=red=0", "beard"):
        with pytest.raises(ConfigError, match="an attribute, or attribute=0 or 1"):
            attributes.set(y, [text])


def test_chosen_rows_occur_together_where_they_can():
    attributes = Attributes.of(world().fields)
    seen = torch.tensor([[1, 0, 0, 1.0], [0, 1, 0, 0], [1, 0, 0, 1]])
    g = torch.Generator().manual_seed(0)
    assert attributes.chosen(seen, ["smile"], 9, g).unique(dim=0).tolist() == [[1, 0, 0, 1]]
    never = attributes.chosen(seen, ["smile", "hair=red"], 4, g)  # does not occur: set all the same
    assert never.unique(dim=0).tolist() == [[0, 0, 1, 1]]
    assert len(attributes.chosen(torch.zeros(0, 4), ["smile"], 2, g)) == 2


# ----------------------------------------------------------------------------------------------- actions and judgement


def test_actions_give_pictures():
    method, data = made(network="conv", width=8)
    fit(method, data)
    method.eval()
    drawn = method.draw(("smile", "hair=red"), items=3)
    assert drawn.images.shape == (3, 1, 8, 8)
    assert drawn.labels == ["hair=red, smile"] * 3
    edited = method.redraw(("smile=0",), data, items=4)
    assert edited.images.shape == (8, 1, 8, 8)
    assert not any("smile" in label for label in edited.labels[4:])
    way = method.interpolate(("hair=red",), ("hair=dark",), items=5)
    assert way.images.shape == (5, 1, 8, 8)
    assert way.labels[0].startswith("hair=red")
    assert way.labels[-1].startswith("hair=dark")
    assert method.interpolate((), (), items=1).images.shape == (1, 1, 8, 8)
    with pytest.raises(ConfigError, match="--items"):
        method.draw(items=0)
    with pytest.raises(DataError, match="the attribute 'smile'"):
        method.redraw(("smile",), WithAttributes(data.inner, ["hair"]))


def test_the_examination_says_accuracy_and_diversity_together(monkeypatch):
    from unbraid.methods.latent import attribute_judge

    monkeypatch.setattr(attribute_judge, "_STEPS", 60)
    method, data = made(world(split=True))
    fit(method, data)
    found = method.eval().examine(data)
    for name in ("accuracy of samples", "accuracy of edits", "accuracy of samples/hair", "KL", "bound", "diversity"):
        assert math.isfinite(found.numbers[name])
    assert found.numbers["bound"] == pytest.approx(-found.numbers["KL"] - found.numbers["reconstruction"])
    assert found.notes == ()
    assert "were learnt from" in made()[0].examine(world()).notes[0]


def test_samples_that_are_all_alike_are_not_diverse():
    from unbraid.methods.latent.attribute_judge import diversity

    batch = batch_of(world())
    same = diversity(lambda y, _g: y @ torch.ones(4, 3), batch, torch.Generator())
    assert same["diversity"] == pytest.approx(0, abs=1e-9)
    noise = diversity(lambda y, g: torch.randn(len(y), 3, generator=g), batch, torch.Generator().manual_seed(0))
    assert noise["squared difference of two samples"] == pytest.approx(2.0, rel=0.2)


def test_vectors_have_no_pictures():
    data = world()
    flat = WithAttributes(MemoryDataset("v", torch.randn(60, 5), data.table(torch.arange(60))), ["smile"])
    method, _ = made(flat)
    fit(method, flat)
    assert method.observed.scale.shape == (5,)
    with pytest.raises(DataError, match="images, to be drawn"):
        method.eval().draw()


@pytest.mark.parametrize(
    "changes", [{"alpha": 1.5}, {"beta": -1.0}, {"warm": -1.0}, {"epochs": 0.0}, {"latents": 0}, {"prior_width": 0}]
)
def test_bad_options_are_one_line(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        override(AttributeCVAE.Config(), changes)


def test_parts_of_other_items_may_be_joined():
    method, data = made()
    parts = method.encode(batch_of(data, 4))
    mixed = Parts(attributes=parts["attributes"], residual=parts["residual"].flip(0))
    assert method.decode(mixed).shape == (4, 1, 8, 8)
