"""Traverses of methods that have paths of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unbraid import steer
from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.data.made.blocks import Blocks
from unbraid.methods.latent.potential.flow import PotentialFlow
from unbraid.methods.latent.vae import VAE
from unbraid.training.build import build, stand_in


@pytest.fixture(scope="module")
def method():
    data = Blocks(rows=20)
    config = override(PotentialFlow.Config(), PotentialFlow.presets["tiny"])
    return build(PotentialFlow, config, data.fields, given=stand_in(PotentialFlow, data, 0)).eval()


@pytest.fixture(scope="module")
def codes(method):
    with torch.no_grad():
        return method.encode(Blocks(rows=20).take(torch.arange(20)))


def test_both_sides_of_an_item_are_gone_to_in_steps(method, codes):
    grid = steer.roll(method, codes.rows(slice(0, 2)), "potentials[2]", steps=6)
    assert grid.arrays.shape == (2, 6, 32)
    assert grid.labels == ("potentials[2]",) * 2
    assert grid.values.tolist() == [[-2, -1, 0, 1, 2, 3]] * 2
    assert grid.own == (2, 2)
    ahead = method.roll(codes.rows(slice(0, 2)), "potentials[2]", 3)
    behind = method.roll(codes.rows(slice(0, 2)), "potentials[2]", -2)
    for item in range(2):
        path = [*reversed(behind), codes.rows(slice(0, 2)), *ahead]
        expected = torch.stack([method.decode(parts)[item] for parts in path])
        np.testing.assert_allclose(grid.arrays[item], expected.detach().numpy(), rtol=1e-6)
    torch.testing.assert_close(grid.parts["latents"][6 + 2], codes["latents"][1])


def test_a_traverse_goes_along_them_where_nothing_or_they_are_named(method, codes):
    one = codes.rows(slice(0, 1))
    every = steer.traverse(method, one, codes)
    assert sorted(every.labels) == ["potentials[0]", "potentials[1]", "potentials[2]"]
    assert list(every.changed) == sorted(every.changed, reverse=True)
    assert every.arrays.shape[1] == 9
    named = steer.traverse(method, one, codes, ["potentials"], steps=9)
    np.testing.assert_array_equal(every.arrays, named.arrays)
    assert steer.traverse(method, one, codes, "latents[3]").labels == ("latents[3]",)


def test_one_line_for_each_mistake(method, codes):
    one = codes.rows(slice(0, 1))
    with pytest.raises(ConfigError, match=r"a path of the method, got 'potentials\[9\]'"):
        steer.traverse(method, one, codes, "potentials[9]")
    with pytest.raises(ConfigError, match="2 steps or more, got 1"):
        steer.roll(method, one, steps=1)
    with pytest.raises(ConfigError, match="derived from 'latents'"):
        steer.swap(method, one, one, "potentials[0]")
    vae = build(VAE, override(VAE.Config(), VAE.presets["tiny"]), Blocks(rows=5).fields)
    with pytest.raises(ConfigError, match="paths of its own, got 'vae'"):
        steer.roll(vae, one)
