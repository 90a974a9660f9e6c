import copy

import numpy as np
import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.data.catalog import open_data
from unbraid.data.made.noisy import noisy_digits
from unbraid.data.wrapped import in_roles
from unbraid.losses.forgetting import alignment, misfit, turned
from unbraid.methods.robust.choose import split
from unbraid.methods.robust.judge import ROW, cost, cost_again, trained_again
from unbraid.methods.robust.laf import LAF, Describer
from unbraid.nets.classifier import SmallClassifier
from unbraid.testing import check_method
from unbraid.testing.made import tiny_images
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper

FIELDS = Fields(x=Field((1, 8, 8), unit=True), label=Field((), "int64", classes=4))


def build(net=None, **changes):
    torch.manual_seed(0)
    net = net or SmallClassifier(FIELDS["x"], 4, width=4, embedding=6, norm="batch", hidden=(5,))
    return LAF(override(LAF.Config(), {"widths": (8, 4), "latents": 3, **changes}), FIELDS, Given(classifier=net))


def pair(seed=1):
    torch.manual_seed(seed)
    return {"remain": {"x": torch.rand(5, 1, 8, 8)}, "forget": {"x": torch.rand(4, 1, 8, 8)}}


@pytest.mark.parametrize("alias", [{}, LAF.aliases["laf-r"]], ids=["laf", "laf-r"])
def test_contract(alias):
    config = override(override(LAF.Config(), LAF.presets["tiny"]), alias)
    assert "sums" in check_method(LAF, in_roles(tiny_images(), ["label"], {}), config)


def test_the_network_is_cut_before_its_head():
    method, x = build(), torch.rand(3, 1, 8, 8)
    assert method.model.at == "head"
    torch.testing.assert_close(method.embed(x), method.model.net.features(x))
    assert method.embed(x).shape == (3, 6)
    assert build(head="head.2").embed(x).shape == (3, 5)


def test_the_first_move_is_the_misfit_of_what_remains_less_that_of_what_is_forgotten():
    method, batch, at = build(), pair(), At()
    terms = method.fit_less(batch, at)
    again = At()
    wanted = {}
    for name, describer in (("remain", method.all), ("forget", method.forgotten)):
        e = method.embed(batch[name]["x"])
        wanted[name] = misfit(e, describer(e, again.randn((len(e), 3)))[0]).sum()
    torch.testing.assert_close(terms["remain"], wanted["remain"])
    weight, raw = terms["forget"]
    assert weight == -1
    torch.testing.assert_close(raw, wanted["forget"])


def test_the_second_is_the_alignment_with_the_network_as_it_was():
    method, batch = build(), pair()
    with torch.no_grad():
        for parameter in method.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    far = {n: turned(method.embed(b["x"]), method.teacher.features(b["x"])) for n, b in batch.items()}
    terms = method.turn_back(batch, At())
    torch.testing.assert_close(terms["alignment"], alignment(far["remain"], far["forget"], 20.0))
    without = build(negatives=False)
    assert float(without.turn_back(batch, At())["alignment"].detach()) == pytest.approx(0.0, abs=1e-5)


