import math

import pytest
import torch

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.losses.entropy import entropy, probability_lost
from unbraid.methods.robust.deyo import DeYO
from unbraid.testing import check_method
from unbraid.training.stepper import Stepper
from unbraid.verbs.trying import tiny_data


def test_contract():
    assert "sums" in check_method(DeYO, tiny_data(DeYO))


@pytest.mark.parametrize("destroy", ["patch", "pixel", "occlude"])
def test_the_loss_is_the_weighted_entropy_of_what_both_filters_keep(make, images, destroy):
    first = make(DeYO, destroy=destroy, patches=2)
    logits, top = first.classify(images, At()), math.log(4)
    h = entropy(logits)
    limit = float(h.detach().sort().values[8])
    sure = h < limit
    destroyed = first.destroyed(images, sure, At())
    assert len(destroyed) == 8
    plpd = probability_lost(logits[sure], first.classify(destroyed, At())).detach()
    least = float(plpd.sort().values[3])
    kept = plpd > least
    assert kept.sum() == 4
    method = make(DeYO, tau_entropy=limit / top, tau_plpd=least, destroy=destroy, patches=2)
    terms = method.objective(images, logits, At())
    alpha = torch.exp(0.4 * top - h[sure][kept]) + torch.exp(plpd[kept])
    torch.testing.assert_close(terms["entropy"], (alpha.detach() * h[sure][kept]).mean())


def test_no_gradient_goes_through_the_weights_or_the_destroyed_images(make, images):
    method = make(DeYO, tau_entropy=1.0, tau_plpd=-1.0)
    logits = method.classify(images, At())
    loss = method.objective(images, logits, At())["entropy"]
    h = entropy(logits)
    plpd = method.reliance(images, logits, torch.ones(12, dtype=torch.bool), At())
    alpha = (torch.exp(0.4 * math.log(4) - h) + torch.exp(plpd)).detach()
    for a, b in zip(
        torch.autograd.grad(loss, method.affine, retain_graph=True),
        torch.autograd.grad((alpha * h).mean(), method.affine),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_each_filter_and_weight_can_be_left_out(make, images):
    at, unsure, plpd = At(), torch.tensor([0.2, 0.5]), torch.tensor([0.1, 0.6])
    first, second = torch.exp(0.4 * math.log(4) - unsure), torch.exp(plpd)
    both = make(DeYO)
    torch.testing.assert_close(both.weight(unsure, plpd), first + second)
    torch.testing.assert_close(make(DeYO, weight_plpd=False).weight(unsure, plpd), first)
    torch.testing.assert_close(make(DeYO, weight_entropy=False).weight(unsure, plpd), second)
    none = make(DeYO, weight_entropy=False, weight_plpd=False, filter_entropy=False, filter_plpd=False)
    logits = none.classify(images, at)
    torch.testing.assert_close(none.objective(images, logits, at)["entropy"], entropy(logits).mean())


def test_the_bounds_are_strict(make, images):
    method = make(DeYO, tau_entropy=1.0)
    assert method.objective(images, torch.zeros(12, 4), At()) is None  # quite unsure: not below the greatest entropy
    same = make(DeYO, tau_entropy=1.0, tau_plpd=0.0)
    same.destroyed = lambda x, chosen, at: x[chosen]
    assert same.objective(images, same.classify(images, At()), At()) is None  # nothing lost: not above 0


def test_where_nothing_is_kept_nothing_moves_but_the_answer_is_given(make, images):
    method = make(DeYO, tau_plpd=0.999)
    before = method.start.clone()
    report = Stepper(method, method.stages()[0], seed=0, steps=1).step({"x": images}, 0)
    assert report.terms == {}
    assert report.outputs["logits"].shape == (12, 4)
    assert torch.equal(torch.cat([w.flatten() for w in method.affine]), before)


def test_images_are_shuffled_each_in_its_own_way_and_pixels_alike(make, images):
    everyone = torch.ones(12, dtype=torch.bool)
    same = images[:1].expand(12, -1, -1, -1)
    patches = make(DeYO).destroyed(same, everyone, At())
    assert len(patches.flatten(1).unique(dim=0)) == 12
    pixels = make(DeYO, destroy="pixel").destroyed(same, everyone, At())
    assert len(pixels.flatten(1).unique(dim=0)) == 1
    assert not torch.equal(pixels, same)


def test_a_stream_of_single_images_is_adapted_to_with_group_norms(images):
    from unbraid.core.given import Given
    from unbraid.nets.classifier import SmallClassifier

    torch.manual_seed(0)
    fields = Fields(x=Field((3, 16, 16), unit=True))
    net = SmallClassifier(fields["x"], 4, width=4, norm="group")
    config = override(DeYO.Config(), {**DeYO.presets["wild-resnet50-gn-one"], "tau_entropy": 1.0, "tau_plpd": -1.0})
    method = DeYO(config, fields, Given(classifier=net))
    assert len(list(method.adapt(MemoryDataset("x", images, unit=True)))) == 12
    assert not torch.equal(torch.cat([w.flatten() for w in method.affine]), method.start)


def test_learning_rates_of_the_wild_presets_follow_the_batch():
    rate = {name: override(DeYO.Config(), preset).optim.lr for name, preset in DeYO.presets.items()}
    assert rate["imagenet-c"] == rate["wild-resnet50-gn"] == 2.5e-4
    assert rate["wild-vit"] == 1e-3
    assert rate["wild-resnet50-gn-one"] == pytest.approx(1e-3 / 64)
    assert rate["wild-vit-one"] == pytest.approx(2e-3 / 64)
    assert rate["waterbirds"] == rate["coloured-mnist"] == pytest.approx(1.25e-3)


def test_reliance_is_a_part_and_the_same_when_asked_again(make, images):
    method = make(DeYO)
    one, two = (method.encode({"x": images}) for _ in range(2))
    assert one["reliance"].shape == (12,)
    assert torch.equal(one["reliance"], two["reliance"])


def test_what_does_not_fit_is_said_in_one_line(make):
    with pytest.raises(ConfigError, match="tau_entropy"):
        make(DeYO, tau_entropy=1.5)
    with pytest.raises(ConfigError, match="patches"):
        make(DeYO, patches=17)
    from unbraid.nets.classifier import SmallClassifier

    vectors = Fields(x=Field((12,)))
    with pytest.raises(DataError, match="images"):
        make(DeYO, net=SmallClassifier(vectors["x"], 3), fields=vectors)
