"""One step of one stage: groups, clips, layouts, precision, seeds."""

import pytest
import torch
from stubs import Stub, TwoUpdates, card
from torch import nn

from unbraid.core.config import override
from unbraid.core.method import At, Clip, Group, Optim, Schedule, Update
from unbraid.methods.latent.vae import VAE
from unbraid.testing.made import tiny_images, tiny_vectors
from unbraid.training.build import build
from unbraid.training.ema import EMA
from unbraid.training.fit import fit
from unbraid.training.schedules import factor
from unbraid.training.stepper import Stepper, _filled

DATA = tiny_vectors()


class Linear(Stub):
    """Gradients that are known: the loss is the sum of the weights times a fixed tensor."""

    card = card("linear")
    optim = Optim("sgd", lr=1.0)
    slope = 3.0

    def stages(self):
        return [self.stage("fit", Update("fit", self.loss, lambda: [self.encoder], self.optim))]

    def loss(self, batch, at):
        return {"w": self.slope * self.encoder.weight.sum(), "b": 2 * self.slope * self.encoder.bias.sum()}


def moved(optim, slope=3.0):
    cls = type("Now", (Linear,), {"optim": optim, "slope": slope, "card": card("now")})
    method = build(cls, cls.Config(), DATA.fields)
    before = {n: p.detach().clone() for n, p in method.named_parameters()}
    Stepper(method, method.stages()[0], seed=0, steps=4).step(DATA.take(torch.arange(8)), 0)
    return {n.removeprefix("encoder."): p.detach() - before[n] for n, p in method.named_parameters()}


def test_value_clip_limits_each_entry_of_its_group_only():
    by = moved(Optim("sgd", lr=1.0, clip=Clip("value", 1.0), groups=(Group("bias$"),)))
    assert torch.allclose(by["weight"], torch.tensor(-1.0))
    assert torch.allclose(by["bias"], torch.tensor(-6.0))


def test_norm_clip_limits_the_norm_of_its_group():
    by = moved(Optim("sgd", lr=1.0, clip=Clip("norm", 0.5), groups=(Group("bias$", lr=0.1, clip=Clip("norm", 2.0)),)))
    assert by["weight"].norm() == pytest.approx(0.5, rel=1e-4)
    assert by["bias"].norm() == pytest.approx(0.2, rel=1e-4)


def test_each_parameter_has_its_own_norm():
    by = moved(Optim("sgd", lr=1.0, clip=Clip("each", 0.5)))
    assert by["weight"].norm() == pytest.approx(0.5, rel=1e-4)
    assert by["bias"].norm() == pytest.approx(0.5, rel=1e-4)
    small = moved(Optim("sgd", lr=1.0, clip=Clip("each", 1e9)))
    assert torch.allclose(small["weight"], torch.tensor(-3.0))


def test_small_gradients_are_not_clipped():
    by = moved(Optim("sgd", lr=1.0, clip=Clip("norm", 1e9)), slope=1e-3)
    assert torch.allclose(by["weight"], torch.tensor(-1e-3))


def test_decay_of_groups():
    by = moved(Optim("adamw", lr=0.1, weight_decay=0.5, groups=(Group("bias$", weight_decay=0.0),)), slope=0.0)
    fresh = build(Linear, Linear.Config(), DATA.fields).encoder
    assert torch.allclose(by["weight"], -0.05 * fresh.weight, atol=1e-7)
    assert torch.equal(by["bias"], torch.zeros(4))


def test_a_gradient_in_another_layout_moves_the_right_entries():
    class Turned(Linear):
        card = card("turned")
        optim = Optim("adam", lr=0.1)

        def loss(self, batch, at):
            return {"t": (self.encoder.weight.t() * torch.arange(12.0)[:, None]).sum()}

    method = build(Turned, Turned.Config(), DATA.fields)
    before = method.encoder.weight.detach().clone()
    Stepper(method, method.stages()[0], seed=0, steps=4).step(DATA.take(torch.arange(8)), 0)
    change = method.encoder.weight.detach() - before
    assert torch.allclose(change[:, 1:], torch.tensor(-0.1), atol=1e-4)
    assert torch.equal(change[:, 0], torch.zeros(4))


def test_slots_are_restored_in_the_layout_of_their_parameters():
    """Checkpoints hold plain tensors; a fused optimiser walks slots and weights as flat memory."""
    data = tiny_images()
    method = build(VAE, override(VAE.Config(), VAE.presets["tiny"]), data.fields).to(memory_format=torch.channels_last)
    stage = method.stages()[0]
    stepper = Stepper(method, stage, seed=0, steps=4)
    stepper.step(data.take(torch.arange(8)), 0)
    slots = stepper.state()
    again = Stepper(method, stage, seed=0, steps=4)
    again.load({name: slot.contiguous() for name, slot in slots.items()})
    assert any(not slot.is_contiguous() for slot in slots.values())
    for name, slot in again.state().items():
        assert slot.stride() == slots[name].stride()
        assert torch.equal(slot, slots[name])


def test_noise_of_one_update_does_not_depend_on_another():
    class Chatty(TwoUpdates):
        card = card("chatty")

        def auto(self, batch, at):
            terms = super().auto(batch, at)
            at.note(drawn=torch.randn(3).sum() + at.randn((2,)).sum())
            return terms

    plain, chatty = (build(c, TwoUpdates.Config(), DATA.fields) for c in (TwoUpdates, Chatty))
    fit(plain, DATA)
    fit(chatty, DATA)
    assert all(torch.equal(t, chatty.tensors()[n]) for n, t in plain.tensors().items())


