import pytest
import torch

from unbraid.losses.adversarial import js_information, ramp


def test_the_jensen_shannon_bound_is_the_discriminator_s_log_likelihood():
    torch.manual_seed(0)
    matched, shuffled = torch.randn(6), torch.randn(9)
    one, other = js_information(matched, shuffled)
    torch.testing.assert_close(one, matched.sigmoid().log())
    torch.testing.assert_close(other, (1 - shuffled.sigmoid()).log())


def test_the_ramp_rises_from_nothing():
    values = [ramp(p / 10) for p in range(11)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1, abs=1e-4)
