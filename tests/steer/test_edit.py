from __future__ import annotations

import numpy as np
import pytest
import torch

from unbraid import steer
from unbraid.core.card import Card
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Field, Fields
from unbraid.core.method import Method, NoOptions
from unbraid.core.parts import Parts, PartSpec

FIELDS = Fields(x=Field((1, 4, 4), unit=True))


class Only(Method[NoOptions]):
    card = Card("only-encodes", "-", "-", 2024, "-")

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("latents", "fam", (4,)),)

    def encode(self, batch: Batch) -> Parts:
        return Parts(latents=batch["x"].flatten(1)[:, :4])


class Linear(Method[NoOptions]):
    """Pixels are a fixed linear map of every part, so that what a picture must be can be said exactly."""

    card = Card("linear", "-", "-", 2024, "-")
    calls = 0

    def __init__(self, config: NoOptions, fields: Fields) -> None:
        super().__init__(config, fields)
        generator = torch.Generator().manual_seed(0)
        self.dropout = torch.nn.Dropout(0.9)
        self.register_buffer("map", torch.randn(10, 16, generator=generator))
        self.map[3] = 0  # type: ignore[index]

    def parts(self) -> tuple[PartSpec, ...]:
        return (
            PartSpec("latents", "fam", (4,)),
            PartSpec("symbols", "fam", (2,), classes=5),
            PartSpec("content", "vec", (3,), rides=("tone",)),
            PartSpec("tone", "sca"),
            PartSpec("kind", "ids", (), classes=3),
            PartSpec("seen", "vec", (2,), of="content"),
        )

    def decode(self, parts: Parts) -> torch.Tensor:
        type(self).calls += 1
        code = torch.cat([parts.matrix(n).float() for n in ("latents", "symbols", "content", "tone")], 1)
        x = self.dropout(code) @ self.map + parts["kind"][:, None]
        return x.reshape(-1, 1, 4, 4)


@pytest.fixture
def method() -> Linear:
    Linear.calls = 0
    return Linear(NoOptions(), FIELDS)


@pytest.fixture(scope="module")
def codes() -> Parts:
    g = torch.Generator().manual_seed(1)
    n = 1000
    return Parts(
        latents=torch.randn(n, 4, generator=g) * torch.tensor([1.0, 3.0, 0.5, 1.0]),
        symbols=torch.tensor([-1.0, -0.5, 0.25, 1.0])[torch.randint(4, (n, 2), generator=g)],
        content=torch.randn(n, 3, generator=g),
        tone=torch.randn(n, generator=g),
        kind=torch.randint(3, (n,), generator=g),
        seen=torch.randn(n, 2, generator=g),
    )


def test_traverse_decodes_once_and_orders_by_change(method: Linear, codes: Parts) -> None:
    grid = steer.traverse(method, codes.rows(slice(2)), codes, "latents", steps=5)
    assert Linear.calls == 1
    assert grid.arrays.shape == (8, 5, 1, 4, 4)
    assert grid.labels[:2] == ("latents[1]", "latents[1]")
    assert grid.labels[-1] == "latents[3]"
    assert grid.changed[-1] == 0
    by_column = grid.changed.reshape(4, 2).mean(1)
    assert (np.diff(by_column) <= 0).all()
    assert grid.items == (0, 1) * 4


def test_traverse_stays_in_range_and_keeps_the_rest(method: Linear, codes: Parts) -> None:
    items = codes.rows(slice(1))
    grid = steer.traverse(method, items, codes, ["latents[0]"], steps=5)
    low, high = codes["latents[0]"].quantile(0.01), codes["latents[0]"].quantile(0.99)
    np.testing.assert_allclose(grid.values[0, [0, -1]], [low, high], rtol=1e-5)
    expected = method.eval().decode(items.replace({"latents[0]": low[None]}))
    np.testing.assert_allclose(grid.arrays[0, 0], expected[0].numpy(), atol=1e-5)
    for name in ("content", "tone", "kind", "symbols"):
        assert (grid.parts[name] == items[name]).all()
    wider = steer.traverse(method, items, codes, ["latents[0]"], steps=5, beyond=0.5)
    np.testing.assert_allclose(np.ptp(wider.values), 2 * np.ptp(grid.values), rtol=1e-5)


