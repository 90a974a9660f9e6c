"""The worlds for the methods that look inside networks: sentences, directions, clouds."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.made.directions import Directions, blobs
from unbraid.data.made.ioi import END, REPEATED, Sentences


@pytest.mark.parametrize("which", [False, True])
@pytest.mark.parametrize("places", [False, True])
def test_sentences_follow_from_their_factors(which: bool, places: bool) -> None:
    data = Sentences(names=4, which=which, places=places)
    everything = torch.arange(len(data))
    factors = data.factors_of(everything)
    assert torch.equal(data.index_of(factors), everything)
    assert len(factors.unique(dim=0)) == len(data) == 4 * 3 * 2 * 64 * (2 if which else 1)
    batch = data.take(everything)
    columns = dict(zip((f.name for f in data.factors), factors.T, strict=True))
    token, io, s, first = batch["token"], columns["io"], columns["s"], columns["pos"] == 0
    assert (io != s).all()
    assert torch.equal(token[:, 1], torch.where(first, io, s))
    assert torch.equal(token[:, 3], torch.where(first, s, io))
    assert torch.equal(token[:, REPEATED], s)
    plain = columns["question"] == 0 if which else torch.ones(len(data), dtype=torch.bool)
    assert torch.equal(batch["label"][plain], io[plain])
    assert torch.equal(batch["negative"][plain], s[plain])
    asked = {data.vocabulary[i] for i in token[~plain, END].tolist()}
    assert asked == ({"which"} if which else set())
    said = [data.vocabulary[i] for i in batch["label"][~plain].tolist()]
    assert said == ["first" if f else "second" for f in first[~plain].tolist()]
    if places:
        assert torch.equal(columns["first"], token[:, 1])
        assert torch.equal(columns["second"], token[:, 3])


def test_there_is_no_sentence_of_one_name() -> None:
    data = Sentences(names=4, places=True)
    factors = data.factors_of(torch.tensor([0, 100]))
    factors[0, 1] = factors[0, 0]
    assert data.index_of(factors).tolist() == [-1, 100]


def test_sentences_take_any_shape_and_tell_their_fields() -> None:
    data = Sentences(names=5)
    batch = data.take(torch.tensor([[0, 1], [7, 9]]))
    assert {name: tuple(t.shape[2:]) for name, t in batch.items()} == {n: f.shape for n, f in data.fields.items()}
    assert int(batch["token"].max()) < data.fields["token"].classes
    assert data.table(torch.tensor([3])).column("io")[0] == 0.0
    assert data.hash != Sentences(names=6).hash != Sentences(names=6, which=True).hash
    with pytest.raises(DataError, match=r"3 to 1000 names, got 2"):
        Sentences(names=2)
    with pytest.raises(DataError, match="indices"):
        data.take(torch.tensor([len(data)]))


def test_directions_add_up() -> None:
    data = Directions(values=6, width=400, ratio=1.5)
    x = data.take(torch.arange(36))["x"].view(6, 6, -1)
    torch.testing.assert_close(x[1, 2] + x[3, 4], x[1, 4] + x[3, 2])
    u, v = data.vectors.norm(dim=2)
    assert 1.4 < float(u.mean()) < 1.6
    assert 0.9 < float(v.mean()) < 1.1
    assert not torch.equal(Directions(draw=1).vectors, Directions().vectors)
    assert Directions(draw=1).hash != Directions().hash
    with pytest.raises(DataError, match="two values or more"):
        Directions(values=1)


def test_blobs_lie_around_a_mean_and_its_opposite() -> None:
    data = blobs(items=4000)
    batch = data.take(torch.arange(4000))
    sign = 1 - 2 * batch["factors"]
    mean = (sign * batch["x"]).mean(0)
    assert 1.9 < float(mean.norm()) < 2.2
    assert 0.97 < float((sign * batch["x"] - mean).std()) < 1.03
    with pytest.raises(DataError, match="distance from 0 on"):
        blobs(distance=-1.0)
