import pytest
import torch

from unbraid.nets.denoiser import MLPDenoiser, UNetDenoiser, time_embedding
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
    from unbraid.nets.denoiser import _Attention

    torch.manual_seed(0)
    layer = _Attention(4, 2)
    torch.nn.init.zeros_(layer.ask.weight[:8])
    torch.nn.init.zeros_(layer.ask.bias)
    torch.nn.init.eye_(layer.answer.weight[:, :, 0])
    x = torch.randn(1, 4, 3, 3)
    values = layer.ask(layer.norm(x).flatten(2)).reshape(1, 3, 2, 2, 9)[:, 2].flatten(1, 2)
    expected = x + values.mean(2)[..., None, None]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
