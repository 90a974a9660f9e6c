"""Sparse autoencoders against their formulas."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from unbraid.nets.dictionary import Dictionary, GatedDictionary, Kind, ReLUDictionary, TopKDictionary, dictionary_of


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shaken(net: Dictionary) -> Dictionary:
    """Every parameter off its first value, decoder rows of length one."""
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            parameter.add_(0.3 * draw(*parameter.shape, seed=i))
    net.unit()
    return net


def gradients(value: Tensor, net: Dictionary) -> dict[str, Tensor | None]:
    names, parameters = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True))


def test_relu() -> None:
    net, x = shaken(ReLUDictionary(5, 12)), draw(7, 5, seed=9)
    acts = ((x - net.centre) @ net.encoder.T + net.bias).relu()
    coded = net(x)
    torch.testing.assert_close(coded.reconstruction, acts @ net.decoder + net.centre)
    torch.testing.assert_close(coded.price, acts.abs().sum(1))
    assert torch.equal(coded.uses, (acts > 0).sum(0))
    assert torch.equal(net.code(x), acts)
    torch.testing.assert_close(net.decode(acts), coded.reconstruction)


def test_topk_keeps_the_largest_readings_whatever_their_sign() -> None:
    net, x = shaken(TopKDictionary(5, 12, k=3)), draw(7, 5, seed=9)
    with torch.no_grad():
        net.bias.sub_(20.0)
    pre = (x - net.centre) @ net.encoder.T + net.bias
    kept = pre.topk(3)
    acts = torch.zeros_like(pre).scatter(1, kept.indices, kept.values)
    coded = net(x)
    assert (acts < 0).any()
    torch.testing.assert_close(net.code(x), acts)
    torch.testing.assert_close(coded.reconstruction, acts @ net.decoder + net.centre, rtol=1e-5, atol=1e-5)
    assert torch.equal(coded.uses, (acts != 0).sum(0))
    assert coded.price.abs().sum() == 0


def test_gated() -> None:
    net, x = shaken(GatedDictionary(5, 12)), draw(7, 5, seed=9)
    gate = (x - net.centre) @ net.encoder.T + net.bias
    magnitude = (x - net.centre) @ (net.encoder * net.log_gain.exp()[:, None]).T + net.magnitude_bias
    acts = (gate > 0) * magnitude.relu()
    coded = net(x)
    torch.testing.assert_close(net.code(x), acts, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(coded.price, gate.relu().sum(1))
    torch.testing.assert_close(coded.auxiliary, gate.relu() @ net.decoder + net.centre)


def test_the_gate_learns_from_price_and_auxiliary_only_and_the_auxiliary_leaves_the_decoder() -> None:
    net, x = shaken(GatedDictionary(5, 12)), draw(7, 5, seed=9)
    found = gradients(net(x).reconstruction.square().sum(), net)
    assert found["bias"] is not None
    assert found["bias"].abs().max() < 1e-5  # the magnitude reads the direction, but not the gate's bias
    auxiliary = gradients(net(x).auxiliary.square().sum(), net)
    assert auxiliary["decoder"] is None
    assert auxiliary["magnitude_bias"] is None
    assert auxiliary["bias"] is not None
    assert auxiliary["bias"].abs().max() > 0


@pytest.mark.parametrize("kind", get_args(Kind))
def test_start(kind: Kind) -> None:
    net = dictionary_of(kind, 5, 12, 3)
    torch.testing.assert_close(net.decoder.norm(dim=1), torch.ones(12))
    assert torch.equal(net.encoder, net.decoder)
    assert net.bias.abs().sum() == net.centre.abs().sum() == 0


@pytest.mark.parametrize("kind", get_args(Kind))
def test_projected_gradients_keep_the_length_of_rows(kind: Kind) -> None:
    x = draw(7, 5, seed=9)
    for project, moves in ((True, False), (False, True)):
        net = shaken(dictionary_of(kind, 5, 12, 3, project=project))
        along = gradients((net(x).reconstruction - x).square().sum(), net)["decoder"]
        assert along is not None
        assert bool(((along * net.decoder).sum(1).abs() > 1e-4).any()) == moves


@pytest.mark.parametrize("kind", get_args(Kind))
def test_replanting_points_dead_features_at_inputs(kind: Kind) -> None:
    net, dead, x = shaken(dictionary_of(kind, 5, 12, 3)), torch.arange(12) < 2, draw(2, 5, seed=9)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    changed = net.replant(dead, x)
    direction = torch.nn.functional.normalize(x, dim=1)
    torch.testing.assert_close(net.decoder[:2], direction)
    torch.testing.assert_close(net.encoder[:2], 0.2 * before["encoder"][2:].norm(dim=1).mean() * direction)
    assert net.bias[:2].abs().sum() == 0
    names = {id(p): name for name, p in net.named_parameters()}
    assert {names[id(p)] for p in changed} == set(before) - {"centre"}
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter[2:], before[name][2:])
