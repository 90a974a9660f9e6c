"""Classification by angle, and what an adversary may know."""

import math

import pytest
import torch

from unbraid.losses.adversarial import above_chance, hinged
from unbraid.losses.margin import cosines, lowered, margin_logits, rarity_margins


def made(seed=0, n=6, dim=5, classes=4):
    generator = torch.Generator().manual_seed(seed)
    z, weight = (torch.randn(k, dim, generator=generator, dtype=torch.float64) for k in (n, classes))
    return z, weight, torch.randint(classes, (n,), generator=generator)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5])
def test_the_true_angle_is_enlarged_and_no_other(margin):
    z, weight, y = made()
    angle = torch.acos(torch.nn.functional.cosine_similarity(z[:, None], weight[None], dim=2))
    enlarged = angle + margin * torch.nn.functional.one_hot(y, 4)
    assert (enlarged < math.pi).all()
    torch.testing.assert_close(margin_logits(z, weight, y, 7.0, margin), 7 * enlarged.cos())


def test_beyond_half_a_turn_the_logit_still_falls():
    angle = torch.linspace(0.01, math.pi - 0.01, 200, dtype=torch.float64)
    z = torch.stack([angle.cos(), angle.sin()], 1)
    logits = margin_logits(z, torch.tensor([[1.0, 0.0]]).double(), torch.zeros(200, dtype=torch.long), 1.0, 0.5)
    assert (logits[:, 0].diff() < 0).all()


def test_lengths_do_not_count_and_the_slope_is_finite_on_the_axis():
    z, weight, y = made()
    torch.testing.assert_close(cosines(3 * z, weight / 2), cosines(z, weight))
    straight = weight[y].clone().requires_grad_()
    margin_logits(straight, weight, y, 10.0, 0.5).sum().backward()
    assert straight.grad.isfinite().all()


def test_above_chance_is_a_divergence_from_chance_for_the_true_class():
    z, weight, y = made()
    logits = z @ weight.T
    p = torch.softmax(logits, 1)[torch.arange(6), y]
    torch.testing.assert_close(above_chance(logits, y), (p * 4).log())
    assert float(above_chance(torch.full((1, 4), 3.0), torch.tensor([1]))) == pytest.approx(0, abs=1e-6)


def test_below_the_floor_nothing_pulls():
    for value, floor, slope in ((0.3, 0.0, 1.0), (-0.3, 0.0, 0.0), (0.3, 0.5, 0.0)):
        x = torch.tensor(value, requires_grad=True)
        held = hinged(x, floor)
        assert float(held.detach()) == pytest.approx(value if slope else 0.0)
        held.backward()
        assert float(x.grad) == slope


def test_margins_of_rare_classes_are_the_larger_by_the_fourth_root():
    counts = torch.tensor([1000.0, 100.0, 10.0, 0.0])
    found = rarity_margins(counts, 0.3)
    torch.testing.assert_close(found, 0.3 * (1 / counts.clamp(min=1)) ** 0.25)
    logits, y = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0])
    wanted = logits.clone()
    wanted[torch.arange(5), y] -= found[y]
    torch.testing.assert_close(lowered(logits, y, found), wanted)
