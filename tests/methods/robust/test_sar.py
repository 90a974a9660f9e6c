import math

import pytest
import torch

from unbraid.core.method import At
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.sar import SAR
from unbraid.nets.affine import hold_statistics
from unbraid.testing import check_method
from unbraid.training.stepper import Stepper


def stepper(method):
    return Stepper(method, method.stages()[0], seed=0, steps=9)


def test_contract():
    assert "sums" in check_method(SAR)


def test_the_step_is_that_of_two_passes_with_the_weights_moved_between(make, images):
    """By hand, in place, as the authors' optimiser does it."""
    ours, theirs = (make(SAR, margin=0.99, floor=0.0, rho=0.3, **{"optim.lr": 0.1}) for _ in range(2))
    limit = 0.99 * math.log(4)
    with hold_statistics():
        first = entropy(theirs.classifier(images))
        sure = first < limit
        gradients = torch.autograd.grad(first[sure].mean(), theirs.affine)
        length = torch.cat([g.flatten() for g in gradients]).norm()
        offsets = [0.3 * g / (length + 1e-12) for g in gradients]
        with torch.no_grad():
            for weight, offset in zip(theirs.affine, offsets, strict=True):
                weight += offset
        second = entropy(theirs.classifier(images))[sure]
        still = second < limit
        gradients = torch.autograd.grad(second[still].mean(), theirs.affine)
    assert 0 < still.sum() <= sure.sum()
    with torch.no_grad():
        for weight, offset, gradient in zip(theirs.affine, offsets, gradients, strict=True):
            weight += -offset - 0.1 * gradient
    report = stepper(ours).step({"x": images}, 0)
    for a, b in zip(ours.affine, theirs.affine, strict=True):
        torch.testing.assert_close(a, b)
    assert float(report.terms["adapt/entropy"]) == pytest.approx(float(second[still].detach().mean()), rel=1e-5)
    torch.testing.assert_close(ours.level[0], second.detach().mean())


def test_nothing_sure_is_nothing_learnt(make, images):
    method = make(SAR, margin=0.0)
    assert method.objective(images, method.classify(images, At()), At()) is None
    assert len(method.level) == 0


def test_the_level_is_a_moving_average_and_a_fall_starts_everything_again(make, images):
    method = make(SAR, margin=1.0, floor=0.2, **{"optim.lr": 0.3})
    run = stepper(method)
    run.step({"x": images}, 0)
    assert not torch.equal(torch.cat([w.flatten() for w in method.affine]), method.start)
    at = run.at(1)
    at.memo["level"] = torch.tensor(0.5)
    before = float(method.level)
    method.recover({}, at)
    assert float(method.level) == pytest.approx(0.9 * before + 0.1 * 0.5)
    assert float(at.notes["restarted"]) == 0
    method.level = torch.tensor([0.19])
    at.memo["level"] = torch.tensor(0.0)
    method.recover({}, at)
    assert float(at.notes["restarted"]) == 1
    assert torch.equal(torch.cat([w.flatten() for w in method.affine]), method.start)
    assert len(method.level) == 0
    momenta = [slot["momentum_buffer"] for w in method.affine for slot in at.slots(w)]
    assert len(momenta) == len(method.affine)
    assert all(not m.any() for m in momenta)


def test_the_ascent_is_rho_long_and_uphill(make, images):
    method = make(SAR, rho=0.01)
    before = entropy(method.classify(images, At())).mean()
    uphill = method.ascent(before, At())
    offsets = torch.cat([(uphill[id(w)] - w).flatten() for w in method.affine])
    assert float(offsets.detach().norm()) == pytest.approx(0.01, rel=1e-3)
    assert entropy(method.classify(images, At(), uphill)).mean() > before
