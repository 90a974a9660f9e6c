import numpy as np
import pytest
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At
from unbraid.data.made.placed import placed_digits
from unbraid.data.wrapped import in_roles
from unbraid.methods.joint.label_augmentation import LabelAugmentation
from unbraid.testing.contract import check_method
from unbraid.training.fit import fit
from unbraid.views.copies import expand

TINY = override(LabelAugmentation.Config(), LabelAugmentation.presets["tiny"])


def fields(shape=(1, 12, 12), classes=5):
    return Fields(x=Field(shape, unit=True), label=Field((), "int64", classes=classes))


def made(shape=(1, 12, 12), **changes):
    torch.manual_seed(0)
    return LabelAugmentation(override(TINY, changes), fields(shape))


def batch(n=6, shape=(1, 12, 12)):
    generator = torch.Generator().manual_seed(0)
    return {"x": torch.rand(n, *shape, generator=generator), "label": torch.randint(5, (n,), generator=generator)}


def total(terms):
    return sum(weight * raw.mean() for weight, raw in terms.values())


@pytest.fixture(scope="module")
def digits():
    return in_roles(placed_digits(rows=48), ["label"], {})


@pytest.mark.parametrize("alias", ["sla-sd", "sla-mt"])
def test_contract_of_every_way_to_label(alias, digits):
    config = override(TINY, LabelAugmentation.aliases.get(alias, {}))
    assert "resume" in check_method(LabelAugmentation, digits, config)


def test_the_loss_is_the_cross_entropy_of_pairs_row_by_row():
    method, b = made(), batch()
    found = total(method.loss(b, At())).item()
    z = made().encoder(expand(b["x"], method.transforms))
    logits = (z @ method.head.weight.T + method.head.bias).detach().double().numpy()
    wanted = []
    for row in range(len(logits)):
        y, m = int(b["label"][row // 4]), row % 4
        wanted.append(np.log(np.exp(logits[row]).sum()) - logits[row, 4 * y + m])
    assert found == pytest.approx(np.mean(wanted), rel=1e-5)
    assert total(made(large=True).loss(b, At())).item() == pytest.approx(4 * found, rel=1e-5)


def test_labels_of_pairs_are_a_bijection():
    method = made()
    labels = method.joint_labels(torch.arange(5))
    assert sorted(labels.tolist()) == list(range(20))
    assert (labels // 4).tolist() == [y for y in range(5) for _ in range(4)]


def test_with_logits_tied_over_transformations_it_is_data_augmentation_up_to_a_constant():
    method, b = made(logits="class"), batch()
    z = method.encoder(expand(b["x"], method.transforms))
    joint = functional.cross_entropy(method.joint(z).flatten(1), method.joint_labels(b["label"]))
    torch.testing.assert_close(joint - total(method.labelled(z, b["label"])), torch.tensor(4.0).log())


def test_with_logits_summed_it_is_two_tasks():
    method, b = made(logits="sum"), batch()
    z = method.encoder(expand(b["x"], method.transforms))
    joint = functional.cross_entropy(method.joint(z).flatten(1), method.joint_labels(b["label"]))
    torch.testing.assert_close(joint, total(method.labelled(z, b["label"])))


def test_the_aggregate_is_the_mean_of_the_diagonal_blocks():
    method = made()
    joint = torch.randn(3 * 4, 5, 4, generator=torch.Generator().manual_seed(0))
    by_hand = torch.stack([torch.stack([joint[4 * b + m, :, m] for m in range(4)]).mean(0) for b in range(3)])
    torch.testing.assert_close(method.aggregate(joint), by_hand)
    torch.testing.assert_close(method.single(joint), joint[::4, :, 0])


def test_distillation_is_kl_to_the_aggregate_and_moves_nothing_through_it():
    method, b, t = made(distil=True, temperature=4.0), batch(), 4.0
    z = method.encoder(expand(b["x"], method.transforms)).detach()
    terms = method.distillation(z, b["label"])
    p = (method.aggregate(method.joint(z)) / t).softmax(1)
    s = method.distilled(z[::4])
    kl = (p * (p.log() - (s / t).log_softmax(1))).sum(1)
    torch.testing.assert_close(terms["distillation"][1], kl)
    assert terms["distillation"][0] == 16
    slopes = torch.autograd.grad(total(terms), [method.head.weight, method.distilled.weight], allow_unused=True)
    assert slopes[0] is None
    assert slopes[1].abs().max() > 0


def test_only_the_aggregate_looks_at_turned_images():
    method, b = made(distil=True).eval(), batch()
    with torch.no_grad():
        found = method.answers(b["x"], ("single", "aggregate", "distilled"))
        alone = method.answers(b["x"], ("single", "distilled"))
        turned = method.answers(b["x"].rot90(1, (2, 3)), ("single",))
    for name, value in alone.items():
        torch.testing.assert_close(value, found[name])
    assert not torch.allclose(turned["single"], found["single"])
    joint = method.joint(method.encoder(expand(b["x"], method.transforms)))
    torch.testing.assert_close(found["aggregate"], method.aggregate(joint))


def test_marginals_are_probabilities():
    parts = made().eval().encode(batch())
    for name in ("label", "transformation"):
        torch.testing.assert_close(parts[name].sum(1), torch.ones(6))
    assert list(made(transform="none").encode(batch())) == ["label", "embedding"]


def test_margins_grow_with_rarity_and_lower_the_true_class(digits):
    method = LabelAugmentation(override(TINY, {"margin": 0.5, "scale": 10.0, "transform": "none"}), digits.fields)
    method.weigh({"train": digits}, At())
    counts = torch.bincount(digits.take(torch.arange(48))["label"], minlength=10).clamp(min=1).float()
    torch.testing.assert_close(method.margins, 0.5 * (counts / counts.min()) ** -0.25)
    b = digits.take(torch.arange(12))
    z = method.encoder(b["x"]).detach()
    logits = 10 * functional.cosine_similarity(z[:, None], method.head.weight[None], dim=2)
    logits[torch.arange(12), b["label"]] -= 10 * method.margins[b["label"]]
    torch.testing.assert_close(total(method.labelled(z, b["label"])), functional.cross_entropy(logits, b["label"]))


def test_an_examination_and_few_examples(digits):
    method = LabelAugmentation(override(TINY, {"distil": True}), digits.fields)
    fit(method, digits, seed=0)
    found = method.examine(digits).numbers
    assert set(found) >= {"accuracy, single", "accuracy, aggregated", "accuracy, distilled"}
    assert all(0 <= value <= 1 for value in found.values())
    test = in_roles(placed_digits("test", rows=48), ["label"], {})
    told = method.few_shot(test, ways=3, shots=2, queries=3, episodes=4).numbers
    assert 0 < told["accuracy, aggregated"] <= 1
    with pytest.raises(DataError, match="at least 20 classes"):
        method.few_shot(test, ways=20)


def test_wrong_options_and_data_in_one_line():
    for changes, said in {
        (("batch", 1),): "batch",
        (("temperature", 0.0),): "temperature",
        (("margin", -1.0),): "margin",
        (("epochs", 0.0),): "epochs",
        (("answer", "distilled"),): "distil=true",
    }.items():
        with pytest.raises(ConfigError, match=said):
            override(TINY, dict(changes))
    with pytest.raises(DataError, match="three colours"):
        made(transform="colours3")
    with pytest.raises(DataError, match="square"):
        made((1, 12, 16))
    with pytest.raises(DataError, match="two or more classes"):
        LabelAugmentation(TINY, Fields(x=Field((1, 12, 12), unit=True), label=Field((), "int64")))
