import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.nets.pretrained import PretrainedUNet

diffusers = pytest.importorskip("diffusers")

SMALL = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}


def unet(**changes):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(**{**SMALL, **changes}).eval()


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


CASES = [{}, {"resnet_time_scale_shift": "scale_shift"}, {"add_attention": False}, {"center_input_sample": True}]


@pytest.mark.parametrize("changes", [*CASES, {"out_channels": 6}])
@torch.no_grad()
def test_the_halves_are_the_whole(changes):
    net, x, t = unet(**changes), seeded(2, 3, 8, 8), torch.tensor([3, 40])
    ours = PretrainedUNet(net, diffusers.DDPMScheduler(50))
    torch.testing.assert_close(ours.rest(ours.first(x, t)), net(x, t).sample[:, :3])


@pytest.mark.parametrize("changes", CASES)
@torch.no_grad()
def test_a_shift_with_the_weights_of_the_second_half_and_a_code_that_does_nothing_is_the_second_half(changes):
    net, x, t = unet(**changes), seeded(2, 3, 8, 8), torch.tensor([3, 40])
    ours = PretrainedUNet(net, diffusers.DDPMScheduler(50))
    shift, half, code = ours.shift(5), ours.first(x, t), seeded(2, 5)
    assert not shift(half, code).any()
    shift.second.load_state_dict(net.state_dict(), strict=False)
    assert not torch.allclose(shift(half, code), shift(half, 2 * code))
    for layer in shift.second.code:
        for p in layer.parameters():
            torch.nn.init.zeros_(p)
    torch.testing.assert_close(shift(half, code), net(x, t).sample)


def test_the_shift_is_new_and_the_denoiser_stays_as_it_was():
    net = unet()
    before = {name: p.clone() for name, p in net.named_parameters()}
    shift = PretrainedUNet(net.requires_grad_(False), diffusers.DDPMScheduler(50)).shift(5)
    assert all(p.requires_grad for p in shift.parameters())
    assert not torch.equal(shift.second.mid_block.resnets[0].conv1.weight, net.mid_block.resnets[0].conv1.weight)
    assert all(torch.equal(before[name], p) for name, p in net.named_parameters())


def test_the_schedule_is_the_scheduler_s():
    scheduler = diffusers.DDPMScheduler(50, beta_schedule="squaredcos_cap_v2")
    noise = PretrainedUNet(unet(), scheduler).noise
    assert len(noise) == 50
    torch.testing.assert_close(noise.kept.float(), scheduler.alphas_cumprod)


@pytest.mark.parametrize(
    ("net", "scheduler", "said"),
    [
        ({}, {"prediction_type": "v_prediction"}, "prediction_type v_prediction"),
        ({"num_class_embeds": 3}, {}, "classes True"),
        ({"time_embedding_type": "fourier"}, {}, "time embedding fourier"),
        ({"down_block_types": ("SkipDownBlock2D", "DownBlock2D")}, {}, "SkipDownBlock2D"),
    ],
)
def test_others_are_refused_in_one_line(net, scheduler, said):
    with pytest.raises(ConfigError, match=said):
        PretrainedUNet(unet(**net), diffusers.DDPMScheduler(50, **scheduler))
