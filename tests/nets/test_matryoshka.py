import pytest
import torch
from torch import nn
from torch.nn import functional

from unbraid.core.errors import ConfigError
from unbraid.nets.matryoshka import MatryoshkaHead, Scaled

X = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))


def test_levels_have_prototypes_as_they_have_numbers():
    head = MatryoshkaHead(16, 40, hidden=4, bottleneck=3)
    assert head.widths == [1, 2, 4, 8, 16]
    assert head.counts == [2, 5, 10, 20, 40]
    assert [scores.shape for scores in head(X)] == [(6, k) for k in head.counts]


def test_a_prefix_level_sees_the_first_numbers_only():
    head = MatryoshkaHead(16, 40, (0.25, 1.0), 4, 3, nested="prefix", std=0.5)
    changed = torch.cat([X[:, :4], X[:, 4:] + 1], 1)
    (coarse, fine), (same, other) = head(X), head(changed)
    assert coarse.equal(same)
    assert not fine.equal(other)
    assert not list(head.projections)
    coarse, _ = MatryoshkaHead(16, 40, (0.25, 1.0), 4, 3, std=0.5)(X)
    assert not coarse.equal(MatryoshkaHead(16, 40, (0.25, 1.0), 4, 3, std=0.5)(changed)[0])


def test_prototypes_are_compared_after_a_gelu_and_without_normalisation():
    head = MatryoshkaHead(16, 8, (1.0,), 4, 3, std=0.5)
    layers = [layer for layer in head.mlps[0] if isinstance(layer, nn.Linear)]
    z = head.projections[0](X)
    for layer in layers:
        z = functional.gelu(layer(z))
    scores = z @ functional.normalize(head.prototypes[0].direction, dim=1).T
    torch.testing.assert_close(head(X)[0], scores)


def test_a_scaled_layer_is_torchs_weight_normalisation():
    ours = Scaled(5, 3)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3, bias=False))
    with torch.no_grad():
        ours.length.mul_(torch.tensor([[1.0], [2.0], [3.0]]))
    theirs.parametrizations.weight.original0.data = ours.length.data
    theirs.parametrizations.weight.original1.data = ours.direction.data
    torch.testing.assert_close(ours(X[:, :5]), theirs(X[:, :5]))


def test_frozen_prototypes_get_no_gradient():
    head = MatryoshkaHead(16, 8, (0.5, 1.0), 4, 3)
    sum(s.sum() for s in head(X, frozen=True)).backward()
    assert all(p.grad is None for p in head.prototypes.parameters())
    assert all(p.grad is not None for p in head.mlps.parameters())


@pytest.mark.parametrize(("shares", "prototypes"), [((0.01, 1.0), 64), ((0.25, 1.0), 4), ((), 64)])
def test_levels_that_are_too_narrow(shares, prototypes):
    with pytest.raises(ConfigError, match="levels of a number and two prototypes"):
        MatryoshkaHead(16, prototypes, shares, 4, 3)
