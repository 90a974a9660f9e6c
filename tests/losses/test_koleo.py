import math

import torch

from unbraid.core.method import Alone
from unbraid.losses.koleo import koleo


def test_it_is_the_log_of_the_distance_to_the_nearest_other():
    z = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    unit = (z / z.norm(dim=1, keepdim=True)).double()
    for own, got in zip(range(7), koleo(z, Alone()), strict=True):
        least = min(math.dist(unit[own].tolist(), unit[i].tolist()) for i in range(7) if i != own)
        assert abs(float(got) + math.log(least)) < 1e-5


def test_alike_items_are_pushed_apart_with_finite_steps():
    z = torch.ones(4, 3, requires_grad=True)
    value = koleo(z, Alone()).mean()
    value.backward()
    assert value.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()
