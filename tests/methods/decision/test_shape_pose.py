import math

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from unbraid.core.action import actions
from unbraid.core.config import override
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.method import Acts, At, Decodes, Infers
from unbraid.core.parts import Parts
from unbraid.data.catalog import open_data
from unbraid.data.made.objects import Objects, Solids
from unbraid.data.made.tiny import tiny_images, tiny_vectors
from unbraid.data.pairs import companions
from unbraid.losses.gaussian import kl
from unbraid.losses.preferred import pose_energy
from unbraid.methods.decision.shape_pose import ShapePose
from unbraid.methods.decision.view_gqn import ViewGQN
from unbraid.methods.decision.viewing import grid_of, variation
from unbraid.ops.pose import moved, relative, still
from unbraid.testing import check_method
from unbraid.training.build import build
from unbraid.training.fit import fit
from unbraid.training.stepper import Stepper

DATA = Objects(instances=5, views=4, unseen=1, size=16)


def made(cls=ShapePose, data=DATA, **changes):
    config = override(cls.Config(), {**cls.presets["tiny"], **changes})
    return build(cls, config, data.fields).eval()


def pairs_of(data=DATA, n=6):
    return data.take(companions(data, torch.arange(n), torch.Generator().manual_seed(3)))


# ------------------------------------------------------------------------------------------------------------ contract


def test_the_contract_holds():
    check_method(ShapePose, DATA)
    check_method(ViewGQN, DATA)


def test_it_is_a_model_that_infers_decodes_and_acts():
    assert isinstance(made(), Decodes)
    assert isinstance(made(), Infers)
    assert isinstance(made(), Acts)
    assert set(actions(ShapePose)) == {"reach", "film", "imagine"} == set(actions(ViewGQN))


@pytest.mark.parametrize("cls", [ShapePose, ViewGQN])
def test_every_alias_and_preset_builds(cls):
    for changes in (*cls.aliases.values(), cls.presets["quick"], {}):
        build(cls, override(cls.Config(), changes), DATA.fields)


# ------------------------------------------------------------------------------------------------------------- parts


def test_the_first_eight_numbers_are_the_pose_and_the_rest_the_shape():
    method = made()
    latents = torch.arange(24.0)[None]
    pose, shape = method.split(latents)
    assert pose.tolist() == [list(range(8))]
    assert shape.tolist() == [list(range(8, 24))]
    x = DATA.take(torch.arange(3))["x"]
    mu, logvar = method.encoder(x)
    mean, spread = method.posterior({"x": x})
    for name, part in (("pose", slice(8)), ("shape", slice(8, 24))):
        assert torch.equal(mean[name], mu[:, part])
        assert torch.equal(spread[name], logvar[:, part])


def test_exchanging_shapes_twice_gives_the_views_back():
    method = made()
    one, other = (method.encode(DATA.take(rows)) for rows in (torch.arange(3), torch.arange(3, 6)))
    there = one.swap(other, "shape")
    back = there[0].swap(there[1], "shape")
    assert torch.equal(method.decode(back[0]), method.decode(one))
    assert torch.equal(method.decode(back[1]), method.decode(other))


def test_without_parts_there_is_one_code():
    method = made(pose=24, shape=0)
    assert [s.name for s in method.parts()] == ["latents"]
    assert method.constraints == ("reconstruction", "motion")
    assert method.encode(DATA.take(torch.arange(2)))["latents"].shape == (2, 24)


# ---------------------------------------------------------------------------------------------------------- training


