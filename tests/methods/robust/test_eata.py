import math

import torch
from torch.nn import functional

from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.data.made.coloured import coloured_digits
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.eata import EATA
from unbraid.nets.affine import hold_statistics
from unbraid.testing import check_method
from unbraid.training.stepper import Stepper


def spread(sure):
    """Logits of four classes whose likeliest class is ever surer."""
    return torch.stack([functional.one_hot(torch.tensor(i % 4), 4) * s for i, s in enumerate(sure)]).float()


def test_contract():
    assert "sums" in check_method(EATA)


def test_sure_samples_are_kept_and_weighed_by_how_sure(make, images):
    method, logits = make(EATA, margin=0.5), spread([0.1, 3.0, 5.0, 9.0] * 3).requires_grad_()
    at = At()
    terms = method.objective(images, logits, at)
    top = 0.5 * math.log(4)
    h = entropy(logits)
    kept = h[h < top]
    assert 0 < len(kept) < 12
    torch.testing.assert_close(terms["entropy"], (torch.exp(top - kept.detach()) * kept).mean())
    assert set(terms) == {"entropy"}


def test_the_average_follows_what_was_learnt_from_and_keeps_what_is_like_it_out(make, images):
    method, logits = make(EATA, margin=0.5, redundancy=0.9), spread([9.0] * 12)
    logits = logits[torch.zeros(12, dtype=torch.long)]  # all of class 0
    at = At()
    method.objective(images, logits.requires_grad_(), at)
    method.remember({}, at)
    torch.testing.assert_close(method.average, logits.softmax(1).mean(0).detach())
    assert method.objective(images, logits, At()) is None
    other = logits.roll(1, 1)
    at = At()
    assert method.objective(images, other, at) is not None
    before = method.average.clone()
    method.remember({}, at)
    torch.testing.assert_close(method.average, 0.9 * before + 0.1 * other.softmax(1).mean(0).detach())
    method.restart()
    assert len(method.average) == 0


def test_nothing_sure_is_nothing_learnt_not_even_from_the_regulariser(make, images):
    method = make(EATA, margin=0.1)
    method.information = torch.ones_like(method.start)
    assert method.objective(images, torch.zeros(12, 4, requires_grad=True), At()) is None


def test_information_is_the_squared_gradient_of_the_likeliest_class(make, images):
    method = make(EATA, batch=6)
    clean = MemoryDataset("clean", images[:6], unit=True)
    method.inform({"train": clean, "clean": clean}, At())
    with hold_statistics():
        logits = method.classifier(images[:6])
    gradients = torch.autograd.grad(functional.cross_entropy(logits, logits.argmax(1)), method.affine)
    wanted = torch.cat([g.flatten() for g in gradients]) ** 2
    torch.testing.assert_close(method.information, wanted, rtol=1e-3, atol=1e-9)
    with torch.no_grad():
        for weight in method.affine:
            weight += 0.1
    weight, raw = method.regulariser()["fisher"]
    assert weight == 2000.0
    torch.testing.assert_close(raw, (wanted * 0.01).sum(), rtol=1e-3, atol=1e-9)


def test_clean_samples_come_from_where_the_data_say_and_else_it_is_eta(make, images):
    method = make(EATA)
    assert set(method.sources(coloured_digits())) == {"train", "clean"}
    plain = MemoryDataset("x", images, unit=True)
    method.inform(method.sources(plain), At())
    assert method.regulariser() == {}
    assert EATA.aliases["eta"] == {"fisher": 0.0}
    assert make(EATA, fisher=0.0).stages()[0].solve is None


def test_a_step_moves_towards_the_start_where_information_is_great(make, images):
    method = make(EATA, margin=1.0, redundancy=1.0, **{"optim.lr": 1e-4})
    method.information = torch.full_like(method.start, 1.0)
    with torch.no_grad():
        for weight in method.affine:
            weight += 1.0
    away = (torch.cat([w.flatten() for w in method.affine]) - method.start).norm()
    Stepper(method, method.stages()[0], seed=0, steps=1).step({"x": images}, 0)
    assert (torch.cat([w.flatten() for w in method.affine]) - method.start).norm() < away
