import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, capabilities
from unbraid.core.parts import check_parts
from unbraid.data.dataset import MemoryDataset
from unbraid.data.made.discs import Discs
from unbraid.methods.latent.ada_gvae import AdaGVAE
from unbraid.methods.latent.ae import AE
from unbraid.methods.latent.annealed_vae import AnnealedVAE
from unbraid.methods.latent.beta_tcvae import BetaTCVAE
from unbraid.methods.latent.dip_vae import DIPVAE
from unbraid.methods.latent.factor_vae import FactorVAE
from unbraid.methods.latent.qlae import QLAE
from unbraid.methods.latent.vae import VAE, BetaVAE
from unbraid.training.fit import fit

GAUSSIAN = [VAE, BetaVAE, AnnealedVAE, FactorVAE, DIPVAE, BetaTCVAE, AdaGVAE]
ALL = [AE, *GAUSSIAN, QLAE]
COUPLED = {"annealed-vae": {"capacity"}, "dip-vae": {"off_diagonal", "diagonal"}}  # terms of the whole batch
FIELDS = {
    "image": Field((1, 16, 16), unit=True),
    "colour": Field((3, 28, 28), unit=True),
    "vector": Field((7,)),
    "unit vector": Field((7,), unit=True),
    "other image": Field((2, 20, 20)),
}


def build(cls, field=FIELDS["image"], preset="tiny", **changes):
    config = override(cls.Config(), {**cls.presets.get(preset, {}), **changes})
    torch.manual_seed(0)
    return cls(config, Fields(x=field, factors=Field((2,)), known=Field((2,), "bool")))


def images(n, pair=False):
    torch.manual_seed(1)
    return {"x": torch.rand(n, 2, 1, 16, 16) if pair else torch.rand(n, 1, 16, 16)}


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("kind", FIELDS)
def test_every_observation_goes_in_and_comes_out(cls, kind):
    field = FIELDS[kind]
    method = build(cls, field).eval()
    batch = {"x": torch.rand(3, *field.shape)}
    parts = method.encode(batch)
    check_parts(method.parts(), parts)
    x = method.decode(parts)
    assert x.shape == batch["x"].shape
    assert not field.unit or (x.min() >= 0 and x.max() <= 1)
    if cls in GAUSSIAN:
        mean, logvar = method.posterior(batch)
        assert torch.equal(mean["latents"], parts["latents"])
        check_parts(method.parts(), logvar)
        assert method.sample(5, torch.Generator().manual_seed(0)).shape == (5, *field.shape)


@pytest.mark.parametrize("cls", ALL)
def test_capabilities_and_presets(cls):
    expected = ("decodes", "infers", "samples") if cls in GAUSSIAN else ("decodes",)
    assert capabilities(cls) == expected
    for preset in cls.presets:
        build(cls, preset=preset)
    for changes in cls.aliases.values():
        build(cls, **changes)


@pytest.mark.parametrize("cls", ALL)
def test_losses_are_one_value_per_item_and_finite(cls):
    terms = build(cls).loss(images(6, pair=cls is AdaGVAE), At())
    for name, term in terms.items():
        raw = term[1] if isinstance(term, tuple) else term
        assert raw.shape == (() if name in COUPLED.get(cls.card.name, ()) else (6,))
        assert raw.isfinite().all()


@pytest.mark.parametrize("cls", ALL)
def test_training_on_discs_lowers_the_loss(cls):
    rate = {"optim.lr": 3e-3}
    lines = fit(build(cls, steps=80, batch=32, **rate), Discs(), seed=0)
    first, last = (sum(v for name, v in line["terms"].items() if "rec" in name) for line in (lines[0], lines[-1]))
    assert last < 0.9 * first


@pytest.mark.parametrize("cls", [AE, VAE, QLAE])
def test_training_on_vectors_learns_their_scale(cls):
    torch.manual_seed(0)
    x = 100 * torch.randn(64, 2) @ torch.randn(2, 7) + 1000
    rows = MemoryDataset("made", x)
    method = build(cls, rows.fields["x"], steps=150, **{"optim.lr": 1e-2, "width": 32})
    fit(method, rows, seed=0)
    again = method.decode(method.encode({"x": x}))
    assert (again - x).square().mean() < 0.7 * (x - x.mean(0)).square().mean()


def test_wrong_options_and_data_are_refused():
    for option in ("latents", "width", "batch", "steps"):
        with pytest.raises(ConfigError, match=option):
            build(VAE, **{option: 0})
    with pytest.raises(DataError, match="16, 20, 24"):
        build(VAE, Field((1, 18, 18), unit=True))