def test_the_loss_is_the_sum_of_its_six_terms():
    method, batch = made(), pairs_of()
    method.multiplier.copy_(torch.tensor([2.0, 3.0, 5.0]))
    terms = method.loss(batch, At(generator=torch.Generator().manual_seed(5)))
    g = torch.Generator().manual_seed(5)
    x, motion = batch["x"], relative(batch["pose"][:, 0], batch["pose"][:, 1])
    (mu_i, lv_i), (mu_j, lv_j) = method.encoder(x[:, 0]), method.encoder(x[:, 1])
    noise, noise_after = torch.randn((6, 2, 24), generator=g), torch.randn((6, 8), generator=g)
    z_i, z_j = mu_i + (lv_i / 2).exp() * noise[:, 0], mu_j + (lv_j / 2).exp() * noise[:, 1]
    (p_i, s_i), (p_j, s_j) = (z_i[:, :8], z_i[:, 8:]), (z_j[:, :8], z_j[:, 8:])
    after, lv_after = method.transition(torch.cat([p_i, motion], 1)).chunk(2, 1)
    p_ij = after + (lv_after / 2).exp() * noise_after

    def error(shape, pose, view):
        return mse_loss(method.decoder(torch.cat([pose, shape], 1)), x[:, view])

    expected = {
        "reconstruction": 2 * (error(s_i, p_i, 0) + error(s_j, p_j, 1)) / 2,
        "swap": 3 * (error(s_j, p_i, 0) + error(s_i, p_j, 1)) / 2,
        "motion": 5 * error(s_i, p_ij, 1),
        "consistency": kl(mu_j[:, :8], lv_j[:, :8], after, lv_after).sum(1).mean(),
        "kl_shape": (kl(mu_i[:, 8:], lv_i[:, 8:]).sum(1) + kl(mu_j[:, 8:], lv_j[:, 8:]).sum(1)).mean() / 2,
        "kl_pose": kl(mu_i[:, :8], lv_i[:, :8]).sum(1).mean(),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].mean(), value, msg=name)


def test_both_sides_of_the_consistency_move():
    method = made()
    terms = method.loss(pairs_of(), At())
    for network in (method.encoder, method.transition):
        gradients = torch.autograd.grad(terms["consistency"].mean(), network.parameters(), retain_graph=True)
        assert all(g.abs().sum() > 0 for g in gradients[-2:])


def test_without_the_exchange_it_is_not_asked_for():
    terms = made(swap=False).loss(pairs_of(), At())
    assert "swap" not in terms
    assert {"reconstruction", "motion", "consistency"} < set(terms)


def test_the_multipliers_follow_the_excess_after_the_step():
    method = made(eta=0.5, smoothing=0.75, tolerance=0.01)
    stepper = Stepper(method, method.stages()[0], seed=0, steps=9)
    excess, multiplier = None, torch.ones(3)
    for step in range(3):
        notes = stepper.step(pairs_of(), step).notes
        errors = torch.stack([notes[f"error {name}"] for name in method.constraints])
        torch.testing.assert_close(torch.stack([notes[f"multiplier {n}"] for n in method.constraints]), multiplier)
        excess = errors - 0.01 if excess is None else 0.75 * excess + 0.25 * (errors - 0.01)
        multiplier = multiplier * (0.5 * excess).exp()
        torch.testing.assert_close(method.multiplier, multiplier)
    assert (method.multiplier > 1).all()


def test_it_learns_from_the_instances_that_are_not_set_aside_and_remembers_their_motions():
    method = made()
    assert len(method.sources(DATA)["train"]) == 16
    fit(method, DATA, seed=0)
    assert method.known.shape == (16, 7)
    assert (method.known[:, 3] >= 0).all()
    assert torch.isfinite(method.known).all()


# ------------------------------------------------------------------------------------------------------------- acting


def test_the_energy_of_poses_is_least_where_they_are_what_is_preferred():
    goal, spread = torch.randn(1, 8), 0.3
    sure = torch.full((5, 8), math.log(spread**2))
    mean = goal + torch.tensor([0.0, 0.1, -0.1, 0.5, 2.0])[:, None]
    energy = pose_energy(mean, sure, goal.expand(5, 8), spread)
    assert energy[0].abs() < 1e-5
    assert energy.argmin() == 0
    assert energy[1] < energy[3] < energy[4]
    for other in (sure[:1] + 0.5, sure[:1] - 0.5):
        assert pose_energy(goal, other, goal, spread) > 1e-3
    p = torch.distributions.Normal(mean, (sure / 2).exp())
    q = torch.distributions.Normal(goal, spread)
    torch.testing.assert_close(energy, torch.distributions.kl_divergence(p, q).sum(1))


