"""Branches of classifiers: each on its own column, or all on one code."""

from __future__ import annotations

import torch
from torch import nn

from unbraid.nets.branches import Branches


def test_the_diagonal_is_each_branch_on_its_own_column() -> None:
    net, codes = Branches(6, (1, 3), hidden=4, shared=2), torch.randn(5, 2, 6)
    own = net.diagonal(codes)
    for k in range(2):
        torch.testing.assert_close(own[k], net(codes[:, k])[k])


def test_layers() -> None:
    kinds = [type(m).__name__ for m in Branches(6, (1,), shared=1).modules() if not list(m.children())]
    assert kinds == ["Linear", "LeakyReLU", "Linear", "LeakyReLU", "Linear"]
    linear = Branches(6, (2,), hidden=0)
    x = torch.randn(4, 6)
    head = linear.heads[0][0]
    assert isinstance(head, nn.Linear)
    torch.testing.assert_close(linear(x)[0], x @ head.weight.T + head.bias)