def elbo(method, x, mu, logvar, at):
    z = mu + (logvar / 2).exp() * at.randn(mu.shape)
    rec = -Bernoulli(logits=method.decoder(z)).log_prob(x).sum((1, 2, 3))
    return rec, kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)


@pytest.mark.parametrize(("cls", "beta"), [(VAE, 1.0), (BetaVAE, 4.0)])
def test_beta_vae_by_its_formula(cls, beta):
    method, batch = build(cls), images(5)
    batch = {"x": batch["x"].round()}
    terms = method.loss(batch, At())
    rec, divergence = elbo(method, batch["x"], *method.infer(batch["x"]), At())
    torch.testing.assert_close(terms["reconstruction"], rec)
    weight, raw = terms["kl"]
    assert weight == beta
    torch.testing.assert_close(raw, divergence)


@pytest.mark.parametrize("how", ["gvae", "ml"])
def test_ada_gvae_by_its_formula(how):
    method, pair = build(AdaGVAE, aggregate=how), images(4, pair=True)["x"].round()
    terms = method.loss({"x": pair}, At())
    at = At()
    eps = at.randn((4, 2, method.config.latents))
    for b in range(4):
        (m1, l1), (m2, l2) = ([s[0] for s in method.infer(pair[b, i : i + 1])] for i in (0, 1))
        v1, v2 = l1.exp(), l2.exp()
        d = v1 / v2 + (m2 - m1) ** 2 / v2 - 1 + l2 - l1
        keep = d >= (d.min() + d.max()) / 2
        var = (v1 + v2) / 2 if how == "gvae" else 2 * v1 * v2 / (v1 + v2)
        mean = (m1 + m2) / 2 if how == "gvae" else var / 2 * (m1 / v1 + m2 / v2)
        rec, divergence = [], []
        for i, (m, v) in enumerate([(m1, v1), (m2, v2)]):
            m, v = torch.where(keep, m, mean), torch.where(keep, v, var)
            z = m + v.sqrt() * eps[b, i]
            rec.append(-Bernoulli(logits=method.decoder(z[None])[0]).log_prob(pair[b, i]).sum())
            divergence.append(0.5 * (m**2 + v - v.log() - 1).sum())
        torch.testing.assert_close(terms["reconstruction"][b], sum(rec) / 2)
        torch.testing.assert_close(terms["kl"][1][b], sum(divergence) / 2)


class Half:
    """One of two processes; the other's rows are given."""

    size = 2

    def __init__(self, rank, everything):
        self.rank, self.everything = rank, iter(everything)

    def gather(self, x):
        whole = next(self.everything)
        torch.testing.assert_close(whole.chunk(2)[self.rank], x)
        return whole


def test_beta_tcvae_over_two_processes_is_one():
    method, batch = build(BetaTCVAE).double(), {"x": images(8)["x"].double()}

    def total(terms):
        return sum(t[0] * t[1].mean() if isinstance(t, tuple) else t.mean() for t in terms.values())

    whole = total(method.loss(batch, At()))
    everything = method.infer(batch["x"])
    halves = [
        total(method.loss({"x": half}, At(world=Half(rank, everything))))
        for rank, half in enumerate(batch["x"].chunk(2))
    ]
    torch.testing.assert_close(sum(halves) / 2, whole)
    parameters = list(method.parameters())
    one, two = (
        torch.autograd.grad(whole, parameters, retain_graph=True),
        torch.autograd.grad(sum(halves) / 2, parameters),
    )
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


def test_beta_tcvae_with_beta_1_is_the_vae():
    method, same = build(BetaTCVAE, beta=1.0), build(VAE)
    terms, expected = method.loss(images(5), At()), same.loss(images(5), At())
    assert terms["total_correlation"][0] == 0
    torch.testing.assert_close(terms["reconstruction"], expected["reconstruction"])
    torch.testing.assert_close(terms["kl"], expected["kl"][1])


@pytest.mark.parametrize("cls", ALL)
def test_gradients_lie_as_their_parameters_do(cls):
    method = build(cls)
    terms = method.loss(images(4, pair=cls is AdaGVAE), At())
    total = sum(t[0] * t[1].mean() if isinstance(t, tuple) else t.mean() for t in terms.values())
    named = {n: p for n, p in method.named_parameters() if not n.startswith(tuple(method.scaffold) or ("-",))}
    for name, gradient in zip(named, torch.autograd.grad(total, list(named.values())), strict=True):
        assert gradient.stride() == named[name].stride(), name