def test_it_makes_the_motion_of_least_energy_and_may_stay():
    method = made()
    batch = DATA.take(torch.arange(3))
    motions = DATA.environment.motions(
        DATA.environment.at(batch["instance"], batch["pose"]), 7, torch.Generator().manual_seed(0)
    )
    goal = DATA.take(torch.arange(8, 11))["x"]
    for mode in ("pose", "pixel"):
        energy = method.free_energy(batch, goal, motions, mode)
        chosen = method.act({"x": batch["x"], "goal": goal, "motions": motions}, mode)
        assert torch.equal(chosen, motions[torch.arange(3), energy.argmin(1)])
    assert torch.equal(method.act({"x": batch["x"], "goal": goal, "motions": still(3, 1)}), still(3))


def test_the_energy_of_pixels_is_half_the_squared_error_of_what_is_drawn():
    method = made(draws=3)
    here, goal, motions = DATA.take(torch.arange(2)), DATA.take(torch.arange(4, 6))["x"], still(2, 4)
    pose, shape = method.split(method.encoder(here["x"])[0])
    mean, logvar = method.moved(pose, motions[:, 0])
    noise = torch.randn((3, 8), generator=torch.Generator().manual_seed(0))
    views = [method.decoder(torch.cat([mean + (logvar / 2).exp() * e, shape], 1)) for e in noise]
    expected = torch.stack([(view - goal).square().sum((1, 2, 3)) / 2 for view in views]).mean(0)
    torch.testing.assert_close(method.free_energy(here, goal, motions, "pixel"), expected[:, None].expand(2, 4))


def test_a_model_that_knows_the_truth_reaches_the_view_and_stays():
    """The journey itself, by a baseline whose drawing is the world's."""
    method = made(ViewGQN, near=0.02)
    world = DATA.environment
    batch = DATA.take(torch.arange(4))
    method.drawn = lambda _shape, pose: DATA.seen(torch.zeros(len(pose), dtype=torch.long), pose)
    state = world.at(batch["instance"], batch["pose"])
    goal = DATA.take(torch.tensor([3, 0, 1, 2]))
    journey = method.travel(world, state, goal["x"], goal["pose"], motions=4, candidates=400)
    assert journey.angle.shape == (5, 4)
    assert journey.seen.shape == (5, 4, 1, 16, 16)
    assert journey.far[-1].mean() < 0.3 * journey.far[0].mean()
    assert journey.angle[-1].max() < 30
    assert journey.way[-1].max() < 0.2
    torch.testing.assert_close(journey.imagined[1:], journey.seen[1:], atol=1e-4, rtol=0)
    resting = made(ViewGQN, near=10.0).travel(world, state, goal["x"], goal["pose"], motions=2, candidates=9)
    torch.testing.assert_close(resting.seen[2], resting.seen[0], atol=1e-4, rtol=0)


def test_the_baseline_with_given_poses_moves_them_exactly():
    method = made(ViewGQN)
    batch = pairs_of()
    pose = batch["pose"]
    here = {"x": batch["x"][:, 0], "pose": pose[:, 0]}
    made_view = method.imagined(here, relative(pose[:, 0], pose[:, 1]))
    code = method.encoder(here["x"], here["pose"])[0]
    torch.testing.assert_close(made_view, method.drawn(code, pose[:, 1]), atol=1e-5, rtol=0)
    terms = method.loss(batch, At(generator=torch.Generator().manual_seed(1)))
    mu, logvar = method.encoder(batch["x"][:, 0], pose[:, 0])
    s = mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(terms["motion"].mean(), mse_loss(method.drawn(s, pose[:, 1]), batch["x"][:, 1]))
    torch.testing.assert_close(terms["reconstruction"].mean(), mse_loss(method.drawn(s, pose[:, 0]), batch["x"][:, 0]))


# --------------------------------------------------------------------------------------------------------- for the user


def test_what_is_reached_is_told_step_by_step():
    method = made()
    found = method.reach(0, 9, DATA, motions=3, candidates=6)
    assert found.tables["motions"].columns["motion"] == [0, 1, 2, 3]
    assert found.arrays["seen"].shape == (4, 1, 16, 16) == found.arrays["imagined"].shape
    assert found.numbers["angle at first"] > 0
    film = method.film(0, 9, DATA, motions=2, candidates=6)
    assert len(film.images) == 7 == len(film.labels)
    assert film.labels[:2] == ["preferred", "imagined 0"]


