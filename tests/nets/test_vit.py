"""The image transformer: what it equals, and what may be left out of sight."""

import pytest
import torch
from torch import nn

from unbraid.core.errors import ConfigError
from unbraid.core.given import Hooked
from unbraid.nets.vit import Block, ViT, sincos2d


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
