import torch
from torch import nn

from unbraid.ops.autograd import reverse


def test_what_lies_before_sees_the_gradient_turned_and_scaled_and_what_lies_behind_the_plain_one():
    torch.manual_seed(0)
    before, behind, x = nn.Linear(3, 4), nn.Linear(4, 2), torch.randn(5, 3)

    def gradients(turn):
        loss = behind(turn(before(x).tanh())).square().sum()
        return torch.autograd.grad(loss, [before.weight, behind.weight])

    plain, turned = gradients(lambda h: h), gradients(lambda h: reverse(h, 0.3))
    torch.testing.assert_close(turned[0], -0.3 * plain[0])
    torch.testing.assert_close(turned[1], plain[1])


def test_the_value_is_kept_and_strength_0_lets_nothing_through():
    x = torch.randn(4, requires_grad=True)
    assert torch.equal(reverse(x, 2.0), x)
    assert not torch.autograd.grad(reverse(x, 0.0).sum(), [x])[0].any()