def test_traverse_marks_the_own_step(method: Linear, codes: Parts) -> None:
    item = codes.rows(slice(1)).replace({"latents[0]": torch.tensor([50.0])})
    assert steer.traverse(method, item, codes, "latents[0]", steps=4).own == (3,)


def test_traverse_of_discrete_columns_goes_through_observed_values(method: Linear, codes: Parts) -> None:
    grid = steer.traverse(method, codes.rows(slice(1)), codes, ["symbols", "kind", "latents[0]"])
    rows = dict(zip(grid.labels, grid.values, strict=True))
    assert rows["symbols[0]"][:4].tolist() == [-1.0, -0.5, 0.25, 1.0]
    assert np.isnan(rows["symbols[0]"][4:]).all()
    assert rows["kind"][:3].tolist() == [0, 1, 2]
    assert grid.parts["kind"].dtype == torch.int64
    assert not np.isnan(rows["latents[0]"]).any()
    at = grid.labels.index("symbols[1]")
    assert grid.shown[at].tolist() == [True] * 4 + [False] * 4
    assert np.isfinite(grid.changed).all()
    assert grid.parts.size == grid.shown.sum()
    top = grid.top(2)
    assert len(top.labels) == 2
    assert top.parts.size == top.shown.sum()


def test_traverse_takes_all_single_numbers_by_default(method: Linear, codes: Parts) -> None:
    grid = steer.traverse(method, codes.rows(slice(1)), codes)
    assert set(grid.labels) == {*(f"latents[{i}]" for i in range(4)), "symbols[0]", "symbols[1]", "tone", "kind"}


def test_modes_are_given_back(method: Linear, codes: Parts) -> None:
    method.train()
    one = steer.traverse(method, codes.rows(slice(1)), codes, "latents").arrays
    assert method.training
    assert method.dropout.training
    np.testing.assert_array_equal(one, steer.traverse(method, codes.rows(slice(1)), codes, "latents").arrays)


def test_swap_exchanges_and_twice_is_the_identity(method: Linear, codes: Parts) -> None:
    a, b = codes.rows(slice(3)), codes.rows(slice(3, 6))
    grid = steer.swap(method, a, b, "latents")
    assert grid.arrays.shape == (3, 4, 1, 4, 4)
    assert grid.heads == ("a", "b", "a with b's latents", "b with a's latents")
    mixed = grid.parts.rows(torch.arange(3) * 4 + 2), grid.parts.rows(torch.arange(3) * 4 + 3)
    assert (mixed[0]["latents"] == b["latents"]).all()
    assert (mixed[0]["content"] == a["content"]).all()
    again = steer.swap(method, *mixed, "latents")
    np.testing.assert_array_equal(again.arrays[:, 2], grid.arrays[:, 0])
    np.testing.assert_array_equal(again.arrays[:, 3], grid.arrays[:, 1])


def test_swap_takes_along_what_rides(method: Linear, codes: Parts) -> None:
    a, b = codes.rows(slice(1)), codes.rows(slice(1, 2))
    grid = steer.swap(method, a, b, "content")
    assert grid.parts["tone"].tolist() == [a["tone"], b["tone"], b["tone"], a["tone"]]
    assert grid.labels == ("content, tone",)


def test_interpolate_hits_both_ends(method: Linear, codes: Parts) -> None:
    a, b = codes.rows(slice(2)), codes.rows(slice(2, 4))
    grid = steer.interpolate(method, a, b, "latents", steps=3)
    parts = grid.parts["latents"].reshape(2, 3, 4)
    assert (parts[:, 0] == a["latents"]).all()
    torch.testing.assert_close(parts[:, 1], (a["latents"] + b["latents"]) / 2)
    assert (parts[:, 2] == b["latents"]).all()
    assert grid.heads == ("0 %", "50 %", "100 %")
    assert (grid.parts["kind"].reshape(2, 3) == a["kind"][:, None]).all()


def test_interpolate_steps_through_observed_values_of_discrete_families(method: Linear, codes: Parts) -> None:
    a, b = codes.rows(slice(4)), codes.rows(slice(4, 8))
    grid = steer.interpolate(method, a, b, "symbols", steps=9, codes=codes)
    assert set(grid.parts["symbols"].flatten().tolist()) <= {-1.0, -0.5, 0.25, 1.0}
    with pytest.raises(ConfigError, match="symbols: expected codes of data"):
        steer.interpolate(method, a, b, "symbols")


