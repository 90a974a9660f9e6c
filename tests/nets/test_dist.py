"""DiST's networks: which of them see what."""

import torch

from unbraid.nets.dist import DiST, Sizes, ToTemporal

SIZES = {
    "tokens": 6,
    "layers": 3,
    "patch": 4,
    "width": 16,
    "temporal": 5,
    "out": 3,
    "frames": 2,
    "pooling": 1,
    "heads": 2,
}


def made(**changes):
    torch.manual_seed(0)
    net = DiST(Sizes(**{**SIZES, **changes})).eval()
    net.reset(xavier=True)
    return net


def given(b=2, layers=3):
    return torch.rand(b, 4, 3, 8, 8), [torch.randn(b, 2, 5, 6) for _ in range(layers)]


def test_a_token_lasts_until_the_next_frame_is_seen():
    net = ToTemporal(6, 4, 3)
    m = torch.randn(2, 2, 5, 6)
    volume = net(m, (2, 2))
    assert volume.shape == (2, 4, 6, 2, 2)
    for frame in range(6):
        right = net.fuse(m[:, frame // 3, 1:]).mT.reshape(2, 4, 2, 2)
        torch.testing.assert_close(volume[:, :, frame], right)


def test_the_class_token_of_the_last_layer_is_what_is_spatial():
    x, layers = given()
    net = made()
    torch.testing.assert_close(net(x, layers).spatial, layers[-1][:, :, 0].mean(1))


def test_what_goes_in_comes_out_changed():
    x, layers = given()
    net = made()
    before = net(x, layers)
    after = net(x.flip(1), layers)
    assert not torch.allclose(before.integrated, after.integrated)
    assert not torch.allclose(before.temporal, after.temporal)
    other = net(x, [layers[0] + 1, *layers[1:]])
    assert not torch.allclose(before.temporal, other.temporal)  # through the exchange between layers


def test_without_the_temporal_encoder_frames_between_do_not_count():
    x, layers = given()
    net = made(temporal=0)
    found = net(x, layers)
    assert found.temporal is None
    torch.testing.assert_close(net(x.flip(1), layers).integrated, found.integrated)
    assert not any(name.startswith(("stem", "temporal", "to_")) for name, _ in net.named_parameters())


def test_without_any_branch_only_class_tokens_count():
    x, layers = given()
    net = made(temporal=0, layers=0, pooling=0)
    changed = [layers[0] + 1, layers[1], torch.cat([layers[2][:, :, :1], layers[2][:, :, 1:] + 1], 2)]
    torch.testing.assert_close(net(x, changed).integrated, net(x, layers).integrated)


def test_weights_are_drawn_as_the_authors_do():
    net = made(width=64, heads=1)
    net.reset(xavier=False)
    assert abs(float(net.integration[0].ffn[0].weight.detach().std()) - 0.02) < 0.002
    assert not net.inputs[0].bias.any()
    assert abs(float(net.out.detach().std()) - 64**-0.5) < 0.03
