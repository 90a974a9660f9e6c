"""Distances of images against plain loops."""

from __future__ import annotations

import pytest
import torch

from unbraid.losses.perceptual import feature_l1, pyramid_l1


def test_a_pyramid_is_the_mean_over_sizes() -> None:
    x, y = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    halves = [t.reshape(2, 3, 4, 2, 4, 2).mean((3, 5)) for t in (x, y)]
    expected = ((x - y).abs().mean((1, 2, 3)) + (halves[0] - halves[1]).abs().mean((1, 2, 3))) / 2
    torch.testing.assert_close(pyramid_l1(x, y, levels=2), expected)
    torch.testing.assert_close(pyramid_l1(x, y, levels=1), (x - y).abs().mean((1, 2, 3)))


def test_features_are_compared_by_direction() -> None:
    one, other = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    assert float(feature_l1([one], [5 * one]).max()) == pytest.approx(0.0, abs=1e-6)
    expected = torch.zeros(2)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                a, c = one[b, :, i, j], other[b, :, i, j]
                expected[b] += (a / a.norm() - c / c.norm()).abs().mean() / 9
    torch.testing.assert_close(feature_l1([one], [other]), expected)
    torch.testing.assert_close(feature_l1([one, one], [other, one]), expected / 2)
