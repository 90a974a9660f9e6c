import pytest
import torch
from torch import nn
from torch.nn import functional

from unbraid.nets.affine import affine_of, hold_statistics
from unbraid.testing.contract import _sides


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.GroupNorm(2, 4), nn.LayerNorm(4)))


def test_affine_parameters_are_found_by_name_and_skipped_by_whole_names():
    assert list(affine_of(net())) == ["1.weight", "1.bias", "2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias"]
    assert list(affine_of(net(), skip=("2",))) == ["1.weight", "1.bias"]
    blocks = nn.ModuleDict({"layer4": nn.BatchNorm2d(2), "layer40": nn.BatchNorm2d(2)})
    assert list(affine_of(blocks, skip=("layer4",))) == ["layer40.weight", "layer40.bias"]
    inner = nn.ModuleDict({"block": nn.ModuleDict({"norm": nn.LayerNorm(2)}), "norm": nn.LayerNorm(2)})
    assert list(affine_of(inner, skip=("norm",))) == ["block.norm.weight", "block.norm.bias"]


def test_layers_without_affine_parameters_have_none():
    assert affine_of(nn.BatchNorm2d(2, affine=False)) == {}


def test_held_statistics_are_the_batchs_in_either_mode_and_leave_the_running_ones():
    layer, x = nn.BatchNorm2d(3), 5 + 2 * torch.randn(6, 3, 4, 4)
    wanted = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    for mode in (True, False):
        layer.train(mode)
        tracked = int(layer.num_batches_tracked)
        with hold_statistics():
            torch.testing.assert_close(layer.eval()(x), wanted)
        assert torch.equal(layer.running_mean, torch.zeros(3))
        assert int(layer.num_batches_tracked) == tracked
    assert not torch.allclose(layer.eval()(x), wanted, atol=0.1)


def test_other_layers_and_layers_of_subclasses_come_through():
    class Activated(nn.BatchNorm2d):
        def forward(self, x):
            return functional.relu(super().forward(x))

    x = torch.randn(4, 2, 3, 3)
    with hold_statistics():
        seen = Activated(2).eval()(x)
    assert seen.min() == 0
    torch.testing.assert_close(seen, functional.relu(functional.batch_norm(x, None, None, training=True)))


def test_one_value_a_channel_takes_the_running_statistics():
    layer = nn.BatchNorm1d(2).eval()
    layer.running_mean.fill_(1.0)
    with hold_statistics():
        assert torch.equal(layer(torch.ones(1, 2)), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="more than 1 value"), hold_statistics():
        nn.BatchNorm1d(2, track_running_stats=False)(torch.ones(1, 2))


def test_affine_parameters_are_replaced_and_gradients_reach_what_they_came_from():
    layer, x = nn.BatchNorm1d(2), torch.randn(5, 2)
    moved = {id(layer.weight): layer.weight + 1, id(layer.bias): layer.bias - 2}
    with hold_statistics(affine=moved):
        y = layer(x)
    torch.testing.assert_close(y, 2 * functional.batch_norm(x, None, None, training=True) - 2)
    [gradient] = torch.autograd.grad(y.sum(), layer.bias)
    assert gradient.tolist() == [5.0, 5.0]
    assert torch.equal(layer.weight, torch.ones(2))


def test_the_statistics_of_two_processes_are_those_of_their_rows_together():
    import threading

    layer, x = nn.BatchNorm2d(3), torch.randn(7, 3, 2, 2)
    torch.nn.init.normal_(layer.weight)
    with hold_statistics():
        wanted = layer(x)
    found = {}

    def side(world, rows):
        with hold_statistics(world):
            found[world.rank] = layer(rows)

    threads = [threading.Thread(target=side, args=pair) for pair in zip(_sides(), (x[:2], x[2:]), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(torch.cat([found[0], found[1]]), wanted, rtol=1e-4, atol=1e-5)
