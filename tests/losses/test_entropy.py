import math

import torch
from torch.distributions import Categorical

from unbraid.losses.entropy import entropy, probability_lost


def test_entropy_against_torch():
    logits = torch.randn(50, 7, dtype=torch.float64)
    torch.testing.assert_close(entropy(logits), Categorical(logits=logits).entropy())
    torch.testing.assert_close(entropy(torch.zeros(1, 8)), torch.tensor([math.log(8)]))


def test_entropy_of_certainty_is_zero_and_not_nan():
    assert float(entropy(torch.tensor([[1e4, -1e4]]))) == 0


def test_probability_lost_is_of_the_class_that_seemed_likeliest():
    before, after = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).log(), torch.tensor([[0.1, 0.8, 0.1]] * 2).log()
    torch.testing.assert_close(probability_lost(before, after), torch.tensor([0.6, 0.5]))
    assert torch.equal(probability_lost(before, before), torch.zeros(2))
