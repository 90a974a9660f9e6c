"""Portraits: what each factor changes, who may go together, and that pictures are made once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unbraid.core.errors import ConfigError, DataError
from unbraid.data.catalog import open_data
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.made.heads import FACE, GROUPS, HEAD, LABELS, NAMES, UNIT, landmarks, neutral, render, rotation
from unbraid.data.made.portraits import Portraits, correlated, in_studio, pair, sample


def head(**factors: float) -> Tensor:
    x = neutral()
    for name, value in factors.items():
        x[:, NAMES.index(name)] = value
    return x


def changed(labels: set[str], **factors: float) -> bool:
    """Whether a factor changes pixels that had or get these labels, and no others."""
    old, new = render(neutral(), 96), render(head(**factors), 96)
    moved = ((old.image - new.image).abs().sum(1) > 1e-6)[0]
    near = torch.zeros_like(moved)  # a pixel is the mean of samples, of which its label is only one
    for seen in (old, new):
        those = torch.isin(seen.label[0], torch.tensor([LABELS.index(name) for name in labels]))
        near |= torch.nn.functional.max_pool2d(those[None].float(), 3, 1, 1)[0].bool()
    return bool(moved.any()) and not bool((moved & ~near).any())


def test_factors_and_groups() -> None:
    assert len(NAMES) == len(set(NAMES)) == 34
    assert [len(names) for names in GROUPS.values()] == [12, 3, 6, 3, 1, 3, 4, 2]
    assert set(UNIT) < set(NAMES)
    assert FACE < HEAD


def test_factors_change_what_they_name() -> None:
    assert changed({"eye"}, gaze=1.0)
    assert changed({"eye"}, iris_hue=0.6)
    assert changed({"brow"}, brow_raise=1.0)
    assert changed({"mouth"}, lip_thickness=1.0)
    assert changed({"glasses"}, glasses=1.0)
    assert changed({"background"}, bg_hue=0.5)
    assert changed({"body"}, cloth_hue=0.5)
    assert not changed({"eye"}, smile=1.0)
    assert not changed({"mouth"}, skin_tone=1.0)


def test_a_head_turns_to_the_right_of_the_image_and_looks_up() -> None:
    tip = {name: landmarks(head(**{name: 1.0}))[0, 14] for name in ("yaw", "pitch", "roll")}
    straight = landmarks(neutral())[0, 14]
    assert tip["yaw"][0] > straight[0] + 0.2
    assert tip["pitch"][1] < straight[1] - 0.1  # y runs down
    assert tip["roll"][0] > straight[0]
    turns = rotation(sample(5, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(5, 3, 3))


def test_depth_is_where_landmarks_are() -> None:
    seen, points = render(neutral(), 128, 1), landmarks(neutral())[0]
    for x, y, z in points[[0, 5]].tolist():  # the centres of both eyes
        row, column = (int((c + 1) / 2 * 128) for c in (y, x))
        assert seen.depth[0, row, column] == pytest.approx(z, abs=0.01)
    assert set(seen.depth[seen.label == 0].tolist()) == {-1.0}


def test_unlit_heads_alone_are_the_same_from_anywhere() -> None:
    options = {"unlit": True, "keep": HEAD}
    one, other = (render(head(yaw=0.3, light_azimuth=a), 24, **options).image for a in (-1.0, 1.0))
    assert torch.equal(one, other)
    seen = render(neutral(), 24, **options, backdrop=(0.0, 1.0, 0.0))
    torch.testing.assert_close(seen.image[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.0]))


def test_batches_are_single_heads() -> None:
    x = sample(3, torch.Generator().manual_seed(1))
    together = render(x, 16)
    for i in range(3):
        torch.testing.assert_close(together.image[i], render(x[i : i + 1], 16).image[0], atol=1e-4, rtol=0)


def test_samplers() -> None:
    chance = torch.Generator().manual_seed(0)
    x = sample(2000, chance)
    unit = [NAMES.index(name) for name in UNIT]
    assert float(x[:, unit].min()) >= 0 > float(x.min()) >= -1
    assert set(x[:, NAMES.index("glasses")].tolist()) == {0.0, 1.0}
    both = [NAMES.index(name) for name in ("smile", "beard")]
    assert abs(float(torch.corrcoef(x[:, both].T)[0, 1])) < 0.1
    y = correlated(2000, 0.7, ("smile", "beard"), chance)
    assert float(torch.corrcoef(y[:, both].T)[0, 1]) == pytest.approx(0.68, abs=0.05)  # of ranks: 6/pi asin(rho/2)
    easy = in_studio(x)
    assert float(easy[:, NAMES.index("beard")].max()) == 0.0
    assert float(easy[:, NAMES.index("ambient")].min()) == 1.0
    a, b = pair(5, chance, ("pose", "light"))
    same = (a == b).all(0)
    assert {NAMES[i] for i in same.nonzero()[:, 0].tolist()} - {"glasses"} == {*GROUPS["pose"], *GROUPS["light"]}
    with pytest.raises(ConfigError, match="the name of a group of factors, got 'poses'; did you mean 'pose'"):
        pair(5, chance, ("poses",))


def test_pictures_are_made_when_asked_for_and_once() -> None:
    data = Portraits(rows=6, size=16, studio=True)
    assert not bool(data._made.any())
    batch = data.take(torch.tensor([[4, 1], [1, 4]]))
    assert data._made.tolist() == [False, True, False, False, True, False]
    assert torch.equal(batch["x"][0], batch["x"][1].flip(0))
    wanted = render(data.heads[4:5], 16, half=0.62).image[0]
    torch.testing.assert_close(batch["x"][0, 0], wanted, atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(batch["factors"][0, 0], data.heads[4])
    named = data.with_factors(FactorTable([Factor("even", "ordinal", ("0", "1"))], np.arange(6)[:, None] % 2))
    assert torch.equal(named.take(torch.arange(6))["x"], data.take(torch.arange(6))["x"])
    assert float(named.take(torch.arange(6))["x"].flatten(1).amax(1).min()) > 0


def test_by_name() -> None:
    data = open_data("portraits:rows=4,size=16,together=glasses+beard,seed=2")
    assert data.hash == Portraits(4, 16, together="glasses+beard", seed=2).hash != Portraits(4, 16, seed=2).hash
    assert not torch.equal(Portraits(4, 16, seed=2).heads, Portraits(4, 16, seed=3).heads)
    with pytest.raises(DataError, match="names of factors, got 'glases'; did you mean 'glasses'"):
        open_data("portraits:together=glases")
    with pytest.raises(DataError, match="a row, 8 pixels and a correlation from 0 to 1"):
        Portraits(correlation=2)