def test_bf16_keeps_parameters_in_fp32_and_learns():
    from unbraid.methods.latent.vae import VAE

    config = VAE.Config(latents=3, width=16, batch=16, steps=30, network="mlp", optim=Optim(lr=1e-2))
    method = build(VAE, config, DATA.fields)
    lines = fit(method, DATA, precision="bf16")
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert lines[-1]["terms"]["fit/reconstruction"] < lines[0]["terms"]["fit/reconstruction"]


def test_a_slow_set_gives_the_batches_of_a_fast_one():
    slow = tiny_vectors()
    slow.slow = True
    one, two = (build(TwoUpdates, TwoUpdates.Config(), DATA.fields) for _ in "ab")
    fit(one, DATA)
    fit(two, slow)
    assert all(torch.equal(t, two.tensors()[n]) for n, t in one.tensors().items())


def test_ema_follows():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    twin = EMA(net, 0.75)
    start = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight += 1
        net[1].running_mean += 4
    twin.follow(net)
    assert torch.allclose(twin.twin[0].weight, start + 0.25)
    assert torch.allclose(twin.twin[1].running_mean, torch.tensor(4.0))
    assert not twin.train().twin.training
    assert not any(p.requires_grad for p in twin.parameters())


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_schedules_stay_in_range_and_end_where_they_should(kind):
    schedule = Schedule(kind, warmup=3, final=0.2)
    factors = [factor(schedule, At(step=s, steps=20)) for s in range(21)]
    assert all(0 < f <= 1 for f in factors)
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert factors[-1] == pytest.approx(1.0 if kind == "constant" else 0.2)


def test_the_generator_of_mps_is_seeded_too(monkeypatch):
    method = build(TwoUpdates, TwoUpdates.Config(), DATA.fields)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    seeds = []
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    stepper.device = torch.device("mps")
    with torch.random.fork_rng(devices=[]):
        for step in (0, 1, 0):
            stepper._reseed(step, "auto:0")
    assert seeds[0] == seeds[2] != seeds[1]


def test_views_are_the_same_for_one_step_and_reach_every_update():
    from dataclasses import replace

    from stubs import TwoUpdates

    seen = []

    def noisy(x, at):
        shown = x + at.rand(x.shape)
        seen.append(shown)
        return shown

    data = tiny_vectors()
    method = build(TwoUpdates, TwoUpdates.Config(), data.fields)
    [stage, *_] = method.stages()
    [(name, stream)] = stage.feed.items()
    stage = replace(stage, feed={name: replace(stream, views=noisy)})
    batch = data.take(torch.arange(8))
    for _ in range(2):
        Stepper(method, stage, seed=3, steps=9).step(batch, 4)
    Stepper(method, stage, seed=3, steps=9).step(batch, 5)
    assert len(seen) == 3
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(batch["x"], data.take(torch.arange(8))["x"])


def test_a_step_hands_out_what_was_emitted_and_its_optimisers_memory():
    from stubs import Stub, card

    from unbraid.core.method import Optim, Update

    class Emits(Stub):
        card = card("emits")

        def stages(self):
            return [self.stage("fit", Update("fit", self.loss, lambda: [self.encoder, self.decoder], Optim()))]

        def loss(self, batch, at):
            at.emit("prediction", self.encoder(batch["x"]))
            for slots in at.slots(self.encoder.weight):
                slots["exp_avg"].zero_()
                at.emit("forgot", torch.ones(()))
            return {"error": self.error(batch["x"])}

    data = tiny_vectors()
    method = build(Emits, Emits.Config(), data.fields)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=9)
    first = stepper.step(data.take(torch.arange(8)), 0)
    assert set(first.outputs) == {"prediction"}
    assert not first.outputs["prediction"].requires_grad
    second = stepper.step(data.take(torch.arange(8)), 1)
    assert set(second.outputs) == {"prediction", "forgot"}


def test_weight_decay_has_a_schedule_of_its_own():
    optim = Optim("sgd", lr=0.1, weight_decay=0.5, decay=Schedule("linear", final=3.0))
    cls = type("Now", (Linear,), {"optim": optim, "slope": 0.0, "card": card("now")})
    method = build(cls, cls.Config(), DATA.fields)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=4)
    for step, factor_ in enumerate((1.0, 1.5, 2.0, 2.5)):
        before = method.encoder.weight.detach().clone()
        stepper.step(DATA.take(torch.arange(8)), step)
        torch.testing.assert_close(method.encoder.weight.detach(), before * (1 - 0.1 * 0.5 * factor_))


def test_what_no_process_reached_stays_and_what_another_did_gets_zeros():
    class World:
        size, rank = 2, 0

        def sum(self, x):
            return x + torch.tensor([0.0, 1.0, 0.0])

    parameters = [torch.ones(2) for _ in range(3)]
    filled = _filled([torch.ones(2), None, None], parameters, World())
    assert torch.equal(filled[0], torch.ones(2))
    assert torch.equal(filled[1], torch.zeros(2))
    assert filled[2] is None
