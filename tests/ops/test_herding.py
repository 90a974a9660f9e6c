import torch

from unbraid.ops.herding import herding


def test_each_item_brings_the_mean_as_near_as_one_can():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    taken = herding(x, 8).tolist()
    assert len(set(taken)) == 8
    for k in range(8):
        free = [i for i in range(30) if i not in taken[:k]]
        apart = [float((x[[*taken[:k], i]].mean(0) - x.mean(0)).norm()) for i in free]
        assert free[apart.index(min(apart))] == taken[k]


def test_no_more_are_taken_than_there_are():
    assert sorted(herding(torch.rand(3, 2), 5).tolist()) == [0, 1, 2]
