"""What a code tells of outcomes: bounds and exact numbers against sums written out."""

import itertools
import math

import pytest
import torch

from unbraid.losses.control import conditional_information, contrast, nce, table_contrast


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_table_contrast_is_its_sum_written_out():
    energy, rho = seeded(2, 3, 4, 5), seeded(4, seed=1).softmax(0)
    state, action, outcome = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]), torch.tensor([3, 0, 2])
    code = seeded(3, 5, seed=2).softmax(1)
    pos, neg = table_contrast(energy, state, action, outcome, code, rho)
    for i in range(3):
        rows = energy[state[i], action[i]]
        came = sum(float(code[i, z] * rows[outcome[i], z]) for z in range(5))
        means = [math.log(sum(float(rho[r]) * math.exp(float(rows[r, z])) for r in range(4))) for z in range(5)]
        assert float(pos[i]) == pytest.approx(came)
        assert float(neg[i]) == pytest.approx(sum(float(code[i, z]) * means[z] for z in range(5)))


def test_the_best_energy_gives_the_information_plus_what_the_history_tells():
    joint, code = seeded(2, 2, 3).flatten().softmax(0).view(2, 2, 3), seeded(2, 2, 3, 4, seed=1).softmax(-1)
    rho = joint.sum((0, 1))
    together = joint[..., None] * code
    given_code = together / together.sum(2, keepdim=True)
    energy = (given_code / rho[:, None]).log()
    found = torch.zeros((), dtype=torch.float64)
    for s, a, r in itertools.product(range(2), range(2), range(3)):
        where = torch.tensor([s]), torch.tensor([a]), torch.tensor([r])
        pos, neg = table_contrast(energy, *where, code[s, a, r][None], rho)
        found += joint[s, a, r] * (pos - neg)[0]
    alone = (joint * (joint / joint.sum(2, keepdim=True) / rho).log()).sum()
    torch.testing.assert_close(found, conditional_information(joint, code) + alone)


def test_a_code_that_does_not_look_at_the_outcome_tells_nothing_of_it():
    joint = seeded(2, 3, 4).flatten().softmax(0).view(2, 3, 4)
    blind = seeded(2, 3, 1, 5, seed=1).softmax(-1).expand(2, 3, 4, 5)
    assert float(conditional_information(joint, blind)) == pytest.approx(0, abs=1e-12)
    exact = torch.eye(4).double().expand(2, 3, 4, 4)
    entropy = -(joint * (joint / joint.sum(2, keepdim=True)).log()).sum()
    torch.testing.assert_close(conditional_information(joint, exact), entropy)
    permuted = torch.randperm(4, generator=torch.Generator().manual_seed(0))
    code = seeded(2, 3, 4, 4, seed=2).softmax(-1)
    one, two = (conditional_information(joint, c) for c in (code, code[..., permuted]))
    torch.testing.assert_close(one, two)


def test_pairs_that_never_come_cost_nothing():
    joint = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]).double()
    assert float(conditional_information(joint, torch.eye(2).double().expand(1, 2, 2, 2))) == pytest.approx(math.log(2))


def test_the_contrast_is_log_n_less_the_cross_entropy_of_the_own_outcome():
    scores = seeded(6, 6)
    expected = torch.stack([scores[i, i] - scores[i].exp().mean().log() for i in range(6)])
    torch.testing.assert_close(contrast(scores, torch.ones(6).bool()), expected)
    torch.testing.assert_close(nce(scores), math.log(6) - expected)
    assert (contrast(100 * torch.eye(6).double(), torch.ones(6).bool()) <= math.log(6) + 1e-12).all()


def test_padding_neither_counts_nor_competes():
    scores, valid = seeded(2, 5, 5).requires_grad_(), torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()
    found = contrast(scores, valid)
    few = scores[0][valid[0]][:, valid[0]]
    torch.testing.assert_close(found[0][valid[0]], contrast(few, torch.ones(3).bool()))
    assert found[0][~valid[0]].abs().sum() == 0
    assert found[1].abs().sum() == 0
    [gradient] = torch.autograd.grad(found.sum(), scores)
    assert gradient.isfinite().all()
    assert gradient[1].abs().sum() == 0
    assert gradient[0][:, ~valid[0]].abs().sum() == 0


def test_two_processes_compare_with_the_outcomes_of_both():
    scores, valid = seeded(6, 6), torch.tensor([1, 1, 0, 1, 1, 1]).bool()
    whole = contrast(scores, valid)
    halves = [contrast(scores[:3], valid, 0), contrast(scores[3:], valid, 3)]
    torch.testing.assert_close(whole, torch.cat(halves))
