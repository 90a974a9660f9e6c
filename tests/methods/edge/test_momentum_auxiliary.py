import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, Schedule
from unbraid.data.made.placed import placed_digits
from unbraid.data.wrapped import in_roles
from unbraid.methods.edge.judged import step_of
from unbraid.methods.edge.momentum_auxiliary import MomentumAuxiliary
from unbraid.testing.contract import check_method
from unbraid.training.memory import peak_saved_bytes
from unbraid.training.stepper import Stepper

TINY = override(MomentumAuxiliary.Config(), MomentumAuxiliary.presets["tiny"])
FIELDS = Fields(x=Field((1, 16, 16), unit=True), label=Field((), "int64", classes=5))


def made(**changes):
    torch.manual_seed(0)
    return MomentumAuxiliary(override(TINY, changes), FIELDS)


def batch(n=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.rand(n, 1, 16, 16, generator=generator), "label": torch.arange(n) % 5}


def total(terms):
    weighted = (term if isinstance(term, tuple) else (1.0, term) for term in terms.values())
    return sum(weight * raw.mean() for weight, raw in weighted)


def losses(method, b):
    at = At()
    return [total(update.loss(b, at)) for update in method.stages()[0].updates]


@pytest.mark.parametrize("alias", ["momentum-auxiliary", "end-to-end"])
def test_contract(alias):
    data = in_roles(placed_digits(rows=48), ["label"], {})
    config = override(TINY, MomentumAuxiliary.aliases.get(alias, {}))
    assert "resume" in check_method(MomentumAuxiliary, data, config)


def test_no_gradient_reaches_another_block():
    method = made()
    for k, loss in enumerate(losses(method, batch())):
        for j, block in enumerate(method.blocks):
            slopes = torch.autograd.grad(loss, list(block.parameters()), allow_unused=True, retain_graph=True)
            if j == k:
                assert all(g is not None and g.abs().max() > 0 for g in slopes)
            else:
                assert all(g is None for g in slopes)


def test_the_copy_that_follows_passes_gradients_on_and_keeps_its_own_parameters():
    method = made(path="ema")
    path = method.paths[0]
    assert not any(p.requires_grad for p in path.ema.parameters())
    at, b = At(), batch()
    loss = total(method.local(0, b, at))
    assert torch.autograd.grad(loss, method.blocks[0][0].net[0].weight)[0].abs().max() > 0


