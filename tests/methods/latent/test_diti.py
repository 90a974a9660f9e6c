import pytest
import torch
from torch import nn

from unbraid.core.catalog import find
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.data.factors import FactorTable
from unbraid.data.made.grain import Grain
from unbraid.data.made.tiny import tiny_vectors
from unbraid.methods.latent.diti import DiTi, allotment
from unbraid.nets.denoiser import MLPDenoiser
from unbraid.ops.diffusion import Noise, linear_betas
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper


def made(data=None, given=None, **changes):
    data = data or Grain(rows=40, size=8)
    config = override(DiTi.Config(), {**DiTi.presets["tiny"], **changes})
    return build(DiTi, config, data.fields, given=Given(given or {})), data


def stirred(method):
    """With weights that make everything matter."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in method.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    return method


def batch_of(data, n=12):
    return data.take(torch.arange(n))


def drawn(method, x, seed=5):
    """The steps and the noise that a loss draws."""
    g = torch.Generator().manual_seed(seed)
    t = torch.randint(method.config.noises, (len(x),), generator=g)
    return t, torch.randn(x.shape, generator=g)


def at(seed=5):
    return At(generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_weighted_error_of_the_shifted_noise():
    method, data = made()
    stirred(method)
    x = 2 * batch_of(data)["x"] - 1
    t, noise = drawn(method, x)
    betas = torch.linspace(0.01, 2.0, 10, dtype=torch.float64).clamp(max=0.999)
    kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
    expected = []
    for i in range(12):
        k, before = kept[t[i] + 1], kept[t[i]]
        noisy = (k.sqrt() * x[i] + (1 - k).sqrt() * noise[i]).float()[None]
        half = method.denoiser.first(noisy, t[i : i + 1])
        z = method.core.encoder(x[i : i + 1]).clone()
        z[:, method.allotment.ends[int(t[i] * 3 // 10)] :] = 0
        g = method.core.shift(half, z)[0].double()
        shifted = method.denoiser.rest(half)[0] - (k / before).sqrt() * (1 - before) / (1 - k).sqrt() * g
        ratio = k / (1 - k)
        expected.append(ratio**0.1 / (1 + ratio) * (noise[i] - shifted).square().mean())
    terms = method.loss(batch_of(data), at())
    torch.testing.assert_close(terms["base"], torch.stack(expected).float(), rtol=1e-3, atol=1e-4)


def test_the_denoiser_learns_the_noise():
    method, data = made()
    stirred(method)
    x = 2 * batch_of(data)["x"] - 1
    t, noise = drawn(method, x)
    found = method.denoiser(method.noise.q(x, t, noise), t, None)
    expected = (found - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(method.denoising(batch_of(data), at())["noise"], expected)


def test_modes_have_one_loss_and_other_gradients():
    (base, data), (stop, _), (dual, _) = (made(mode=mode) for mode in ("base", "stop_grad", "dual"))
    for method in (base, stop, dual):
        stirred(method)
    one, two, both = (method.loss(batch_of(data), at()) for method in (base, stop, dual))
    assert torch.equal(one["base"], two["stop_grad"])
    assert torch.equal(both["base"], both["stop_grad"])
    t, _ = drawn(base, batch_of(data)["x"])
    for i in range(12):
        group = int(base.group[t[i]])
        slopes = []
        for method, loss in ((base, one["base"]), (stop, two["stop_grad"])):
            (slope,) = torch.autograd.grad(loss[i], [method.core.encoder.read.bias], retain_graph=True)
            slopes.append(slope)
        start, end = base.allotment.starts[group], base.allotment.ends[group]
        assert not slopes[0][end:].any()
        assert not slopes[1][:start].any()
        assert torch.equal(slopes[0][start:end], slopes[1][start:end])
        if t[i]:
            assert slopes[0][:end].all()


def test_the_first_step_teaches_nothing():
    method, data = made()
    stirred(method)
    assert method.shift[0] == 0
    t = torch.zeros(12, dtype=torch.long)
    x = 2 * batch_of(data)["x"] - 1
    half, frozen = method._frozen(x, t)
    g = method.core.shift(half, method.condition(method.core.encoder(x), t))
    slopes = torch.autograd.grad(method.errors(torch.zeros_like(x), frozen, g, t).sum(), list(method.core.parameters()))
    assert not any(slope.any() for slope in slopes)


def test_the_second_stage_holds_the_denoiser_still_and_it_does_not_see_the_code():
    method, data = made()
    stirred(method)
    encode = method.stages()[2]
    before = {name: v.clone() for name, v in method.tensors().items()}
    Stepper(method, encode, seed=0, steps=9).step(batch_of(data), 0)
    moved = {name.split(".")[0] for name, v in method.tensors().items() if not torch.equal(v, before[name])}
    assert moved == {"core", "average"}
    half, frozen = method._frozen(torch.randn(3, 1, 8, 8), torch.tensor([1, 4, 9]))
    assert not frozen.requires_grad
    assert not half.h.requires_grad


def test_averages_follow_and_are_kept():
    method, data = made()
    stages = method.stages()
    assert [stage.name for stage in stages] == ["denoise", "keep", "encode", "average"]
    before = [p.clone() for p in method.pretrained.twin.parameters()]
    Stepper(method, stages[0], seed=0, steps=9).step(batch_of(data), 0)
    for old, new, mean in zip(before, method.denoiser.parameters(), method.pretrained.twin.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.5 * old + 0.5 * new.detach())
    fit(method, data, seed=0)
    for kept, mean in (
        *zip(method.denoiser.parameters(), method.pretrained.twin.parameters(), strict=True),
        *zip(method.core.parameters(), method.average.twin.parameters(), strict=True),
    ):
        assert torch.equal(kept, mean)


def test_parts_are_the_stretches_of_the_code():
    method, data = made()
    assert [(spec.name, spec.shape) for spec in method.parts()] == [("t_0", (2,)), ("t_1", (2,)), ("t_2", (2,))]
    parts = method.encode(batch_of(data))
    assert torch.equal(method.code(parts), method.core.encoder(2 * batch_of(data)["x"] - 1))


def test_pdae_has_one_part_that_every_step_sees():
    entry = find("pdae")
    config = override(override(DiTi.Config(), DiTi.presets["tiny"]), entry.overrides)
    method = build(DiTi, config, Grain(rows=4, size=8).fields)
    assert [(spec.name, spec.shape) for spec in method.parts()] == [("t_0", (6,))]
    z = torch.randn(10, 6)
    assert torch.equal(method.condition(z, torch.arange(10)), z)
    assert torch.equal(method.condition(z, torch.arange(10), "stop_grad"), z)


@torch.no_grad()
def test_guided_steps_are_plain_ones_while_the_shift_says_nothing():
    method, _ = made()
    for p in method.denoiser.parameters():
        nn.init.normal_(p, std=0.3)
    noise, z = torch.randn(3, 1, 8, 8), torch.randn(3, 6)
    plain = method.sample(3, torch.Generator().manual_seed(1))
    again = method.draw(z, torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(1)))
    assert torch.equal(plain, again)
    stirred(method)
    assert not torch.allclose(method.draw(z, noise), method.draw(0 * z, noise))
    assert method.draw(z, noise).min() >= 0
    assert method.draw(z, noise).max() <= 1


@pytest.fixture(scope="module")
def grown():
    more = {"noises": 100, "bounds": (40, 100), "drawn": 50, "pretrain": 250, "steps": 400, "width": 64, "batch": 32}
    more |= {"code": 12, "shares": (4, 8)}
    data = Grain(rows=200, size=8)
    method, _ = made(data, **{**more, "optim.lr": 3e-3, "pretrain_optim.lr": 3e-3, "average": 0.9})
    fit(method, data, seed=0)
    return method.eval(), data


def test_the_code_brings_the_noise_nearer_and_images_come_back(grown):
    method, data = grown
    ranges = method.ranges()
    left = method.left(data, ranges)
    assert (left[:, 0] < left[:, 1]).all()
    batch = batch_of(data, 40)
    with torch.no_grad():
        z = method.code(method.encode(batch))
        back = method.draw(z, method.invert(batch["x"], z))
        decoded = method.decode(method.encode(batch))
    spread = (batch["x"] - batch["x"].mean(0)).square().mean()
    assert (back - batch["x"]).square().mean() < 0.1 * spread
    assert (decoded - batch["x"]).square().mean() < 0.8 * (decoded.flip(0) - batch["x"]).square().mean()


def test_manipulating_moves_the_attribute_and_other_strengths_the_other_way(grown):
    method, data = grown
    more, less = (method.manipulate("shade_0=light", data, strength=s, items=20).images[20:] for s in (1.0, -1.0))
    assert (more[..., :4, :4] - less[..., :4, :4]).mean() > 0.05
    moved = (more - less).abs()
    assert moved[..., :4, :4].mean() > moved[..., 4:, 4:].mean()
    assert method.manipulate("shade_0", data, items=3).labels == ["as it is"] * 3 + ["shade_0 +0.3"] * 3


def test_interpolating_goes_from_one_item_towards_the_other(grown):
    method, data = grown
    pictures = method.interpolate("shade_1", data, one=3, other=9, steps=4)
    assert pictures.images.shape == (6, 1, 8, 8)
    x = data.take(torch.tensor([3, 9]))["x"]
    assert torch.equal(pictures.images[[0, -1]], x)
    assert (pictures.images[1] - x[0]).square().mean() < 0.02
    whole = method.interpolate("shade_1", data, one=3, other=9, steps=4, share=1.0)
    assert whole.labels[1] == "t_0+t_1+t_2, 0.00"
    assert (whole.images[-2] - x[1]).square().mean() < (whole.images[1] - x[1]).square().mean()


def test_the_fewest_parts_that_hold_the_weight_are_chosen():
    method, _ = made()
    weights = torch.tensor([3.0, 0.0, 1.0, 0.0, 0.0, 2.0])  # squares by part: 9, 1, 4
    assert [method.chosen(weights, share).tolist() for share in (0.5, 0.9, 1.0)] == [[0], [0, 2], [0, 1, 2]]


def test_an_examination_reads_every_attribute_from_every_range(grown):
    method, data = grown
    found = method.examine(data)
    assert found.numbers["error left"] < 1
    assert found.numbers["average precision of shade_0"] > 0.8
    columns = found.tables["ranges of steps"].columns
    assert columns["steps"] == ["0-66", "67-99"]
    assert columns["numbers"] == [4, 8]
    assert len(columns["weave_3"]) == 2
    bare = MemoryDataset("bare", data.take(torch.arange(30))["x"], unit=True)
    assert list(method.examine(bare).numbers) == ["error left"]


def test_ranges_are_stages_or_eighths_of_the_groups():
    published = DiTi.Config()
    widths = allotment(published).widths
    method, _ = made(groups=20, code=40, map="balanced", noises=100)
    assert len(method.ranges()) == 8
    assert method.ranges()[0] == (0, 2)
    assert method.ranges()[-1][1] == 20
    assert len(widths) == 64
    assert sum(widths) == 512


def test_a_given_denoiser_is_held_still_and_left_out_of_the_run():
    net = MLPDenoiser(Noise.of(linear_betas(10)), (1, 8, 8), 0, 16)
    method, data = made(given={"denoiser": net})
    before = [p.clone() for p in net.parameters()]
    assert [stage.name for stage in method.stages()] == ["encode", "average"]
    fit(method, data, seed=0)
    assert not any(p.requires_grad for p in net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert not any(name.startswith(("denoiser", "pretrained")) for name in method.tensors())
    again, _ = made(given={"denoiser": method})
    assert again.net is net


class Bare(MLPDenoiser):
    """One that does not know its schedule."""

    def __init__(self):
        super().__init__(Noise.of(linear_betas(10)), (1, 8, 8), 0, 16)
        self.noise = None


@pytest.mark.parametrize(
    ("net", "error", "said"),
    [
        (
            MLPDenoiser(Noise.of(linear_betas(12)), (1, 8, 8), 0, 16),
            ConfigError,
            "a denoiser of 10 steps of noise, got 12",
        ),
        (MLPDenoiser(Noise.of(linear_betas(10)), (3, 8, 8), 0, 16), DataError, "images that the denoiser takes"),
        (nn.Linear(2, 2), ConfigError, "knows its schedule"),
        (Bare(), ConfigError, "knows its schedule"),
    ],
)
def test_a_denoiser_that_does_not_fit_is_refused(net, error, said):
    with pytest.raises(error, match=said):
        made(given={"denoiser": net})


def test_a_pipeline_of_diffusers_is_taken():
    diffusers = pytest.importorskip("diffusers")
    from unbraid.nets.pretrained import PretrainedUNet

    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (4,)}
    more = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 2}
    net = diffusers.UNet2DModel(**blocks, **more, add_attention=False)
    scheduler = diffusers.DDPMScheduler(10, beta_schedule="squaredcos_cap_v2")
    method, data = made(given={"denoiser": PretrainedUNet(net, scheduler)}, steps=2)
    torch.testing.assert_close(method.noise.kept.float(), scheduler.alphas_cumprod)
    fit(method, data, seed=0)
    assert method.decode(method.encode(batch_of(data, 2))).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": 0}, "groups: expected 1 or more"),
        ({"groups": 7, "map": "balanced"}, "at most 10 steps and 6 numbers"),
        ({"bounds": (4, 9)}, "rising steps up to 10"),
        ({"bounds": (10, 10)}, "rising steps up to 10"),
        ({"shares": (2, 5)}, "2 numbers with the sum 6"),
        ({"shares": (6,)}, "2 numbers with the sum 6"),
        ({"shares": (5, 1)}, "a number for each"),
        ({"bounds": (5, 6, 10), "shares": (2, 2, 2)}, "a group of steps or more in each stage"),
    ],
)
def test_options_that_do_not_go_together_are_said(changes, said):
    with pytest.raises(ConfigError, match=said):
        made(**changes)


def test_data_must_be_images_and_attributes_must_be_there(grown):
    with pytest.raises(DataError, match="images"):
        made(tiny_vectors())
    with pytest.raises(DataError, match="as high as wide"):
        made(MemoryDataset("wide", torch.rand(4, 1, 8, 12), unit=True), network="unet")
    with pytest.raises(DataError, match="from 0 to 1"):
        build(DiTi, override(DiTi.Config(), DiTi.presets["tiny"]), Fields(x=Field((1, 8, 8))))
    method, data = grown
    with pytest.raises(ConfigError, match="did you mean 'shade"):
        method.manipulate("shade", data)
    with pytest.raises(ConfigError, match="a value of shade_0"):
        method.manipulate("shade_0=grey", data)
    with pytest.raises(ConfigError, match="positions 0 to 199"):
        method.interpolate("shade_0", data, other=200)


def test_attributes_of_several_values_are_one_against_the_rest_and_numbers_above_their_median(grown):
    method, data = grown
    x = data.take(torch.arange(60))["x"]
    columns = {"hue": ["red", "green", "blue"] * 20, "age": list(torch.rand(60).tolist()), "alike": [1.5] * 60}
    table = FactorTable.from_columns(columns, {"age": "continuous", "alike": "continuous"})
    more = MemoryDataset("more", x, table, unit=True)
    assert method.manipulate("hue=red", more, items=2).images.shape == (4, 1, 8, 8)
    assert method.manipulate("age", more, items=2).images.shape == (4, 1, 8, 8)
    with pytest.raises(ConfigError, match="hue=VALUE, got 'hue'"):
        method.manipulate("hue", more)
    with pytest.raises(DataError, match="with and without alike"):
        method.manipulate("alike", more)


def test_the_published_networks_train():
    small = {"network": "unet", "width": 8, "factors": (1, 2), "blocks": 1, "attention": (4,)}
    method, data = made(**small, pretrain=2, steps=2)
    lines = fit(method, data, seed=0)
    assert [set(line["terms"]) for line in lines] == [{"denoise/noise"}] * 2 + [{"encode/base"}] * 2
