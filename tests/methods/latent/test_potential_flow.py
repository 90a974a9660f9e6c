from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import Alone, At
from unbraid.data.digits import digits
from unbraid.data.made.blocks import Blocks
from unbraid.data.made.tiny import tiny_images, tiny_vectors
from unbraid.losses.potential import rollout
from unbraid.methods.latent.ae import AE
from unbraid.methods.latent.potential.flow import PotentialFlow
from unbraid.methods.latent.potential.generator import Generator
from unbraid.methods.latent.potential.sefa import closed_form
from unbraid.methods.latent.qlae import QLAE
from unbraid.methods.latent.vae import VAE
from unbraid.nets.generator import BlockGenerator
from unbraid.standins.generator import SmallGenerator
from unbraid.testing import check_method
from unbraid.training.build import build, stand_in
from unbraid.training.fit import fit


class Linear(nn.Module):
    """A generator that is a matrix."""

    def __init__(self, width=8, outputs=32):
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.randn(outputs, width))

    def forward(self, z):
        return z @ self.weight.T


def made(data=None, generator=None, **changes):
    data = data or Blocks(rows=40)
    config = override(PotentialFlow.Config(), {**PotentialFlow.presets["tiny"], **changes})
    given = {"generator": generator} if generator is not None else stand_in(PotentialFlow, data, 0)
    return build(PotentialFlow, config, data.fields, given=given), data


@pytest.mark.parametrize("name", ["", *PotentialFlow.aliases])
def test_contract(name):
    changes = {**PotentialFlow.aliases.get(name, {}), **PotentialFlow.presets["tiny"]}
    check_method(PotentialFlow, config=override(PotentialFlow.Config(), changes))


def test_the_loss_is_the_sum_of_its_four_terms():
    generator = Linear()
    for seed in range(4):  # with and without the mirror
        method, _ = made(generator=generator, times=6, classify=2.0, physics=0.5)
        terms = method.flow_loss({}, At(generator=torch.Generator().manual_seed(seed)))
        g = torch.Generator().manual_seed(seed)
        z = torch.randn((8, 8), generator=g)
        k, t0, mirrored = (int(torch.randint(n, (), generator=g)) for n in (3, 2, 2))
        rolled = rollout(partial(method.field, which=k), method.field.speed[k], z, 3, Alone())
        one, two = rolled.path[t0 + 1], rolled.path[t0 + 2]
        pair = (2 * z - two, 2 * z - one) if mirrored else (one, two)
        logits = method.reader(*(generator(codes) for codes in pair))[:, :3]
        expected = {
            "class": (2.0, cross_entropy(logits, torch.full((8,), k), reduction="none")),
            "initial": (0.5, rolled.initial),
            "residual": (0.5, rolled.residual),
            "variation": (-0.5, ((two - one) @ generator.weight.T).square().mean(1)),
        }
        assert set(terms) == set(expected)
        for name, (weight, raw) in expected.items():
            assert terms[name][0] == weight
            torch.testing.assert_close(terms[name][1], raw)


def test_without_the_mirror_there_is_none():
    generator = Linear()
    seen = []
    for mirror in (True, False):
        method, _ = made(generator=generator, mirror=mirror)
        at = At(generator=torch.Generator().manual_seed(1))  # draws a mirrored pair
        seen.append(method.flow_loss({}, at)["class"][1])
    assert not torch.allclose(*seen)


def test_a_flat_potential_leaves_codes_where_they_are():
    method, data = made()
    with torch.no_grad():
        method.field.read.weight.zero_()
    terms = method.flow_loss({}, At())
    assert all(terms[name][1].abs().max() == 0 for name in ("initial", "residual", "variation"))
    batch = data.take(torch.arange(5))
    torch.testing.assert_close(method.eval().edit(batch, "potentials[1]", 3.0), batch["x"])


@pytest.mark.parametrize("paths", ["linear", "warped"])
def test_moves_of_other_paths_are_told_with_their_length(paths):
    method, _ = made(generator=Linear(), paths=paths, reach=(0.5, 1.0))
    terms = method.shift_loss({}, At(generator=torch.Generator().manual_seed(2)))
    g = torch.Generator().manual_seed(2)
    z, k = torch.randn((8, 8), generator=g), torch.randint(3, (8,), generator=g)
    length = (0.5 + 0.5 * torch.rand(8, generator=g)) * (2 * torch.randint(2, (8,), generator=g) - 1)
    z.requires_grad_()
    (ahead,) = torch.autograd.grad(method.field(z, torch.zeros(1), k).sum(), z)
    ahead = ahead / ahead.norm(dim=1, keepdim=True)
    read = method.reader(method.generator(z), method.generator(z + length[:, None] * ahead))
    torch.testing.assert_close(terms["class"][1], cross_entropy(read[:, :3], k, reduction="none"))
    torch.testing.assert_close(terms["size"], (0.25, (read[:, 3] - length).abs()))


def test_codes_flow_and_flow_back():
    method, data = made(count=2)
    method.eval()
    parts = method.encode(data.take(torch.arange(6)))
    path = method.roll(parts, "potentials[1]", 3)
    z = parts["latents"]
    for step in range(3):
        z = z.detach().requires_grad_()
        (move,) = torch.autograd.grad(method.field(z, torch.tensor([float(step)]), 1).sum(), z)
        z = z + move
        torch.testing.assert_close(path[step]["latents"], z)
    torch.testing.assert_close(path[2]["potentials"][:, 1], method.field(z, torch.zeros(1), 1))
    back = method.roll(parts, "potentials[1]", -1)[0]["latents"]
    torch.testing.assert_close(back - parts["latents"], parts["latents"] - path[0]["latents"])
    whole = method.edit(data.take(torch.arange(6)), "potentials[1]", 2.0)
    torch.testing.assert_close(whole, method.decode(path[1]))
    half = method.edit(data.take(torch.arange(6)), "potentials[1]", 1.5)
    between = (path[0]["latents"] + path[1]["latents"]) / 2
    torch.testing.assert_close(half, method.generator(between))
    with pytest.raises(ConfigError, match="did you mean 'potentials"):
        method.roll(parts, "potentials[7]", 1)