def test_one_block_is_ordinary_back_propagation():
    method, b = made(blocks=1), batch()
    assert len(method.paths) == 0
    (loss,) = losses(method, b)
    plain = copy.deepcopy(method)
    wanted = functional.cross_entropy(plain.head(plain.blocks[0](b["x"]).mean((2, 3))), b["label"])
    torch.testing.assert_close(loss, wanted)
    ours = torch.autograd.grad(loss, list(method.parameters()))
    theirs = torch.autograd.grad(wanted, list(plain.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_without_weights_the_local_blocks_learn_nothing():
    method, b = made(reconstruction=(0.0, 0.0), task=(0.0, 0.0)), batch()
    found = losses(method, b)
    for k in (0, 1):
        slopes = torch.autograd.grad(found[k], list(method.blocks[k].parameters()))
        assert all(g.abs().max() == 0 for g in slopes)
    assert any(g.abs().max() > 0 for g in torch.autograd.grad(found[2], list(method.blocks[2].parameters())))


def test_labels_change_the_task_and_images_the_reconstruction():
    method, b = made(), batch()
    terms = method.local(0, b, At())
    other = method.local(0, {**b, "label": (b["label"] + 1) % 5}, At())
    torch.testing.assert_close(terms["reconstruction"][1], other["reconstruction"][1])
    assert not torch.allclose(terms["task"][1], other["task"][1])
    h, noise = method.blocks[0](b["x"]), {**b, "x": torch.rand_like(b["x"]).round()}
    here, there = (method.local_terms(0, h, some, At()) for some in (b, noise))
    assert there["reconstruction"][1].mean() > here["reconstruction"][1].mean()
    torch.testing.assert_close(there["task"][1], here["task"][1])


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_copy_moves_towards_the_next_layer_before_that_moves(momentum):
    method = made(momentum=momentum)
    layer = method.next_layer(0)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3)
    copied = method.paths[0].ema.twin
    old, new = ([p.detach().clone() for p in net.parameters()] for net in (copied, layer))
    step_of(method, batch())()
    for e, before, following in zip(copied.parameters(), old, new, strict=True):
        torch.testing.assert_close(e, momentum * before + (1 - momentum) * following)
    assert any(not torch.equal(p, q) for p, q in zip(layer.parameters(), new, strict=True))


def test_both_copies_start_as_the_next_layer_unless_they_are_drawn_anew():
    method, fresh = made(), made(quirks=frozenset({"fresh_copies"}))
    for m, same in ((method, True), (fresh, False)):
        kinds = m.paths[0].twin, m.paths[0].ema.twin, m.next_layer(0)
        twin, ema, layer = (net.conv1.weight for net in kinds)
        assert torch.equal(twin, layer) is torch.equal(ema, layer) is torch.equal(twin, ema) is same


def test_the_sum_of_the_copies_is_taken_after_their_own_last_relu():
    method, h = made(), torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    path = method.paths[0]
    torch.testing.assert_close(path(h), path.twin(h) + path.ema(h))
    assert made(path="none").paths[0](h) is h


def test_weights_along_depth():
    options = {"depth": 32, "blocks": 5, "reconstruction": (4.0, 0.0), "task": (1.0, 3.0)}
    method = made(**options)
    assert [method.weights(k) for k in range(4)] == [
        pytest.approx((4 * (1 - r), 1 + 2 * r)) for r in (0, 1 / 3, 2 / 3, 1)
    ]
    staged = made(**{**options, "quirks": frozenset({"stage_ratio"})})
    assert staged.stages_after == [1, 2, 2, 3]
    assert [staged.weights(k)[0] for k in range(4)] == pytest.approx([4 * (1 - s / 3) for s in (1, 2, 2, 3)])
    assert made(blocks=2).weights(0) == (5.0, 0.5)


def test_blocks_of_the_published_network():
    layers = {k: [len(b) for b in made(depth=32, blocks=k).blocks] for k in (2, 4, 8, 16)}
    assert layers[2] == [8, 8]  # the stem counts in the first
    assert layers[4] == [4, 4, 4, 4]
    assert layers[8] == [2, *[2] * 7]
    assert layers[16] == [2, *[1] * 14]


def test_what_blocks_learn_by_is_not_needed_to_predict_and_is_not_shipped():
    method = made().eval()
    b, again = batch(), made().eval()
    weights = {name: t for name, t in method.tensors().items() if not name.startswith("paths.")}
    again.load_tensors(weights)
    del again.paths
    torch.testing.assert_close(again.predict(b).logits, method.predict(b).logits)


def test_supervised_contrast_in_the_place_of_cross_entropy():
    method, b = made(contrast=True), batch()
    said = method.paths[0].classifier(method.paths[0](method.blocks[0](b["x"])))
    assert said.shape == (8, 8)
    z = functional.normalize(said, dim=1).detach().double()
    wanted = []
    for i in range(8):
        others = [j for j in range(8) if j != i]
        norm = sum(torch.exp(z[i] @ z[j] / 0.07) for j in others)
        same = [j for j in others if b["label"][j] == b["label"][i]]
        told = [z[i] @ z[j] / 0.07 - norm.log() for j in same]
        wanted.append(-sum(told) / max(1, len(told)))
    found = made(contrast=True).local(0, b, At())["task"][1].double()
    torch.testing.assert_close(found, torch.stack([torch.as_tensor(w) for w in wanted]).double(), rtol=1e-4, atol=1e-4)


def test_a_step_in_many_blocks_keeps_less_than_ordinary_training():
    shape = (3, 32, 32)
    fields = Fields(x=Field(shape, unit=True), label=Field((), "int64", classes=5))
    config = replace(MomentumAuxiliary.Config(), augment="none")
    kept = []
    for blocks in (16, 1):
        method = MomentumAuxiliary(replace(config, blocks=blocks), fields)
        b = {"x": torch.rand(4, *shape), "label": torch.arange(4)}
        kept.append(peak_saved_bytes(step_of(method, b), method.state_dict().values()))
    assert kept[0] < 0.6 * kept[1]


def test_an_examination_leaves_the_method_as_it_was():
    data = in_roles(placed_digits(rows=48), ["label"], {})
    method = MomentumAuxiliary(TINY, data.fields)
    before = {name: t.clone() for name, t in method.tensors().items()}
    state = torch.get_rng_state()
    found = method.examine(data)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(t, before[name]) for name, t in method.tensors().items())
    assert found.arrays["linear probe by depth"].shape == (3,)
    assert found.numbers["saved bytes against end-to-end"] > 0


def test_blocks_move_by_momentum_that_looks_ahead():
    optim = replace(TINY.optim, weight_decay=0.0, schedule=Schedule())
    method, plain = made(blocks=1), made(blocks=1)
    method.config = replace(method.config, optim=optim)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=2)
    by_hand = torch.optim.SGD(plain.parameters(), lr=optim.lr, momentum=0.9, nesterov=True)
    for step in range(2):
        stepper.step(batch(seed=step), step)
        by_hand.zero_grad()
        total(plain.end(batch(seed=step), At())).backward()
        by_hand.step()
    for one, other in zip(method.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_wrong_options_and_data_in_one_line():
    for changes, said in {
        (("depth", 31),): "one of",
        (("blocks", 0),): "blocks",
        (("momentum", 1.5),): "momentum",
        (("task", (-1.0, 0.0)),): "two weights",
        (("widen", 0.0),): "widen",
        (("quirks", frozenset({"odd"})),): "stage_ratio",
    }.items():
        with pytest.raises(ConfigError, match=said):
            override(TINY, dict(changes))
    with pytest.raises(DataError, match="images"):
        MomentumAuxiliary(TINY, Fields(x=Field((12,)), label=Field((), "int64", classes=5)))
    with pytest.raises(DataError, match="two or more classes"):
        MomentumAuxiliary(TINY, Fields(x=Field((1, 16, 16), unit=True), label=Field((), "int64")))
