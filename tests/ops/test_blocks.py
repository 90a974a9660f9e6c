import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.ops.blocks import block_weights, in_blocks


def test_a_block_depends_on_its_own_pair_alone():
    weights, z = block_weights(6, 12, seed=1), torch.randn(5, 6)
    moved = z.clone()
    moved[:, 2:4] += 1
    change = (in_blocks(moved, weights) - in_blocks(z, weights)).reshape(5, 3, 4).abs().sum(2)
    assert (change[:, 1] > 0).all()
    assert (change[:, [0, 2]] == 0).all()
    torch.testing.assert_close(in_blocks(z, weights)[:, :4], (z[:, :2] @ weights[0].T).tanh())


def test_uneven_blocks_are_refused():
    with pytest.raises(ConfigError, match="3 numbers and 8 outputs"):
        block_weights(3, 8, seed=0)
