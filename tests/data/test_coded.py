"""Coded portraits: a map that is known both ways, factors that go together as told."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.coded import FACTORS, CodedPortraits, CodeMap
from unbraid.data.made.heads import NAMES
from unbraid.ops.navigation import gradient

MAP = CodeMap()
CODES = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))


def test_the_map_is_known_both_ways() -> None:
    scores = MAP.scores(CODES)
    torch.testing.assert_close(MAP.scores(MAP.codes(scores + 1, CODES)), scores + 1, atol=1e-4, rtol=1e-4)


def test_normal_codes_are_independent_factors_spread_evenly() -> None:
    heads = MAP.heads(CODES)
    told = heads[:, [NAMES.index(name) for name in FACTORS]]
    assert float((torch.corrcoef(told.T) - torch.eye(8)).abs().max()) < 0.03
    tone = heads[:, NAMES.index("hair_tone")]
    assert (torch.histc(tone, 5, 0, 1) / len(tone)).sub(0.2).abs().max() < 0.02
    assert set(heads[:, NAMES.index("glasses")].tolist()) == {0.0, 1.0}
    rest = [k for k, name in enumerate(NAMES) if name not in FACTORS]
    assert torch.equal(heads[:, rest], heads[:1, rest].expand(len(heads), -1))


def test_each_factor_is_curved_in_channels_of_its_own() -> None:
    used = [gradient(lambda w, k=k: MAP.scores(w)[:, k], CODES[:50]) for k in range(8)]
    channels = [set(g.abs().sum(0).nonzero()[:, 0].tolist()) for g in used]
    assert [len(c) for c in channels] == [8] * 8
    assert len(set.union(*channels)) == 64
    directions = torch.nn.functional.normalize(used[0])
    assert float((directions @ directions.T).min()) < 0.8


def test_factors_go_together_but_not_in_what_the_data_come_from() -> None:
    data = CodedPortraits(rows=4000)
    for some, low, high in ((data, 0.62, 0.78), (data.origin, -0.05, 0.05)):
        scores = data.map.scores(some.latent)
        correlation = torch.corrcoef(scores.T)
        assert low < float(correlation[0, 1]) < high
        assert float(correlation[2:, :2].abs().max()) < 0.06
    assert not hasattr(data.origin, "origin")


def test_a_batch_has_picture_code_and_factors() -> None:
    data = open_data("coded-portraits:rows=4,size=16,width=8,factors=yaw+smile,together=")
    batch = data.take(torch.tensor([[3], [0]]))
    assert batch["x"].shape == (2, 1, 3, 16, 16)
    assert torch.equal(batch["latent"], data.latent[[3, 0]][:, None])
    assert data.fields["factors"].names == ("yaw", "smile")
    assert data.fields["latent"].shape == (8,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("factors=yaws", "names of factors, got 'yaws'; did you mean 'yaw'"),
        ("together=gaze", "together: expected some of the factors, got 'gaze'"),
        ("width=15", "two numbers for each factor"),
        ("correlation=1.0", "a correlation from 0 to below 1"),
    ],
)
def test_wrong_options(options: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(f"coded-portraits:{options}")