def test_interpolate_refuses_ids(method: Linear, codes: Parts) -> None:
    with pytest.raises(ConfigError, match="made of ids; use swap or replace"):
        steer.interpolate(method, codes.rows(slice(1)), codes.rows(slice(1)), "kind")


def test_replace_sets_one_thing(method: Linear, codes: Parts) -> None:
    a = codes.rows(slice(2))
    grid = steer.replace(method, a, "latents[1]", 0.5, codes)
    assert grid.values.tolist() == [[pytest.approx(float(v)), 0.5] for v in a["latents[1]"]]
    assert grid.heads == ("before", "latents[1] = 0.5")
    snapped = steer.replace(method, a, "symbols[0]", 0.3, codes)
    assert snapped.values[:, 1].tolist() == [0.25, 0.25]
    whole = steer.replace(method, a, "content", torch.zeros(3), codes)
    assert (whole.parts["content"].reshape(2, 2, 3)[:, 1] == 0).all()


def test_replace_refuses_codes_outside_the_data_unless_asked(method: Linear, codes: Parts) -> None:
    a = codes.rows(slice(1))
    with pytest.raises(ConfigError, match=r"latents\[0\]: expected codes within .* got 9; allow"):
        steer.replace(method, a, "latents[0]", 9.0, codes)
    assert steer.replace(method, a, "latents[0]", 9.0, codes, beyond=2.0).values[0, 1] == 9
    with pytest.raises(ConfigError, match="got 7"):
        steer.replace(method, a, "kind", 7, codes, beyond=9.0)
    with pytest.raises(ConfigError, match="got nan"):
        steer.replace(method, a, "latents[0]", float("nan"), codes)
    with pytest.raises(ConfigError, match=r"shape \(3,\), got \(5,\)"):
        steer.replace(method, a, "content", torch.zeros(5), codes)


def test_one_clear_line_for_each_mistake(method: Linear, codes: Parts) -> None:
    a = codes.rows(slice(1))
    for names, message in {
        "latens": "did you mean 'latents'",
        "latents[4]": r"a column from 'latents\[0\]' to 'latents\[3\]', got 'latents\[4\]'",
        "latents[x]": "a column from",
        "content": r"name a column, such as 'content\[0\]'",
        "seen[0]": "derived from 'content'; steer 'content'",
        "tone[0]": "a single number",
    }.items():
        with pytest.raises(ConfigError, match=message):
            steer.traverse(method, a, codes, names)
    with pytest.raises(ConfigError, match="a method that decodes, got 'only-encodes', which only encodes"):
        steer.traverse(Only(NoOptions(), FIELDS), a, codes)
    with pytest.raises(ConfigError, match="0 or more"):
        steer.traverse(method, a, codes, beyond=-1.0)
    with pytest.raises(ConfigError, match="1 step or more"):
        steer.traverse(method, a, codes, steps=0)
    with pytest.raises(ConfigError, match="1 and 2"):
        steer.swap(method, a, codes.rows(slice(2)), "latents")
    with pytest.raises(ConfigError, match="NaN or infinity"):
        steer.traverse(method, a, codes.replace(tone=torch.full((1000,), torch.nan)), "tone")
    with pytest.raises(ConfigError, match="at least one item"):
        steer.code_range(codes.rows(slice(0)), "tone")


def test_columns_of_a_vector_can_be_named(method: Linear, codes: Parts) -> None:
    assert steer.traverse(method, codes.rows(slice(1)), codes, "content[2]", steps=3).labels == ("content[2]",)


def test_ranges_of_whole_parts(codes: Parts) -> None:
    span = steer.code_range(codes, "content")
    assert span.low.shape == span.high.shape == (3,)
    torch.testing.assert_close(span.low, codes["content"].quantile(0.01, dim=0))
    clamped = span.inside(torch.tensor([[99.0, 0.0, -99.0]]))
    torch.testing.assert_close(clamped[0], torch.stack([span.high[0], torch.tensor(0.0), span.low[2]]))
