import math

import pytest
import torch

from unbraid.ops.diffusion import Noise, guided, linear_betas, spaced, strided


def seeded(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_betas_are_scaled_by_their_number():
    assert linear_betas(1000)[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])
    assert linear_betas(100)[[0, -1]].tolist() == pytest.approx([1e-3, 0.2])


def test_steps_are_spaced_evenly_and_reach_the_end():
    assert spaced(100, 5).tolist() == [0, 25, 50, 74, 99]
    assert spaced(3, 10).tolist() == [0, 1, 2]


def test_noise_is_added_as_if_step_by_step():
    betas = linear_betas(50)
    noise = Noise.of(betas)
    kept = 1.0
    for beta in betas.tolist()[:11]:
        kept *= 1 - beta
    x, eps = seeded(4, 2, 3), seeded(4, 2, 3, seed=1)
    t = torch.full((4,), 10)
    torch.testing.assert_close(noise.q(x, t, eps), math.sqrt(kept) * x + math.sqrt(1 - kept) * eps)
    torch.testing.assert_close(noise.clean(noise.q(x, t, eps), t, eps), x, rtol=1e-4, atol=1e-5)
    assert torch.equal(noise.q(x, torch.full((4,), -1), eps), x)


def test_every_item_has_its_own_step():
    noise = Noise.of(linear_betas(20))
    x, eps, t = seeded(3, 5), seeded(3, 5, seed=1), torch.tensor([0, 7, 19])
    apart = torch.cat([noise.q(x[i : i + 1], t[i : i + 1], eps[i : i + 1]) for i in range(3)])
    assert torch.equal(noise.q(x, t, eps), apart)


def gaussian(noise, mean, spread):
    """The exact noise predictor of items from N(mean, spread^2)."""

    def predict(x, t):
        kept = noise.at(t, x)
        variance = kept * spread**2 + 1 - kept
        return (1 - kept).sqrt() * (x - kept.sqrt() * mean) / variance

    return predict


def test_ddim_carries_noise_to_the_data():
    noise = Noise.of(linear_betas(1000))
    made = noise.ddim(gaussian(noise, 3.0, 0.5), seeded(4000, 1), spaced(1000, 250))
    assert float(made.mean()) == pytest.approx(3.0, abs=0.05)
    assert float(made.std()) == pytest.approx(0.5, abs=0.03)


def test_inversion_finds_the_noise_that_leads_back():
    noise, every, steps = Noise.of(linear_betas(1000)), torch.arange(1000), spaced(1000, 100)
    predict = gaussian(noise, 1.0, 0.3)
    x = 1.0 + 0.3 * seeded(50, 4)
    back = noise.ddim(predict, noise.invert(predict, x, every), every)
    assert (back - x).abs().max() < 1e-2
    better = noise.ddim(predict, noise.invert(predict, x, steps, refine=3), steps)
    assert (better - x).abs().max() < 1e-3


def test_clamping_holds_the_clean_item_in_bounds():
    noise = Noise.of(linear_betas(10))
    made = noise.ddim(lambda x, t: torch.zeros_like(x), 5 * seeded(6, 3), spaced(10, 10), bound=1.0)
    assert made.abs().max() <= 1


def test_guidance_is_an_extrapolation():
    one, none = (lambda x, t: x), (lambda x, t: 0 * x)
    x, t = seeded(2, 2), torch.zeros(2, dtype=torch.long)
    assert guided(one, none, 1.0) is one
    assert torch.equal(guided(one, none, 0.0)(x, t), none(x, t))
    torch.testing.assert_close(guided(one, none, 2.5)(x, t), 2.5 * x)


def test_from_the_last_step_on_there_is_nothing_but_noise():
    noise = Noise.of(linear_betas(20))
    x, eps = seeded(3, 5), seeded(3, 5, seed=1)
    assert torch.equal(noise.q(x, torch.full((3,), 20), eps), eps)


def test_a_shift_of_the_posterior_mean_is_so_much_noise():
    betas = linear_betas(50)
    noise = Noise.of(betas)
    kept = [1.0]
    for beta in betas.tolist():
        kept.append(kept[-1] * (1 - beta))
    shift, weight = noise.shift(), noise.mid_weight(0.1)
    assert shift[0] == 0
    for t in (1, 7, 49):
        expected = -math.sqrt(1 - float(betas[t])) * (1 - kept[t]) / math.sqrt(1 - kept[t + 1])
        assert float(shift[t]) == pytest.approx(expected, rel=1e-5)
        ratio = kept[t + 1] / (1 - kept[t + 1])
        assert float(weight[t]) == pytest.approx(ratio**0.1 / (1 + ratio), rel=1e-5)
    assert weight[0] < weight[25]


def test_strided_steps_start_at_none_and_are_equally_far_apart():
    assert strided(1000, 100).tolist() == list(range(0, 1000, 10))
    assert strided(10, 4).tolist() == [0, 2, 4, 6, 8]
    assert strided(3, 10).tolist() == [0, 1, 2]
