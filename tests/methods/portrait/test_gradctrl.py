"""Gradient controls: what they learn from, what is descended and kept, what edits do, what is refused."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError, UnbraidError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.dataset import Dataset, MemoryDataset
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.coded import CodedPortraits
from unbraid.data.made.traits import Traits
from unbraid.methods.portrait.confident import confident, held_out
from unbraid.methods.portrait.effects import Effect, effect, summed
from unbraid.methods.portrait.generator import Generator
from unbraid.methods.portrait.gradctrl import GradCtrl
from unbraid.methods.portrait.scorer import Scorer
from unbraid.ops.navigation import gradient
from unbraid.standins.generators import Distilled
from unbraid.standins.probes import Identity
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit

WORLD = Traits(rows=400, width=24, traits=3)
SMALL = {"samples": 300, "steps": 60, "channels": 4, "portion": 0.1, "optim.lr": 1e-2}


def made(data: Dataset = WORLD, given: dict[str, nn.Module] | None = None, **changes: Any) -> GradCtrl:
    config = override(GradCtrl.Config(), {**SMALL, **changes})
    return build(GradCtrl, config, data.fields, given=given)


def trained(data: Dataset = WORLD, given: dict[str, nn.Module] | None = None, **changes: Any) -> GradCtrl:
    method = made(data, given, **changes)
    fit(method, data)
    return method


def coloured() -> MemoryDataset:
    """Codes with a score (their first number) and a colour of three values (the largest of the next three)."""
    x = torch.randn(400, 12, generator=torch.Generator().manual_seed(0))
    x[:, 1:4] += 3 * torch.nn.functional.one_hot(torch.arange(400) % 3, 3)
    factors = [Factor("age", "continuous"), Factor("hair", "categorical", ("black", "white", "orange"))]
    values = torch.stack([x[:, 0], x[:, 1:4].argmax(1).float()], 1)
    return MemoryDataset("coloured", x, FactorTable(factors, values.double().numpy()))


def test_contract() -> None:
    check_method(GradCtrl)


def test_contract_with_classes() -> None:
    config = override(GradCtrl.Config(), {**GradCtrl.presets["tiny"], "classes": (1, 3)})
    check_method(GradCtrl, coloured(), config)


# ------------------------------------------------------------------------------------------------- what to learn from


def test_both_ends_of_a_score_and_the_surest_of_each_class() -> None:
    score = torch.tensor([0.1, 5.0, torch.nan, -2.0, 3.0, -4.0, 0.0, 1.0])
    logits = torch.tensor([[3.0, 0, 0], [9, 0, 0], [0, 1, 0], [0, 0, 5], [0, 0, 6], [1, 0, 0], [2, 0, 0], [0, 0, 7]])
    kept = confident(torch.cat([score[:, None], logits], 1), (1, 3), ("age", "hair"), 0.25)
    assert kept[:, 0].tolist() == [-1, 1, -1, 0, 1, 0, -1, -1]
    assert kept[:, 1].tolist() == [0, 0, 1, -1, 2, -1, -1, 2]


def test_kept_items_are_split_and_none_is_in_both() -> None:
    kept = torch.tensor([[0, 1, 0, 1, -1, 1, 0, 1, 0, 1, 0]]).T
    train, held = held_out(kept, 0.3, torch.Generator().manual_seed(0))
    assert int((held >= 0).sum()) == 3
    assert torch.equal(torch.maximum(train, held), kept)
    assert torch.equal(torch.minimum(train, held), torch.full_like(kept, -1))


def test_a_row_has_a_code_of_each_attributes_own() -> None:
    method = trained()
    rows = method.rows(WORLD, torch.arange(16), torch.Generator().manual_seed(0))
    assert rows.shape == (16, 3)
    chosen = method.labels[rows, torch.arange(3)]
    assert bool((chosen >= 0).all())
    own = WORLD.scores(WORLD.take(rows)["x"])[:, torch.arange(3), torch.arange(3)]
    assert torch.equal(chosen == 1, own > WORLD.scores(WORLD.take(torch.arange(400))["x"]).median(0).values)
    batch = WORLD.take(rows)
    logits = method.heads(batch["x"])
    loss = sum(float(t.detach().mean()) for t in method.loss(batch, At()).values())
    stacked = torch.stack([logits[k][:, k, 0] for k in range(3)], 1)
    assert loss == pytest.approx(
        3 * float(binary_cross_entropy_with_logits(stacked, chosen.float()).detach()), rel=1e-5
    )


def test_the_best_weights_on_held_out_codes_are_kept() -> None:
    method = trained()
    best = {k: v.clone() for k, v in method.kept.state_dict().items()}
    assert float(method.best) > 0.8
    turned = {k: -v if ".2." in k else v for k, v in best.items()}
    method.heads.load_state_dict(turned)  # as wrong as can be
    method.choose(At(step=19, steps=60))
    assert all(torch.equal(best[k], v) for k, v in method.kept.state_dict().items())
    method.choose(At(step=20, steps=60))  # not a step at which one looks
    method.heads.load_state_dict({k: v * 1.5 for k, v in best.items()})
    method.best.fill_(0.0)
    method.choose(At(step=59, steps=60))
    assert all(torch.equal(1.5 * best[k], v) for k, v in method.kept.state_dict().items())


# ------------------------------------------------------------------------------------------------------------ editing


def test_steps_leave_the_most_salient_channels_of_the_others_alone() -> None:
    method, codes = trained(), WORLD.take(torch.arange(6))["x"]
    stations = method.navigate(codes, 0, keep={2: 5})
    assert stations.shape == (10, 6, 24)
    torch.testing.assert_close((stations[1:] - stations[:-1]).norm(dim=2), torch.full((9, 6), 4 / 9))
    for here, there in pairwise(stations):
        saliency = gradient(lambda w: method.kept(w)[2][:, 0].sigmoid(), here).abs()
        moved = (there - here).gather(1, saliency.topk(5).indices)
        assert float(moved.abs().max()) == 0.0


def test_linear_controls_are_a_straight_line() -> None:
    method, codes = trained(hidden=0, channels=0), WORLD.take(torch.arange(6))["x"]
    steps = method.navigate(codes, 1).diff(dim=0)
    torch.testing.assert_close(steps, steps[:1, :1].expand_as(steps), atol=1e-5, rtol=1e-4)
    curved = trained(channels=0).navigate(codes, 1).diff(dim=0)
    assert float((curved - curved[:1, :1]).abs().max()) > 1e-2


def test_an_edit_moves_log_odds_by_an_amount() -> None:
    method, batch = trained(length=0.05, stations=200), WORLD.take(torch.arange(20))
    before = method.encode(batch)["controls"]
    for amount in (1.0, -1.0):
        after = method.controls(method.edit(batch, "controls[1]", amount))
        moved = (after - before)[:, 1] * amount
        assert float(moved.min()) >= 1.0
        assert float(moved.max()) < 1.5
    with pytest.raises(ConfigError, match="the name of a control, got 'controls\\[7\\]'"):
        method.edit(batch, "controls[7]", 1.0)


def test_each_class_is_reached_from_any_start() -> None:
    data = coloured()
    method = trained(data, classes=(1, 3), steps=200, channels=1)
    assert method.controls_named == ("age", "hair 0", "hair 1", "hair 2")
    for label in range(3):
        found = method.edited(data, "hair", to=str(label))
        x = found.take(torch.arange(400))["x"]
        assert float((x[:, 1:4].argmax(1) == label).float().mean()) > 0.8
    older = method.edited(data, "age", "more", ("hair=2",)).take(torch.arange(400))["x"]
    assert float((older - data.take(torch.arange(400))["x"])[:, 0].min()) > 0


def test_what_is_asked_of_the_action_is_checked() -> None:
    method = trained()
    for arguments, message in (
        (("trait_9",), "the name of an attribute, got 'trait_9'"),
        (("trait_0", "1"), "to: expected one of more, less, got '1'"),
        (("trait_0", "more", ("trait_1=99",)), "keep: expected a number of channels up to 24, got '99'"),
        (("trait_0", "more", ("trait_0",)), "keep: expected attributes other than the one to change"),
    ):
        with pytest.raises(UnbraidError, match=message):
            method.edited(WORLD, *arguments)


def test_what_was_changed_is_decoded_and_all_else_stays() -> None:
    method, batch = trained(), WORLD.take(torch.arange(6))
    parts = method.encode(batch)
    assert torch.equal(method.decode(parts), batch["x"])
    asked = parts["controls"].clone()
    asked[:3, 1] += 1.0
    asked[3, 0] -= 1.0
    made = method.decode(parts.replace({"controls": asked}))
    assert torch.equal(made[4:], batch["x"][4:])
    reached = method.controls(made)
    torch.testing.assert_close(reached[:3, 1], asked[:3, 1], atol=0.3, rtol=0)
    torch.testing.assert_close(reached[3, 0], asked[3, 0], atol=0.3, rtol=0)
    assert bool((reached[:3, 1] >= asked[:3, 1]).all())


# ------------------------------------------------------------------------------------------------------ given networks


class Style(nn.Module):
    """A generator with a mapping, and layers that each take a code."""

    layers = 3

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Linear(24, 24)

    def forward(self, codes: Tensor) -> Tensor:
        return codes


class Scores(nn.Module):
    """True traits of what `Style` makes, or of codes."""

    def forward(self, items: Tensor) -> Tensor:
        return WORLD.scores(items[:, 1] if items.ndim == 3 else items)


def test_an_edit_acts_in_a_range_of_layers() -> None:
    codes, edited = torch.randn(4, 24), torch.randn(4, 24)
    made = Generator(Style(), "w", (1, 2))(codes, edited)
    assert torch.equal(made, torch.stack([codes, edited, codes], 1))
    whole = Generator(Style(), "w", None)(codes, edited)
    assert torch.equal(whole, edited[:, None].expand(4, 3, 24))
    with pytest.raises(ConfigError, match="a range of the generator's layers, got 1:5 of 3 layers"):
        Generator(Style(), "w", (1, 5))


def test_codes_from_the_prior_are_truncated_or_inputs() -> None:
    net, z = Style(), torch.randn(50, 24)
    w = net.mapping(z)
    torch.testing.assert_close(Generator(net, "w", None).drawn(z, 0.4), w.mean(0) + 0.4 * (w - w.mean(0)))
    inputs = Generator(net, "z", None)
    assert torch.equal(inputs.drawn(z, 0.4), z)
    torch.testing.assert_close(inputs(z)[:, 2], w)


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_generator_and_a_scorer_do_without_factors(space: str) -> None:
    data = MemoryDataset("codes", torch.randn(100, 24))
    given = {"generator": Style(), "scorer": Scores()}
    method = trained(data, given, attributes=("a", "b", "c"), draw="prior", space=space, truncation=1.0, layers=None)
    assert len(method.labels) == 300
    assert not any(name.startswith(("generator", "scorer")) for name in method.tensors())
    numbers = method.examine(data).numbers
    assert {"success", "side effect of c"} <= set(numbers)
    assert method.edit(data.take(torch.arange(2)), "controls[0]", 1.0).shape == (2, 3, 24)


class Named(nn.Module):
    """Scores that say what they are: two numbers, and a class of three."""

    names, classes = ("a", "b", "hue"), (1, 1, 3)

    def forward(self, items: Tensor) -> Tensor:
        return items[:, :5]


def test_a_scorer_that_names_its_scores_is_asked_for_some() -> None:
    items = torch.randn(4, 8)
    assert torch.equal(Scorer(Named(), (), ())(items), items[:, :5])
    some = Scorer(Named(), ("hue", "a"), ())
    assert some.classes == (3, 1)
    assert torch.equal(some(items), items[:, [2, 3, 4, 0]])
    with pytest.raises(ConfigError, match="an attribute that is scored, got 'c'"):
        Scorer(Named(), ("c",), ())
    with pytest.raises(ConfigError, match="classes: expected 3, 1 as the scorer has, got 1, 1"):
        Scorer(Named(), ("hue", "a"), (1, 1))


PICTURES = CodedPortraits(rows=120, size=16)


def pictured(**changes: Any) -> GradCtrl:
    """Trained on pictures of heads by stand-ins that have hardly learned."""
    given: dict[str, nn.Module] = {
        "generator": Distilled((8, 8, 8), steps=2).make(PICTURES, 0),
        "scorer": Scores4(),
        "recogniser": Identity(2, 2, steps=1).make(PICTURES, 0),
    }
    return trained(PICTURES, given, **{"samples": 120, "portion": 0.1, "steps": 10, **changes})


class Scores4(nn.Module):
    """Colours of corners as scores of glasses, beard and smile, and as a class of hair."""

    names, classes = ("glasses", "beard", "smile", "hair_tone"), (1, 1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        corners = x[:, :, :8, :8].mean((2, 3)), x[:, :, 8:, 8:].mean((2, 3))
        return torch.cat([corners[0], corners[1] - corners[1].mean(0)], 1)


def test_pictures_are_scored_edited_and_judged() -> None:
    method = pictured()
    assert method.controls_named == ("glasses", "beard", "smile", "hair_tone 0", "hair_tone 1", "hair_tone 2")
    assert [(part.name, part.shape) for part in method.parts()] == [("controls", (6,)), ("code", (64,))]
    batch = PICTURES.take(torch.arange(3))
    assert method.decode(method.encode(batch)).shape == batch["x"].shape
    assert method.edit(batch, "controls[0]", 0.1).shape == batch["x"].shape
    assert method.edited(PICTURES, "hair_tone", "2").fields["x"].shape == (3, 16, 16)
    numbers = method.examine(PICTURES).numbers
    assert {"success of hair_tone 2", "side effect of beard", "success"} < set(numbers)
    assert not any(name.startswith(("generator", "scorer", "recogniser")) for name in method.tensors())
    few = pictured(attributes=("smile", "hair_tone"))
    assert few.classes == (1, 3)


# ---------------------------------------------------------------------------------------------------------- judging it


def stepped(step: Tensor, steps: int = 10) -> Any:
    """Edits along one direction."""

    def navigate(codes: Tensor, _: int, way: Tensor, arrived: Any) -> Tensor:
        w = codes
        for _ in range(steps):
            w = torch.where(arrived(w)[:, None], w, w + way[:, None] * step * (w[:, :1] > -5))
        return w

    return navigate


def test_effects_are_those_at_one_standard_deviation() -> None:
    codes = torch.zeros(4, 3)
    codes[2, 0] = 5  # above the middle: comes down
    codes[3, 0] = -9  # never arrives
    spread, middle = torch.tensor([1.0, 0.5, 4.0]), torch.tensor([1.0, 0.0, 0.0])
    navigate, alike = stepped(torch.tensor([0.5, 0.25, -1.0])), lambda a, b: (b - a)[:, 0].abs()
    found = effect(codes, lambda w: w, spread, middle, (1, 1, 1), 0, navigate, alike)
    assert found.success == 0.75
    assert found.others == pytest.approx((1.0 + 0.5) / 2)  # two steps: 0.5 of 0.5 and 2 of 4
    assert found.alike == 1.0
    still = effect(codes, lambda w: w, spread, middle, (1, 1, 1), 0, stepped(torch.zeros(3)))
    assert (still.success, still.others) == (0.0, 0.0)


def test_a_class_is_to_be_reached_by_those_of_other_classes() -> None:
    codes = torch.eye(3)[[0, 0, 1, 2]] * 4
    navigate = stepped(torch.tensor([-1.0, 0.0, 1.0]))
    found = effect(codes, lambda w: w, torch.ones(3), torch.zeros(3), (3,), 2, navigate)
    assert found.success == 1.0
    assert math.isnan(found.alike)


def test_means_are_over_what_arrived() -> None:
    numbers = summed(("a", "b"), [Effect(1.0, 0.5, 0.9), Effect(0.0, 0.0, math.nan)])
    assert (numbers["success"], numbers["side effect"], numbers["likeness"]) == (0.5, 0.5, 0.9)
    assert "likeness after b" not in numbers


def test_without_true_scores_only_accuracy_is_told() -> None:
    x = WORLD.take(torch.arange(400))
    data = MemoryDataset("copy", x["x"], WORLD.table(torch.arange(400)))
    found = trained(data).examine(data)
    assert list(found.numbers) == ["accuracy on held-out codes"]
    assert found.notes


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"portion": 0.6}, "portion: expected a share above 0 and up to a half, got 0.6"),
        ({"held": 0.0}, "held: expected a share between 0 and 1, got 0"),
        ({"classes": (2, 1, 1)}, "classes: expected 1 for a score, or three classes or more, got 2, 1, 1"),
        ({"classes": (1, 1)}, "classes: expected the classes of every attribute, got 2 for 3 attributes"),
        ({"channels": 25}, "channels: expected at most 24 channels, got 25"),
        ({"draw": "prior"}, "draw: expected a generator and a scorer, for codes from the prior, got neither"),
        ({"steps": 0}, "steps: expected a whole number above 0, got 0"),
        ({"length": 0.0}, "length: expected a length above 0, got 0"),
        ({"layers": (0, 1)}, "layers: expected a range of the generator's layers, got 0:1 of no layers"),
    ],
)
def test_wrong_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnbraidError, match=message):
        made(**changes)


def test_wrong_data() -> None:
    with pytest.raises(DataError, match="codes, one vector for each item"):
        build(GradCtrl, GradCtrl.Config(), Fields(x=Field((3, 8, 8)), factors=Field((1,), names=("a",))))
    with pytest.raises(ConfigError, match="the name of a factor, got 'trait_7'"):
        trained(attributes=("trait_7",))
    values = np.full((400, 1), np.nan)
    values[:5] = 1
    few = MemoryDataset("few", torch.randn(400, 24), FactorTable([Factor("age", "continuous")], values))
    with pytest.raises(DataError, match="attribute 'age': expected 60 known scores or more, got 5"):
        trained(few)
    four = FactorTable([Factor("hue", "categorical", tuple("abcd"))], np.arange(400)[:, None] % 4)
    with pytest.raises(ConfigError, match="as many classes as the factor has, got 3"):
        trained(MemoryDataset("four", torch.randn(400, 24), four), classes=(3,))
