"""Distillation between views, by their formulas."""

import math

import pytest
import torch

from unbraid.core.method import Alone
from unbraid.losses.distil import (
    across_views,
    cross_entropy_to,
    entropy,
    masked_patches,
    of_masked,
    relational,
    sharpened,
    unused,
)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_cross_entropy_by_its_sum():
    p, s = drawn(4, 5).softmax(1), drawn(4, 6)[:, :5]
    expected = [-sum(p[i, j] * math.log((s[i] / 0.3).softmax(0)[j]) for j in range(5)) for i in range(4)]
    torch.testing.assert_close(cross_entropy_to(p, s, 0.3), torch.tensor(expected).float(), rtol=1e-5, atol=1e-5)


def test_a_view_is_never_held_against_itself():
    targets = [drawn(3, 4).softmax(1), drawn(3, 5)[:, :4].softmax(1)]
    logits = [drawn(3, 6)[:, :4], drawn(3, 7)[:, :4], drawn(3, 8)[:, :4]]
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = sum(cross_entropy_to(targets[a], logits[b]) for a, b in pairs) / 4
    torch.testing.assert_close(across_views(targets, logits), expected)


def test_masked_patches_may_be_all_that_were_told():
    p, s, mask = drawn(4, 9, 5).softmax(2), drawn(4, 9, 6)[..., :5], drawn(4, 9) > 0
    mask[2] = False
    torch.testing.assert_close(of_masked(p[mask], s[mask], mask), masked_patches(p, s, mask))


def test_only_masked_patches_count_each_image_alike():
    p, s = drawn(3, 4, 5).softmax(2), drawn(3, 4, 6)[..., :5].requires_grad_()
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).bool()
    loss = masked_patches(p, s, mask)
    each = cross_entropy_to(p, s)
    torch.testing.assert_close(loss, torch.stack([each[0, 0], each[1, :3].mean(), each[2, 0] * 0]))
    (slope,) = torch.autograd.grad(loss.sum(), s)
    assert (slope[~mask] == 0).all()
    assert (slope[mask].abs().sum(1) > 0).all()


def test_sharpening_keeps_the_order_and_loses_doubt():
    p = drawn(6, 5).softmax(1)
    sharp = sharpened(p, 0.25)
    torch.testing.assert_close(sharp, (p.log() / 0.25).softmax(1))
    assert (entropy(sharp) < entropy(p)).all()
    assert torch.equal(sharp.argmax(1), p.argmax(1))


def test_the_entropy_of_the_mean_is_made_large_not_small():
    one = torch.zeros(4, 3)
    one[:, 0] = 1
    assert unused(one, Alone()) == pytest.approx(math.log(3))
    assert unused(torch.full((4, 3), 1 / 3), Alone()) == pytest.approx(0, abs=1e-6)
    logits = one.clone().requires_grad_()
    (slope,) = torch.autograd.grad(unused(logits.softmax(1), Alone()), logits)
    assert (slope[:, 0] > 0).all()  # descent takes from the prototype that has most


def test_relations_are_those_of_softmaxes_and_the_teacher_has_no_gradient():
    q, k, queue = drawn(3, 4).requires_grad_(), drawn(3, 5)[:, :4].requires_grad_(), drawn(7, 4)
    norm = torch.nn.functional.normalize
    p = (norm(k, dim=1) @ norm(queue, dim=1).T / 0.04).softmax(1)
    s = (norm(q, dim=1) @ norm(queue, dim=1).T / 0.1).softmax(1)
    loss = relational(q, k, queue)
    torch.testing.assert_close(loss, -(p * s.log()).sum(1))
    assert torch.autograd.grad(loss.sum(), (q, k), allow_unused=True)[1] is None
