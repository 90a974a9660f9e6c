"""Stand-ins that make and judge portraits: what they learn, from whom, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Fits, Standin, weights_hash
from unbraid.data.dataset import MemoryDataset
from unbraid.data.made.coded import CodedPortraits
from unbraid.data.made.heads import NAMES
from unbraid.data.made.portraits import Portraits
from unbraid.data.wrapped import Subset
from unbraid.losses.perceptual import feature_l1, pyramid_l1
from unbraid.standins.generators import DISTILLED, Distilled
from unbraid.standins.probes import (
    IDENTITY,
    IDENTITY_ENCODER,
    PERCEPTUAL,
    PROBE,
    SCORER,
    AttributeScores,
    Identity,
    Perceptual,
    Probe,
    Scorer,
    heads_of,
    near_middle,
    people,
)

CODED = CodedPortraits(rows=96, size=16)
ALL = torch.arange(96)


def test_they_are_stand_ins_and_those_of_optional_ports_say_for_which_data() -> None:
    assert all(isinstance(one, Standin) for one in (PROBE, SCORER, IDENTITY_ENCODER, PERCEPTUAL, DISTILLED))
    plain = Fields(x=Field((8,)), factors=Field((1,), names=("glasses",)))
    for one in (SCORER, IDENTITY_ENCODER, DISTILLED):
        assert isinstance(one, Fits)
        assert one.fits(CODED.fields)
        assert not one.fits(plain)
        assert not one.fits(Portraits(rows=2, size=16).fields), "no codes"


def test_a_generator_learns_from_what_the_data_come_from_what_a_code_looks_like() -> None:
    mean = CODED.origin.take(ALL)["x"].mean(0)
    net = Distilled(widths=(16, 16, 8), steps=80, batch=16, lr=1e-2).make(CODED, 0)
    batch = CODED.origin.take(ALL)
    with torch.no_grad():
        made = net(batch["latent"])
        assert float((made - batch["x"]).square().mean()) < 0.6 * float((mean - batch["x"]).square().mean())
        codes = batch["latent"][:, None].expand(-1, net.layers, -1)
        torch.testing.assert_close(net(codes), made)
    assert not net.training


def test_a_generator_passes_gradients_to_the_channels_of_all_factors() -> None:
    codes = CODED.latent[:4].clone().requires_grad_()
    [slope] = torch.autograd.grad(DISTILLED.shape(CODED.fields)(codes).sum(), codes)
    used = CODED.map.channels.flatten()
    assert bool((slope[:, used] != 0).any(0).all())


def test_a_probe_tells_what_it_was_asked_for() -> None:
    probe = Probe(("yaw", "skin_tone"), steps=120, batch=24).make(CODED, 0)
    assert probe.names == ("yaw", "skin_tone")
    batch = CODED.origin.take(ALL)
    with torch.no_grad():
        told = probe(batch["x"])
    names = CODED.fields["factors"].names
    true = batch["factors"][:, [names.index(name) for name in probe.names]]
    assert bool((1 - (told - true).square().mean(0) / true.var(0) > 0.7).all())
    with pytest.raises(DataError, match="data with the factor 'gaze'"):
        Probe(("gaze",)).shape(CODED.fields)


def test_scores_are_the_probes_and_a_class_is_where_a_factor_is_nearest_to_its_middle() -> None:
    net = Scorer(("beard", "hair_tone"), (1, 3), Probe(steps=1)).make(CODED, 0)
    assert (net.names, net.classes) == (("beard", "hair_tone"), (1, 3))
    x = CODED.take(ALL)["x"]
    told, scores = net.probe(x), net(x)
    assert torch.equal(scores[:, 0], told[:, 0])
    assert torch.equal(scores[:, 1:], near_middle(told[:, 1], 3))
    tone = torch.linspace(0, 1, 31)
    assert torch.equal(near_middle(tone, 3).argmax(1), (tone * 3).long().clamp(max=2))
    assert isinstance(net, AttributeScores)


def test_people_differ_by_who_they_are_and_are_seen_in_heads_of_the_data() -> None:
    crowd = people(CODED, 5, 4, seed=1)
    batch = crowd.take(torch.arange(20))
    assert batch["factors"][:, 0].tolist() == [k for k in range(5) for _ in range(4)]
    assert {"eye_spacing", "skin_tone"} < set(IDENTITY) < set(NAMES)
    apart = batch["x"].reshape(5, 4, -1)
    assert float((apart - apart.mean(1, keepdim=True)).abs().amax()) > 0.1, "the same person in different heads"


def test_the_recogniser_tells_its_people_apart() -> None:
    small = Identity(people=4, each=12, steps=60, batch=16)
    net = small.make(CODED, 0)
    assert weights_hash(net) == weights_hash(small.make(CODED, 5)), "the same for every seed"
    crowd = people(CODED.origin, 4, 12, seed=2)
    with torch.no_grad():
        z = net(crowd.take(torch.arange(48))["x"])
    torch.testing.assert_close(z.norm(dim=1), torch.ones(48))
    with pytest.raises(DataError, match="made portraits, for a stand-in that knows faces"):
        small.make(MemoryDataset("noise", torch.rand(4, 3, 16, 16)), 0)


def test_the_heads_behind_wrapped_data_are_those_they_come_from() -> None:
    assert heads_of(Subset(CODED, torch.arange(3))) is CODED.origin
    plain = Portraits(rows=2, size=16)
    assert heads_of(Subset(plain, torch.arange(1))) is plain


def test_a_perceptual_distance_is_that_of_maps_and_of_a_pyramid() -> None:
    net = Perceptual(Probe(("yaw",), steps=2)).make(CODED, 0)
    x, y = CODED.take(ALL)["x"].chunk(2)
    with torch.no_grad():
        found = net(x, y)
        assert torch.equal(found, feature_l1(net.probe.maps(x), net.probe.maps(y)) + pyramid_l1(x, y))
        assert float(net(x, x).abs().max()) == 0.0


def test_chance_is_left_alone() -> None:
    before = torch.get_rng_state()
    for one in (Probe(steps=1), Identity(2, 2, steps=1), Distilled((8,), steps=1), Perceptual(Probe(steps=1))):
        one.make(CODED, 0)
    assert torch.equal(before, torch.get_rng_state())
