import pytest
import torch

from unbraid.nets.denoiser import Denoiser, MLPDenoiser, UNetDenoiser, time_embedding
from unbraid.ops.diffusion import Noise, linear_betas


def test_the_embedding_tells_every_step_from_every_other():
    rows = time_embedding(torch.arange(1000), 32)
    assert rows.shape == (1000, 32)
    assert torch.pdist(rows).min() > 0.05
    assert torch.equal(rows[0], torch.cat([torch.ones(16), torch.zeros(16)]))


@pytest.mark.parametrize("size", [16, 28])
def test_a_unet_keeps_the_size_and_starts_at_no_noise(size):
    torch.manual_seed(0)
    net = UNetDenoiser(3, size, code=5, width=8, factors=(1, 2, 2), blocks=1, attention=(8, 7), heads=2)
    x, t, code = torch.randn(2, 3, size, size), torch.tensor([0, 9]), torch.randn(2, 5)
    assert torch.equal(net(x, t, code), torch.zeros_like(x))
    assert sum(p.numel() for p in net.parameters()) > 1000


@pytest.mark.parametrize("made", ["unet", "mlp"])
def test_step_and_code_matter_and_items_do_not_mix(made):
    torch.manual_seed(0)
    shape = (1, 12, 12)
    net = (
        UNetDenoiser(1, 12, 4, width=8, factors=(1, 2), blocks=1, attention=(6,), heads=2)
        if made == "unet"
        else MLPDenoiser(Noise.of(linear_betas(20)), shape, 4, width=16)
    ).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    x, t, code = torch.randn(3, *shape), torch.tensor([1, 5, 5]), torch.randn(3, 4)
    out = net(x, t, code)
    assert not torch.allclose(out, net(x, t + 1, code))
    assert not torch.allclose(out, net(x, t, code + 1))
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1], code[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(out, alone, rtol=1e-3, atol=1e-4)


def test_attention_is_a_mean_over_all_positions():
    from unbraid.nets.denoiser import Attention

    torch.manual_seed(0)
    layer = Attention(4, 2)
    torch.nn.init.zeros_(layer.ask.weight[:8])
    torch.nn.init.zeros_(layer.ask.bias)
    torch.nn.init.eye_(layer.answer.weight[:, :, 0])
    x = torch.randn(1, 4, 3, 3)
    values = layer.ask(layer.norm(x).flatten(2)).reshape(1, 3, 2, 2, 9)[:, 2].flatten(1, 2)
    expected = x + values.mean(2)[..., None, None]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def halves(made):
    torch.manual_seed(0)
    if made == "unet":
        return UNetDenoiser(1, 12, 0, width=8, factors=(1, 2), blocks=1, attention=(6,), heads=2)
    return MLPDenoiser(Noise.of(linear_betas(20)), (1, 12, 12), 0, width=16)


@pytest.mark.parametrize("made", ["unet", "mlp"])
@torch.no_grad()
def test_a_shift_says_nothing_at_first_and_then_goes_by_its_code(made):
    net = halves(made)
    assert isinstance(net, Denoiser)
    shift = net.shift(5)
    half = net.first(torch.randn(3, 1, 12, 12), torch.tensor([1, 5, 19]))
    assert not shift(half, torch.randn(3, 5)).any()
    for p in shift.parameters():
        torch.nn.init.normal_(p, std=0.2)
    one, other = shift(half, torch.zeros(3, 5)), shift(half, torch.ones(3, 5))
    assert one.shape == half.x.shape
    assert not torch.allclose(one, other)


@torch.no_grad()
def test_a_unet_s_shift_with_the_weights_of_the_second_half_and_a_code_that_does_nothing_is_the_second_half():
    net = halves("unet")
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    shift = net.shift(5)
    shift.second.load_state_dict(net.second.state_dict(), strict=False)
    for stack in (*shift.second.middle, *shift.second.up):
        for p in stack.code.parameters():
            torch.nn.init.zeros_(p)
    half = net.first(torch.randn(2, 1, 12, 12), torch.tensor([1, 5]))
    torch.testing.assert_close(shift(half, torch.randn(2, 5)), net.rest(half))


@torch.no_grad()
def test_what_a_perceptron_s_shift_adds_moves_the_clean_item_in_guided_sampling():
    net = halves("mlp")
    shift = net.shift(5)
    torch.nn.init.constant_(shift.second.net.read.bias, 0.3)
    x, t = torch.randn(3, 1, 12, 12), torch.tensor([0, 5, 12])
    half = net.first(x, t)
    frozen, g = net.rest(half), shift(half, torch.zeros(3, 5))
    guided = frozen - (1 - net.noise.at(t, x)).sqrt() * g
    moved = net.noise.clean(x, t, guided) - net.noise.clean(x, t, frozen)
    torch.testing.assert_close(moved, torch.full_like(x, 0.3), rtol=1e-3, atol=1e-3)
