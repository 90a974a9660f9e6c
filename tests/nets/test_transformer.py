"""Attention against its formula, who sees whom, and the names of activations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.nets.transformer import Attention, LanguageModel, Transformer


def test_attention_by_formula() -> None:
    torch.manual_seed(0)
    net, x = Attention(8, 2, causal=True), torch.randn(3, 5, 8)
    q, k, v = (t.view(3, 5, 2, 4).transpose(1, 2) for t in net.project(x).split(8, dim=2))
    scores = (q @ k.mT / 2.0).masked_fill(~torch.ones(5, 5).tril().bool(), -torch.inf).softmax(-1)
    torch.testing.assert_close(net(x), net.output((scores @ v).transpose(1, 2).flatten(2)))
    found = []
    net.z.register_forward_hook(lambda _m, _i, z: found.append(z))
    net(x)
    torch.testing.assert_close(found[0][:, :, 4:], (scores @ v)[:, 1])  # the second head's columns


def test_nobody_sees_the_future_or_padding() -> None:
    torch.manual_seed(0)
    net, x = Transformer(8, 2, 2, causal=True).eval(), torch.randn(2, 6, 8)
    later = x.clone()
    later[:, 4:] = torch.randn(2, 2, 8)
    torch.testing.assert_close(net(x)[:, :4], net(later)[:, :4])
    assert not torch.allclose(net(x)[:, 4:], net(later)[:, 4:])
    valid = torch.arange(6)[None] >= torch.tensor([[0], [2]])  # the second item is padded on the left
    padded = x.clone()
    padded[1, :2] = 9.0
    torch.testing.assert_close(net(x, valid)[1, 2:], net(padded, valid)[1, 2:])
    assert torch.isfinite(net(padded, valid)).all()
    both = Transformer(8, 1, 2).eval()
    assert not torch.allclose(both(x)[:, :4], both(later)[:, :4])


def test_activations_have_names() -> None:
    net = LanguageModel(tokens=7, length=5, dim=8, depth=2, heads=2)
    names = ("attention.q", "attention.k", "attention.v", "attention.z", "mid", "post")
    seen: dict[str, Tensor] = {}
    for name in names:
        module = net.get_submodule(f"body.blocks.1.{name}")
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    net(torch.zeros(3, 5, dtype=torch.long))
    assert {name: tuple(t.shape) for name, t in seen.items()} == dict.fromkeys(names, (3, 5, 8))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="10 for 4"):
        Attention(10, 4)
    with pytest.raises(ConfigError, match="at most 5 tokens"):
        LanguageModel(tokens=7, length=5)(torch.zeros(1, 6, dtype=torch.long))
