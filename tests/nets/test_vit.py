"""The image transformer: what it equals, and what may be left out of sight."""

import pytest
import torch
from torch import nn

from unbraid.core.errors import ConfigError, ContractError
from unbraid.core.given import Hooked
from unbraid.nets.vit import Block, DropPath, ViT, image_of, patches_of, sincos2d, start_


def vit(**changes):
    torch.manual_seed(0)
    return ViT(**{"size": (8, 12), "patch": 4, "width": 16, "depth": 2, "heads": 4, **changes}).eval()


def test_a_block_is_torchs_encoder_layer():
    torch.manual_seed(0)
    ours = Block(16, 4, 2.0)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs.self_attn.in_proj_weight, theirs.self_attn.in_proj_bias = ours.qkv.weight, ours.qkv.bias
    theirs.self_attn.out_proj = ours.out
    theirs.linear1, theirs.linear2 = ours.mlp[0], ours.mlp[2]
    theirs.norm1, theirs.norm2 = ours.norm1, ours.norm2
    x = torch.randn(3, 7, 16)
    torch.testing.assert_close(ours(x), theirs(x))


def test_blocks_can_be_read_and_end_in_the_tokens():
    net = vit()
    tokens, seen = Hooked(net).run(torch.rand(5, 3, 8, 12), read=("blocks.0", "blocks.1"))
    assert seen["blocks.0"].shape == (5, 1 + 6, 16)
    last = net.norm(seen["blocks.1"])
    torch.testing.assert_close(tokens.cls, last[:, 0])
    torch.testing.assert_close(tokens.patches, last[:, 1:])


def test_patches_out_of_sight_do_not_count():
    net = vit()
    x = torch.rand(2, 3, 8, 12)
    keep = torch.tensor([[0, 4, 5], [2, 1, 3]])
    seen = net(x, keep)
    assert seen.patches.shape == (2, 3, 16)
    other = x.clone()
    other[0, :, :4, 4:] = 0  # patches 1 and 2 of the first image
    torch.testing.assert_close(net(other, keep).cls[0], seen.cls[0])
    assert not torch.allclose(net(other).cls[0], net(x).cls[0])
    everything = torch.arange(6).expand(2, -1)
    torch.testing.assert_close(net(x, everything).patches, net(x).patches)


def test_positions_by_formula():
    table = sincos2d((3, 5), 8).reshape(3, 5, 8)
    rate = torch.tensor([1.0, 0.01])
    torch.testing.assert_close(table[2, 4, :2], (2 * rate).sin())
    torch.testing.assert_close(table[2, 4, 2:4], (2 * rate).cos())
    torch.testing.assert_close(table[2, 4, 4:6], (4 * rate).sin())
    torch.testing.assert_close(table[2, 4, 6:], (4 * rate).cos())


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"patch": 5}, "patches that tile"), ({"width": 18}, "divisible by 4"), ({"heads": 5}, "5 heads")],
)
def test_sizes_that_do_not_fit(changes, says):
    with pytest.raises(ConfigError, match=says):
        vit(**changes)


def test_masked_patches_are_not_seen_but_their_places_are():
    net = vit(hides=True)
    x, masked = torch.rand(2, 3, 8, 12), torch.zeros(2, 2, 3, dtype=torch.bool)
    masked[:, 0, 1] = True
    other = x.clone()
    other[:, :, :4, 4:8] = 0
    torch.testing.assert_close(net(x, masked=masked).patches, net(other, masked=masked).patches)
    assert not torch.allclose(net(x).patches, net(other).patches)
    entering = net.layers(x, masked=masked)[0]
    torch.testing.assert_close(entering[0, 2], net.mask_token + net.positions[1])
    with pytest.raises(ContractError, match="hides=True"):
        vit()(x, masked=masked)


def test_images_of_another_size_have_their_places_between():
    net = vit(positions="learned")
    assert net(torch.rand(2, 3, 4, 8)).patches.shape == (2, 2, 16)
    with torch.no_grad():
        net.positions.copy_(torch.ones(6, 16))
    torch.testing.assert_close(net._places((4, 5)), torch.ones(20, 16))
    assert net._places((2, 3)) is net.positions


def test_columns_come_first_where_asked():
    rows, columns = sincos2d((3, 5), 8), sincos2d((3, 5), 8, columns_first=True)
    torch.testing.assert_close(rows[:, :4], columns[:, 4:])
    torch.testing.assert_close(rows[:, 4:], columns[:, :4])


def test_branches_are_left_out_for_some_items_only_while_training():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2)
    assert torch.equal(drop.eval()(x), x)
    out = drop.train()(x)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(out[:, 0], out[:, 1])
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert [block.drop.rate for block in vit(depth=3, drop_path=0.2).blocks] == [0, 0.1, 0.2]


def test_weights_start_as_published():
    net = vit(width=64, depth=1)
    start_(net)
    limits = {"qkv": (6 / (64 + 64)) ** 0.5, "out": (6 / (64 + 64)) ** 0.5}
    for name, limit in limits.items():
        weight = getattr(net.blocks[0], name).weight
        assert 0.95 * limit < weight.abs().max() <= limit
    assert net.embed.weight.abs().max() <= (6 / (3 * 16 + 64)) ** 0.5
    assert (net.embed.bias == 0).all()


def test_images_come_back_from_their_patches():
    x = torch.rand(2, 3, 8, 12)
    patches = patches_of(x, 4)
    assert patches.shape == (2, 6, 48)
    torch.testing.assert_close(patches[1, 4].view(4, 4, 3).permute(2, 0, 1), x[1, :, 4:, 4:8])
    assert torch.equal(image_of(patches, (2, 3), 4), x)