def test_motions_are_imagined_as_told_or_drawn():
    method = made()
    fit(method, DATA, seed=0)
    assert method.imagine(3, data=DATA).images.shape == (6, 1, 16, 16)
    one = method.imagine(2, ("0.1,0,0",), ("2", "0", "0", "0"), DATA)
    other = method.imagine(2, ("0.1", "0", "0"), ("-1", "0", "0", "0"), DATA)
    torch.testing.assert_close(one.images, other.images)
    batch = DATA.take(torch.arange(2))
    motion = torch.tensor([[0.1, 0, 0, 1, 0, 0, 0]]).expand(2, 7)
    torch.testing.assert_close(one.images[2:], method.eval().imagined(batch, motion).detach())


def test_an_examination_tells_prediction_journeys_and_parts():
    data = Objects(instances=6, views=4, unseen=2, size=16)
    found = made(data=data).examine(data).numbers
    assert {"error after a motion", "error of the view before", "angle at last", "pose varies with its own"} < set(
        found
    )
    views = grid_of(data.environment, torch.tensor([1, 3]))
    assert views.shape == (2, 16, 1, 16, 16)
    assert not torch.equal(views[0], views[1])
    codes = torch.randn(3, 5, 2)
    expected = codes.numpy().var(1).sum(-1).mean(), codes.numpy().var(0).sum(-1).mean()
    assert variation(codes) == pytest.approx(expected, rel=1e-4)


def test_recorded_views_can_be_acted_in(tmp_path):
    data = Solids(instances=3, views=6, unseen=0, size=16)
    for i in range(3):
        batch = data.take(torch.arange(6) + 6 * i)
        np.savez(tmp_path / f"{i}.npz", images=batch["x"].permute(0, 2, 3, 1).numpy(), poses=batch["pose"].numpy())
    recorded = open_data(f"views:{tmp_path},test=0.34")
    method = made(data=recorded)
    fit(method, recorded, seed=0)
    found = method.examine(recorded).numbers
    assert "angle at last" in found
    assert "pose varies with its own" not in found
    assert method.reach(0, 7, recorded, motions=2, candidates=5).arrays["seen"].shape == (3, 3, 16, 16)


def test_decoding_takes_any_shape_with_any_pose():
    method = made()
    parts = method.encode(DATA.take(torch.arange(2)))
    mixed = Parts(pose=parts["pose"], shape=parts["shape"].flip(0))
    assert method.decode(mixed).shape == (2, 1, 16, 16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pose": 0}, "pose and draws of 1"),
        ({"spread": 0.0}, "spread above 0"),
        ({"limits": (0.0, 1.0)}, "least <= initial <= most"),
        ({"initial": 1e5}, "least <= initial <= most"),
        ({"smoothing": 1.0}, "smoothing: expected a share"),
        ({"features": ()}, "channels of one convolution"),
        ({"candidates": 0}, "candidates: expected a whole number above 0"),
    ],
)
def test_wrong_options_are_said(changes, said):
    with pytest.raises(ConfigError, match=said):
        made(**changes)


def test_what_cannot_be_done_is_said():
    with pytest.raises(DataError, match="pose"):
        made(data=tiny_images())
    with pytest.raises(DataError):
        made(data=tiny_vectors())
    method = made()
    with pytest.raises(ConfigError, match=r"start: expected an item 0\.\.19, got 40"):
        method.reach(40, 0, DATA)
    with pytest.raises(ConfigError, match="'pose' or 'pixel', or 'best'"):
        method.reach(0, 1, DATA, mode="colour", motions=1)
    with pytest.raises(ConfigError, match="'pixel', or 'best', got 'pose'"):
        made(ViewGQN).reach(0, 1, DATA, mode="pose", motions=1)
    with pytest.raises(DataError, match="a camera that can be moved"):
        method.reach(0, 1, tiny_images())
    with pytest.raises(ConfigError, match="shift: expected 3 numbers"):
        method.imagine(2, ("1",), (), DATA)
    with pytest.raises(ConfigError, match="quaternion other than 0"):
        method.imagine(2, (), ("0,0,0,0",), DATA)


def test_a_motion_and_back_is_no_motion():
    batch = pairs_of()
    there = relative(batch["pose"][:, 0], batch["pose"][:, 1])
    back = relative(batch["pose"][:, 1], batch["pose"][:, 0])
    torch.testing.assert_close(moved(there, back), still(6), atol=1e-5, rtol=0)
