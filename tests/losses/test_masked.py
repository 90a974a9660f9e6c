"""What is hidden counts, what is seen does not."""

import numpy as np
import pytest
import torch

from unbraid.core.method import Alone
from unbraid.losses.masked import (
    layers_mean,
    masked_distance,
    masked_features,
    masked_square,
    masked_tokens,
    normalised,
)

MASK = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 0]]).bool()


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda g, t: masked_square(g, t, MASK, Alone()), lambda e: np.square(e).mean()),
        (lambda g, t: masked_features(g, t, MASK, Alone(), 0), lambda e: np.square(e).mean()),
        (
            lambda g, t: masked_features(g, t, MASK, Alone(), 0.5),
            lambda e: np.where(np.abs(e) < 0.5, np.square(e), np.abs(e) - 0.25).mean(),
        ),
    ],
)
def test_means_over_what_is_hidden(loss, expected):
    guess, target = drawn(2, 4, 3).requires_grad_(), drawn(2, 4, 5)[..., :3]
    error = (guess.detach() - target)[MASK].numpy()
    value = loss(guess, target)
    assert value.item() == pytest.approx(expected(error), rel=1e-5)
    (slope,) = torch.autograd.grad(value, guess)
    assert (slope[~MASK] == 0).all()
    assert (slope[MASK] != 0).all()


def test_distances_of_pixels_are_divided_by_their_number():
    guess, target = drawn(2, 3, 4, 4), drawn(2, 3, 4, 5)[..., :4]
    mask = drawn(2, 4, 4) > 0
    total = sum((guess - target).abs()[b, :, i, j].sum() for b, i, j in mask.nonzero().tolist())
    ours = masked_distance(guess, target, mask, Alone())
    assert ours.item() == pytest.approx(float(total) / (int(mask.sum()) + 1e-5) / 3, rel=1e-5)


def test_tokens_by_cross_entropy():
    logits, tokens = drawn(2, 4, 5), torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
    p = logits.softmax(2)
    expected = -torch.stack([p[0, 0, 0].log(), p[0, 2, 2].log(), p[1, 2, 2].log()]).mean()
    torch.testing.assert_close(masked_tokens(logits, tokens, MASK, Alone()), expected)


def test_nothing_hidden_costs_nothing():
    assert masked_square(drawn(2, 4, 3), drawn(2, 4, 5)[..., :3], torch.zeros_like(MASK), Alone()) == 0


def test_patches_are_normalised_by_the_unbiased_variance():
    x = drawn(2, 3, 8).double()
    a = x.numpy()
    expected = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(normalised(x).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(("over", "axis"), [("layer", 2), ("instance", 1)])
def test_each_layer_is_normalised_before_the_mean(over, axis):
    layers = [drawn(2, 5, 4) * 10, drawn(2, 5, 6)[..., :4] + 3]
    each = [(a - a.mean(axis, keepdim=True)) / (a.var(axis, correction=0, keepdim=True) + 1e-5).sqrt() for a in layers]
    torch.testing.assert_close(layers_mean(layers, over), torch.stack(each).mean(0))
