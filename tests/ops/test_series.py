import numpy as np
import pytest
import torch

from unbraid.ops.series import course


def test_a_sine_on_a_slope_is_described():
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    wave = 1.5 * torch.cos(2 * torch.pi * 6 * (t - 0.5))  # even around the middle: it does not tilt the line
    found = course(torch.stack([wave + 3 * t, wave - 2 * t + 7]))
    torch.testing.assert_close(found.trend, torch.tensor([3.0, -2.0]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.amplitude, torch.full((2,), 1.5).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(found.frequency, torch.full((2,), 6.0).double(), atol=0.1, rtol=0)


def test_the_trend_is_that_of_least_squares():
    torch.manual_seed(0)
    x = torch.randn(20, dtype=torch.float64)
    slope = np.polyfit(np.arange(20), x.numpy(), 1)[0]
    assert float(course(x).trend) == pytest.approx(19 * slope)


def test_a_constant_has_neither():
    assert all(torch.equal(v, torch.zeros(2, 3)) for v in course(torch.full((2, 3, 9), 4.0)))
