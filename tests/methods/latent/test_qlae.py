import re

import numpy as np
import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.discs import Discs
from unbraid.methods.latent.qlae import QLAE, UNREGULARISED
from unbraid.training.stepper import Stepper


def build(**changes):
    torch.manual_seed(0)
    return QLAE(override(QLAE.Config(), {**QLAE.presets["tiny"], **changes}), Fields(x=Field((1, 16, 16), unit=True)))


@pytest.fixture
def discs():
    return Discs().take(torch.arange(720))


def test_codes_are_discrete_and_stand_in_the_books(discs):
    method = build(values=3)
    latents = method.encode(discs)["latents"]
    assert method.parts()[0].classes == 3
    for column, book in zip(latents.T, method.quantiser.book, strict=True):
        assert len(column.unique()) <= 3
        assert torch.isin(column, book).all()
    assert torch.equal(method.quantiser.book.gather(1, method.codes(discs).T).T, latents)


def test_without_quantisation_codes_are_as_many_as_items(discs):
    method = build(quantise=False)
    assert method.parts()[0].classes is None
    assert "quantiser" not in dict(method.named_children())
    assert set(method.loss(discs, At())) == {"reconstruction"}
    assert all(len(column.unique()) > 700 for column in method.encode(discs)["latents"].T)


@pytest.mark.parametrize(
    ("term", "moves"),
    [("reconstruction", {"encoder", "decoder"}), ("quantisation", {"quantiser"}), ("commitment", {"encoder"})],
)
def test_each_loss_moves_only_its_own(discs, term, moves):
    method = build()
    raw = method.loss(discs, At())[term]
    raw = raw[1] if isinstance(raw, tuple) else raw
    names, parameters = zip(*method.named_parameters(), strict=True)
    gradients = torch.autograd.grad(raw.mean(), parameters, allow_unused=True)
    moved = {
        name.split(".")[0] for name, g in zip(names, gradients, strict=True) if g is not None and bool((g != 0).any())
    }
    assert moved == moves


def test_losses_by_their_formulas(discs):
    method = build(quantisation=0.5, commitment=0.25)
    terms = method.loss(discs, At())
    x, pre = discs["x"].double(), method.encoder(discs["x"])
    values = method.quantiser.values.detach()
    nearest = torch.stack([values[i][(pre[:, i, None] - values[i]).abs().argmin(1)] for i in range(len(values))], 1)
    p = method.decoder(nearest).sigmoid().double()
    cross = -(x * p.log() + (1 - x) * (1 - p).log()).mean((1, 2, 3))
    torch.testing.assert_close(terms["reconstruction"].double(), cross, atol=1e-5, rtol=1e-5)
    for name, weight in (("quantisation", 0.5), ("commitment", 0.25)):
        assert terms[name][0] == weight
        torch.testing.assert_close(terms[name][1], (pre - nearest).square().mean(1))


@pytest.mark.parametrize("network", ["style", "small", "conv", "mlp"])
def test_biases_and_books_are_not_regularised(network):
    method = build(network=network)
    optim = method.stages()[0].updates[0].optim
    assert (optim.weight_decay, optim.clip.kind, optim.clip.limit) == (0.1, "value", 1.0)
    assert (UNREGULARISED.weight_decay, UNREGULARISED.clip) == (0.0, None)
    free = {name for name, _ in method.named_parameters() if re.search(UNREGULARISED.match, name)}
    expected = {n for n, p in method.named_parameters() if n == "quantiser.values" or n.endswith(".bias")}
    assert free == expected
    if network == "style":
        assert "decoder.constant" not in free
        assert "encoder.1.weight" not in free


class Steep(QLAE):
    """QLAE with gradients well above 1."""

    def loss(self, batch, at):
        return {name: (1000.0, t[1] if isinstance(t, tuple) else t) for name, t in super().loss(batch, at).items()}


def test_clipping_and_decay_by_their_formulas():
    lr, decay = 1e-2, 0.5
    changes = {"network": "mlp", "optim.lr": lr, "optim.weight_decay": decay}
    torch.manual_seed(0)
    method = Steep(override(QLAE.Config(), {**QLAE.presets["tiny"], **changes}), Fields(x=Field((6,), unit=True)))
    batches = [{"x": torch.rand(8, 6)} for _ in range(4)]
    theta = {n: p.detach().clone().double() for n, p in method.named_parameters()}
    m, v = ({n: torch.zeros_like(p) for n, p in theta.items()} for _ in "mv")
    twin, biggest = Steep(method.config, method.fields), 0.0
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    for t, batch in enumerate(batches, start=1):
        stepper.step(batch, t - 1)
        twin.load_tensors({n: p.float() for n, p in theta.items()})
        total = sum(w * raw.mean() for w, raw in twin.loss(batch, At()).values())
        for (n, p), g in zip(theta.items(), torch.autograd.grad(total, list(twin.parameters())), strict=True):
            regularised = not (n.endswith("bias") or n == "quantiser.values")
            g = g.double()
            biggest = max(biggest, float(g.abs().max()) if regularised else 0.0)
            g = g.clamp(-1, 1) if regularised else g
            m[n], v[n] = 0.9 * m[n] + 0.1 * g, 0.999 * v[n] + 0.001 * g**2
            adam = (m[n] / (1 - 0.9**t)) / ((v[n] / (1 - 0.999**t)).sqrt() + 1e-8)
            p -= lr * (adam + (decay * p if regularised else 0))
    assert biggest > 2
    for n, p in method.named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), theta[n].numpy(), atol=2e-5, err_msg=n)


def test_books_of_different_sizes():
    method = build(latents=3, values="2,5,3")
    ids = method.quantiser(torch.linspace(-2, 2, 60).reshape(20, 3)).ids
    assert [len(column.unique()) for column in ids.T] == [2, 5, 3]
    assert method.parts()[0].classes == 5
    z = method.quantiser(torch.full((1, 3), 9.0)).quantised
    assert torch.equal(z, torch.full((1, 3), 0.5))


@pytest.mark.parametrize("wrong", ["2,5", "2,5,0", "0"])
def test_a_number_of_values_for_each_latent(wrong):
    with pytest.raises(ConfigError, match="values"):
        build(latents=3, values=wrong)
