"""Tent, and what all methods of adaptation share."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.data.wrapped import in_roles
from unbraid.losses.entropy import entropy
from unbraid.methods.robust.accuracy import accuracies
from unbraid.methods.robust.tent import Tent
from unbraid.nets.affine import hold_statistics
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images
from unbraid.training.stepper import Stepper


def step(method, x, number=0):
    return Stepper(method, method.stages()[0], seed=0, steps=9).step({"x": x}, number)


def test_contract():
    assert "sums" in check_method(Tent)
    assert "sums" in check_method(Tent, in_roles(tiny_images(), ["label"], {}))


def test_it_descends_the_mean_entropy_by_the_norms_alone(make, images):
    method = make(Tent, **{"optim.lr": 0.1})
    with hold_statistics():
        loss = entropy(method.classifier(images)).mean()
    wanted = [w - 0.1 * g for w, g in zip(method.affine, torch.autograd.grad(loss, method.affine), strict=True)]
    others = {n: t.clone() for n, t in method.classifier.state_dict().items()}
    step(method, images)
    for weight, new in zip(method.affine, wanted, strict=True):
        torch.testing.assert_close(weight, new)
    moved = {n for n, t in method.classifier.state_dict().items() if not torch.equal(t, others[n])}
    assert moved == {f"features.{i}.{leaf}" for i in (1, 4, 7) for leaf in ("weight", "bias")}


def test_the_answer_is_the_one_from_before_the_move(make, images):
    method = make(Tent, **{"optim.lr": 1.0})
    before = method.predict({"x": images}).logits
    assert torch.equal(step(method, images).outputs["logits"], before)
    assert not torch.allclose(method.predict({"x": images}).logits, before, atol=1e-3)


def test_a_stream_is_answered_in_its_order_to_the_last_item(make, images):
    method, data = make(Tent, batch=5), MemoryDataset("x", images, unit=True)
    torch.manual_seed(3)
    chance = torch.get_rng_state()
    said = [p.logits for p in method.adapt(data)]
    assert torch.equal(torch.get_rng_state(), chance)
    assert [len(logits) for logits in said] == [5, 5, 2]
    again = make(Tent, batch=5)
    for rows, logits in zip((images[:5], images[5:10], images[10:]), said, strict=True):
        torch.testing.assert_close(again.predict({"x": rows}).logits, logits)
        break


def test_restarted_is_as_given_and_the_given_classifier_never_moves(make, classifier, images):
    kept = {n: t.clone() for n, t in classifier.state_dict().items()}
    method, data = make(Tent, batch=6, **{"optim.lr": 0.5}), MemoryDataset("x", images, unit=True)
    first = method.predict({"x": images}).logits
    list(method.adapt(data))
    assert not torch.allclose(method.predict({"x": images}).logits, first, atol=1e-3)
    torch.testing.assert_close(method.restarted().predict({"x": images}).logits, first)
    assert all(torch.equal(t, kept[n]) for n, t in classifier.state_dict().items())


def test_norms_that_are_skipped_stay(make, images):
    method = make(Tent, skip=("features.4", "features.7"), **{"optim.lr": 0.1})
    assert len(method.affine) == 2
    with pytest.raises(ConfigError, match="normalisation"):
        make(Tent, skip=("features",))


def test_any_classifier_with_norms_will_do(images):
    from unbraid.core.given import Given

    class Said(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(2))
            self.norm1, self.read = nn.LayerNorm(16), nn.Linear(64, 5)

        def forward(self, x):
            return type("Output", (), {"logits": self.read(self.norm1(self.body(x)).flatten(1))})()

    fields = Fields(x=Field((3, 16, 16), unit=True))
    method = Tent(Tent.Config(), fields, Given(classifier=Said()))
    assert method.predict({"x": images}).logits.shape == (12, 5)
    assert "adapt/entropy" in step(method, images).terms


def test_what_does_not_fit_is_said_in_one_line(make, classifier):
    with pytest.raises(DataError, match="field 'x'"):
        make(Tent, fields=Fields(x=Field((1, 16, 16))))
    with pytest.raises(ConfigError, match="3 classes"):
        make(Tent, fields=Fields(x=Field((3, 16, 16)), label=Field((), "int64", classes=3)))
    with pytest.raises(ConfigError, match="returns logits"):
        make(Tent, net=nn.Sequential(nn.BatchNorm2d(3)))
    with pytest.raises(ConfigError, match="batch"):
        make(Tent, batch=0)


def test_groups_are_classes_within_environments():
    class Four:
        fields = Fields(x=Field((1,)), label=Field((), "int64", classes=2), domain=Field((), "int64", classes=2))

        def __len__(self):
            return 6

        def take(self, rows, device="cpu"):
            label, domain = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 0, 1, 1])
            return {"label": label[rows], "domain": domain[rows]}

    said = functional.one_hot(torch.tensor([0, 1, 0, 1, 1, 0]), 2).float()
    found = accuracies(said, Four())
    assert found == {"accuracy": pytest.approx(4 / 6), "mean of groups": 0.75, "worst group": 0.5}


def test_unlabelled_streams_are_examined_by_entropy_alone(make, images):
    found = make(Tent, batch=6).examine(MemoryDataset("x", images, unit=True))
    assert set(found.numbers) == {"entropy"}
    table = found.tables["while adapting"].columns
    assert table["method"] == ["as given", "no adaptation", "tent", "eata", "sar", "deyo"]


def test_at_of_one_process_gives_the_same_as_predict(make, images):
    method = make(Tent)
    torch.testing.assert_close(method.classify(images, At()), method.encode({"x": images})["evidence"])


def test_the_action_keeps_what_was_said_and_the_adapted_norms(make, images):
    from unbraid.core.action import find_action

    action = find_action(Tent, "adapt")
    assert (action.function, action.changes) == ("adapt_to", True)
    method, again = (make(Tent, batch=5, **{"optim.lr": 0.1}) for _ in range(2))
    data = MemoryDataset("x", images, unit=True)
    table = getattr(method, action.function)(data).columns
    said = torch.cat([p.probability for p in again.adapt(data)])
    assert table["label"] == said.argmax(1).tolist()
    assert table["probability"] == pytest.approx(said.amax(1).tolist())
    assert not torch.equal(torch.cat([w.detach().flatten() for w in method.affine]), method.start)
