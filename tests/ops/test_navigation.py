"""Walks along masked gradients: what is closed, how far a step goes, where a walk stops."""

from __future__ import annotations

import torch

from unbraid.ops.navigation import gradient, open_channels, unit, walk

W = torch.randn(6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def first(w: torch.Tensor) -> torch.Tensor:
    return w[:, :5].sinh().sum(1)


def second(w: torch.Tensor) -> torch.Tensor:
    return w[:, 3:8].pow(3).sum(1)


def test_masks_are_of_each_code_and_of_all_that_is_kept() -> None:
    a, b = gradient(first, W), gradient(second, W)
    mask = open_channels([(a, 2), (b, 1)], W)
    for row in range(len(W)):
        closed = {*a[row].abs().argsort()[-2:].tolist(), int(b[row].abs().argmax())}
        assert {i for i, is_open in enumerate(mask[row].tolist()) if not is_open} == closed


def test_a_walk_is_the_loop_over_codes_and_steps() -> None:
    stations = walk(W, first, [(second, 2)], steps=4, length=0.3)
    for row in range(len(W)):
        w = W[row]
        for step in range(4):
            closed = (3 * w[3:8].square()).argsort()[-2:] + 3
            g = torch.cat([w[:5].cosh(), torch.zeros(5, dtype=w.dtype)])
            g[closed] = 0
            w = w + 0.3 * g / g.norm()
            torch.testing.assert_close(stations[step + 1, row], w)


def test_where_all_is_masked_nothing_moves() -> None:
    stations = walk(W, first, [(first, 10)], steps=2, length=0.3)
    assert torch.equal(stations[-1], W)
    assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_what_has_arrived_stays() -> None:
    goal = first(W) + 1
    stations = walk(W, first, steps=40, length=0.1, until=lambda w: first(w) >= goal)
    assert bool((first(stations[-1]) >= goal).all())
    lengths = (stations[1:] - stations[:-1]).norm(dim=2)
    assert bool((lengths.diff(dim=0) <= 1e-9).all()), "none sets out again"


def test_down_is_up_of_the_opposite_score() -> None:
    down = walk(W, first, [(second, 2)], steps=3, length=-0.2)
    up = walk(W, lambda w: -first(w), [(second, 2)], steps=3, length=0.2)
    torch.testing.assert_close(down, up)
    assert not down.requires_grad


def test_each_code_may_have_a_step_of_its_own_and_all_stop_when_all_have_arrived() -> None:
    lengths = torch.tensor([0.1, -0.1, 0.2, 0.0, 0.3, -0.3], dtype=W.dtype)
    stations = walk(W, first, [(second, 2)], steps=3, length=lengths)
    for row, length in enumerate(lengths):
        alone = walk(W[row : row + 1], first, [(second, 2)], steps=3, length=float(length))
        torch.testing.assert_close(stations[:, row], alone[:, 0])
    asked = []

    def there(w: torch.Tensor) -> torch.Tensor:
        asked.append(w)
        return torch.full((len(w),), len(asked) > 2)

    stopped = walk(W, first, steps=9, length=0.1, until=there)
    assert len(asked) == 3
    assert stopped.shape == (10, 6, 10)
    assert torch.equal(stopped[2], stopped[9])