def test_steps_of_one_length():
    method, _ = made()
    path = method.path(torch.randn(5, 8), 0, 4, 0.3, unit=True)
    torch.testing.assert_close(path.diff(dim=0).norm(dim=2), torch.full((4, 5), 0.3))


def test_truncated_codes_are_normal_within():
    method, _ = made(batch=4000, truncation=1.0)
    z = method.start({}, At())
    assert z.abs().max() <= 1
    assert z.std() == pytest.approx(0.54, abs=0.01)  # of a standard normal number within 1 of 0


def test_the_closed_form_is_that_of_the_first_weight_or_of_the_jacobian():
    fields = Fields(x=Field((6,)))
    layer = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    found = closed_form(Generator(layer, fields, 4), 2, torch.Generator())
    _, _, axes = torch.linalg.svd(layer[0].weight)
    torch.testing.assert_close((found @ axes[:2].T).abs(), torch.eye(2), atol=1e-5, rtol=0)
    plain = Linear(4, 6)
    found = closed_form(Generator(plain, fields), 2, torch.Generator())
    torch.testing.assert_close((found @ torch.linalg.svd(plain.weight)[2][:2].T).abs(), torch.eye(2), atol=1e-5, rtol=0)
    method, data = made(generator=layer, data=tiny_vectors(width=6), paths="sefa", count=3, latents=4)
    fit(method, data, seed=0)
    assert method.field.directions.shape == (3, 4)


@pytest.mark.parametrize("cls", [VAE, AE, QLAE])
def test_a_method_of_ours_is_a_generator(cls):
    data = tiny_images()
    config = override(cls.Config(), {"latents": 5, "network": "mlp", "width": 16, "steps": 5})
    inner = build(cls, config, data.fields)
    method, _ = made(data, inner, reader="lenet")
    assert method.prior == (cls is VAE)
    fit(method, data, seed=0)
    batch = data.take(torch.arange(4))
    parts = method.encode(batch)
    torch.testing.assert_close(parts["latents"], inner.encode(batch)["latents"])
    torch.testing.assert_close(method.decode(parts), inner.decode(inner.encode(batch)))
    assert method.edit(batch, "potentials[0]", -1.0).shape == batch["x"].shape
    assert not any(name.startswith("generator") for name in method.tensors())
    if cls is VAE:
        assert method.sample(3, torch.Generator()).shape == (3, *data.fields["x"].shape)


def test_codes_of_the_mapping_and_scores_of_factors():
    class Mapped(BlockGenerator):
        def mapping(self, z):
            return z + 10

    class Scorer(nn.Module):
        def forward(self, x):
            return x[:, ::8]

    method, data = made(generator=Mapped(8, 32))
    assert method.start({}, At()).mean() > 9
    method = build(
        PotentialFlow, method.config, data.fields, given={"generator": BlockGenerator(8, 32), "scorer": Scorer()}
    )
    found = method.eval().examine(data)
    assert found.arrays["correlation of steps and factors"].shape == (3, 4)
    assert 0 < found.numbers["correlation"] <= 1


def test_a_small_vae_takes_the_place_of_a_generator_of_images():
    data, small = digits(split="train"), SmallGenerator(width=4, hidden=32, steps=60, lr=5e-3)
    net = small.make(data, 0)
    x = data.take(torch.arange(200))["x"]
    with torch.no_grad():
        drawn, untrained = net.bound(x).mean(), small.shape(data.fields).bound(x).mean()
    assert drawn < 0.8 * untrained
    assert net.infer(x).shape == (200, 4)
    assert torch.equal(small.make(data, 0).infer(x), net.infer(x))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paths": "sefa", "count": 9}, "at most 8 paths"),
        ({"times": 3}, "times: expected a whole number from 4 on"),
        ({"reach": (0.5, 0.2)}, "reach"),
        ({"truncation": 0.0}, "truncation"),
    ],
)
def test_what_is_wrong_is_said(changes, said):
    with pytest.raises(ConfigError, match=said):
        made(**changes)


def test_generators_that_will_not_do():
    data = Blocks(rows=10)

    class Still(Linear):
        @torch.no_grad()
        def forward(self, z):
            return super().forward(z)

    with pytest.raises(ConfigError, match="gradients flow through"):
        made(data, Still())
    with pytest.raises(DataError, match="as the generator makes them"):
        made(data, Linear(8, 31))
    with pytest.raises(ConfigError, match="latents=N"):
        made(tiny_vectors(), nn.Linear(4, 12))
    with pytest.raises(DataError, match="codes of the items"):
        made(tiny_vectors(), nn.Linear(4, 12), latents=4)[0].encode(tiny_vectors().take(torch.arange(2)))
    inner = build(AE, override(AE.Config(), {"network": "mlp", "width": 8}), tiny_images().fields)
    with pytest.raises(ConfigError, match="draw=data"):
        made(tiny_images(), inner, draw="prior")
    with pytest.raises(ConfigError, match="only decodes"):
        made(tiny_images(), inner)[0].sample(2, torch.Generator())
