"""Numbers that the content tells, against splitmix64 in whole numbers."""

import torch

from unbraid.ops import keyed
from unbraid.ops.keyed import bytes_of, uniform_of

ALL = 2**64 - 1


def splitmix64(seed, count):
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & ALL
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & ALL
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ALL
        yield z ^ (z >> 31)


def test_the_generator_is_splitmix64():
    ours = keyed._mixed(torch.arange(1, 6) * keyed._STEP)
    assert [int(z) & ALL for z in ours] == list(splitmix64(0, 5))


def test_uniform_apart_and_the_same_for_the_same_item():
    torch.manual_seed(0)
    x = torch.rand(60, 2, 5)
    u = uniform_of(x, 4000)
    assert u.min() >= 0
    assert u.max() < 1
    torch.testing.assert_close(u.mean(1), torch.full((60,), 0.5).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(u.var(1), torch.full((60,), 1 / 12).double(), rtol=0, atol=0.01)
    apart = torch.corrcoef(u) - torch.eye(60)
    assert apart.abs().max() < 0.08
    assert torch.equal(uniform_of(x[7:9], 4000), u[7:9])


def test_the_order_of_equal_values_counts():
    a, b = uniform_of(torch.tensor([[0.5, 0.25], [0.25, 0.5]]), 8)
    assert not torch.isclose(a, b).any()


def test_bytes_are_uniform_too():
    x = torch.rand(40, 3)
    drawn = bytes_of(x, 5001)
    assert drawn.dtype == torch.uint8
    counts = torch.bincount(drawn.flatten().long(), minlength=256).double() / drawn.numel()
    torch.testing.assert_close(counts, torch.full((256,), 1 / 256).double(), rtol=0.15, atol=0)
    assert torch.equal(bytes_of(x[:2], 30), drawn[:2, :30])