def test_only_what_is_in_front_of_the_head_moves_and_every_move_has_its_own_optimiser():
    method = build(**{"unlearn.lr": 0.01, "align.lr": 0.01})
    stage = next(s for s in method.stages() if s.name == "unlearn")
    stepper = Stepper(method, stage, seed=0, steps=2)
    before = {n: t.clone() for n, t in method.state_dict().items()}
    for step in range(2):
        stepper.step(pair(step), step)
    moved = {n for n, t in method.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {n for n, _ in method.named_parameters() if n.startswith("model.net.features")}
    slots = {key.split("|")[0] for key in stepper.state()}
    assert slots == {"extract", "align"}
    assert not method.model.training


def test_describing_moves_one_description_and_sees_no_gradient_of_the_network():
    method = build()
    stages = {s.name: s for s in method.stages()}
    assert list(stages) == ["describe all", "describe forgotten", "unlearn"]
    for name, owner in (("describe all", "all."), ("describe forgotten", "forgotten.")):
        before = {n: t.clone() for n, t in method.state_dict().items()}
        Stepper(method, stages[name], seed=0, steps=1).step(pair()["remain"], 0)
        moved = {n for n, t in method.state_dict().items() if not torch.equal(t, before[n])}
        assert moved
        assert all(n.startswith(owner) for n in moved)


def test_one_move_can_be_made_without_the_other():
    names = {m: [u.name for u in build(moves=m).stages()[2].updates] for m in ("both", "extract", "align")}
    assert names == {"both": ["extract", "align"], "extract": ["extract"], "align": ["align"]}


def test_repair_moves_the_head_alone_and_needs_labels():
    method = build(repair_epochs=1.0)
    before = {n: t.clone() for n, t in method.state_dict().items()}
    batch = {"x": torch.rand(5, 1, 8, 8), "label": torch.tensor([0, 1, 2, 3, 0])}
    Stepper(method, method.stages()[-1], seed=0, steps=1).step(batch, 0)
    moved = {n for n, t in method.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {n for n in before if n.startswith("model.net.head")}


def test_a_description_lies_between_zero_and_one_and_samples_only_where_noise_is_given():
    describer, e = Describer(6, 3, (8, 4)), 10 * torch.randn(5, 6)
    again, mu, sigma = describer(e)
    assert (again > 0).all()
    assert (again < 1).all()
    assert (sigma > 0).all()
    torch.testing.assert_close(describer(e, torch.zeros(5, 3))[0], again)
    assert not torch.equal(describer(e, torch.ones(5, 3))[0], again)
    assert mu.shape == (5, 3)


def test_the_given_network_stays_as_it_was():
    net = SmallClassifier(FIELDS["x"], 4, width=4, embedding=6)
    kept = copy.deepcopy(net.state_dict())
    method = build(net, **{"align.lr": 0.1})
    Stepper(method, method.stages()[2], seed=0, steps=1).step(pair(), 0)
    assert all(torch.equal(t, kept[n]) for n, t in net.state_dict().items())


@pytest.mark.parametrize(
    ("spec", "count"), [("digit=3", 183), ("digit=3|4", 364), ("random=0.25", 449), ("digit=3|4,random=0.5", 182)]
)
def test_what_to_forget_in_words(spec, count):
    forget, remain = split(open_data("digits:size=8"), spec, seed=1)
    assert (len(forget), len(forget) + len(remain)) == (count, 1797)
    assert not set(forget.indices.tolist()) & set(remain.indices.tolist())


def test_noisy_means_the_wrong_labels():
    data = noisy_digits()
    forget, _ = split(data, "noisy")
    wrong = data.table(torch.arange(len(data))).column("wrong")
    assert np.array_equal(forget.indices.numpy(), np.flatnonzero(wrong))


def test_a_random_choice_is_the_seeds():
    data = open_data("digits:size=8")
    first, again, other = (split(data, "random=0.1", seed)[0].indices for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("three", "FACTOR=VALUE"),
        ("number=3", "did you mean|choose from"),
        ("digit=11", "a value of 'digit'"),
        ("random=2", "a share"),
        ("noisy", "wrong|choose from"),
        ("digit=0|1|2|3|4|5|6|7|8|9", "some that remain"),
    ],
)
def test_what_is_not_understood_is_said_in_one_line(spec, match):
    with pytest.raises(ConfigError, match=match):
        split(open_data("digits:size=8"), spec)


@pytest.fixture(scope="module")
def forgotten():
    """A class forgotten by alignment, which is enough for it."""
    from unbraid.standins.classifier import SmallOne

    data = in_roles(open_data("digits:split=train,size=8"), ["label"], {})
    net = SmallOne(norm="none", embedding=32, hidden=(16,), steps=150, lr=3e-3).make(data, 1)
    changes = {"forget": "digit=2", "moves": "align", "align.lr": 3e-3, "temperature": 5.0, "epochs": 15.0}
    method = LAF(override(LAF.Config(), {**changes, "describe_epochs": 0.5}), data.fields, Given(classifier=net))
    fit(method, data, seed=1)
    return method, data


def test_a_class_is_forgotten_and_the_others_are_not(forgotten):
    method, data = forgotten
    found = method.examine(data)
    table = found.tables["forgetting"].columns
    rows = {name: dict(zip(table["network"], table[name], strict=True)) for name in table if name != "network"}
    assert rows["forget"]["before"] > 0.9
    assert rows["forget"]["laf"] < 0.1
    assert rows["forget"]["trained again"] < 0.1
    assert rows["test remain"]["laf"] > rows["test remain"]["before"] - 0.1
    assert found.numbers["items to forget"] + found.numbers["items that remain"] == len(data)
    assert set(table) == {"network", *ROW}


def test_more_can_be_forgotten_and_the_weights_say_so(forgotten):
    method, data = forgotten
    method = copy.deepcopy(method)
    found = method.forget("digit=5", data)
    assert found.numbers["forget"] < 0.1
    x, label = (data.take(torch.arange(400))[name] for name in ("x", "label"))
    said = method.predict({"x": x}).label
    assert (said[label == 5] == 5).float().mean() < 0.1


def test_training_again_begins_anew_and_is_the_seeds(forgotten):
    method, data = forgotten
    few = split(data, "random=0.1")[0]
    one, same = (trained_again(method.model.net, few, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), method.model.net.parameters(), strict=True))


def test_costs_are_counted_in_passes():
    method = build(describe_epochs=2.0, epochs=3.0, batch=10, repair_epochs=1.0)
    steps = 3 * 40 / 10
    assert cost(method, 100, 40) == 2 * 140 + steps * 20 * 7 + 60
    assert cost_again(640) == 200 * 64 * 3
