import json
import math

import numpy as np
import pytest
import torch
from audit_made import factors, one_hot

from unbraid.audit import Audit, audit
from unbraid.core.errors import ConfigError, DataError
from unbraid.core.parts import Parts, PartSpec

N = 600


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    site, sex, noise = rng.integers(4, size=N), rng.integers(2, size=N), rng.integers(3, size=N)
    content = one_hot(site) * 6 + rng.normal(size=(N, 4))
    content[:, 0] += rng.normal(size=N)
    style = rng.normal(size=(N, 3))
    latents = np.stack([sex * 3.0 + 0.5 * rng.normal(size=N), rng.normal(size=N), np.zeros(N)], 1)
    table = factors(site=site, sex=sex, noise=noise)
    return {"content": content, "style": style, "latents": latents}, table


@pytest.fixture(scope="module")
def page(world):
    parts, table = world
    return audit(
        parts,
        table,
        specs=[PartSpec("latents", "fam", (3,), one=True)],
        carries={"content": ["site"]},
        free_of={"content": ["sex"], "style": ["site"], "latents": "sex"},
        metrics=("mig", "modularity"),
        seed=3,
    )


def test_what_is_there_is_found_and_what_is_not_is_not(page):
    assert page.find("content", "site").verdict == "carries"
    assert page.find("content", "site").share > 0.9
    assert page.find("latents", "sex").verdict == "leaks"
    assert page.find("latents[0]", "sex").verdict == "knows"
    assert page.find("style", "noise").verdict == "no evidence"
    assert page.find("style", "site").verdict in ("clean", "not decided")
    assert [r.name for r in page.leaks] == ["latents"]


def test_each_row_is_of_one_part_or_column_factor_and_probe(page):
    assert len(page.rows) == 3 * 3 * 2 + 3 * 3 + 3  # and the best column of the family speaks for it
    assert {r.probe for r in page.rows if r.column is None} == {"linear", "mlp", "latents[0]", "latents[1]"}
    assert page.parts == ("content", "style", "latents")
    assert page.factors == ("site", "sex", "noise")
    for row in page.rows:
        assert row.low <= row.bits <= row.high
        assert 0 <= row.p <= row.p_adjusted <= 1
        assert row.share_high <= row.bound <= 1
        assert row.samples == N


def test_a_column_that_never_varies_knows_nothing_for_sure(page):
    dead = page.find("latents[2]", "sex")
    assert (dead.bits, dead.high, dead.bound, dead.p) == (0, 0, 0, 1)
    assert dead.note == "the same for every item"
    assert page.gauges["latents"]["dead_columns"] == [2]


def test_families_say_what_each_column_knows_and_where_each_factor_lies(page):
    [family] = page.families()
    assert family.columns[0].factor == "sex"
    assert family.columns[1].factor is None
    seat = {s.factor: s for s in family.seats}["sex"]
    assert seat.column == "latents[0]"
    assert seat.held > 0.8


def test_scores_come_per_part(page):
    assert {name: [s.name for s in found] for name, found in page.scores.items()}["latents"] == ["mig", "modularity"]
    assert 1 < page.gauges["style"]["effective_rank"] <= 3


def test_plain_words_say_first_what_leaks(page):
    first = page.sentences()[0]
    assert first.startswith("latents leaks sex: ")
    assert "of its 1.0 bits" in first
    assert any(s.startswith("content carries site: ") for s in page.sentences())
    lines = page.table().splitlines()
    assert lines[0].split() == ["site", "sex", "noise"]
    assert lines[1].startswith("content")
    assert any(line.startswith("  best column") and "[0]" in line for line in lines)


def test_json_comes_back_the_same(page, tmp_path):
    again = Audit.from_json(page.to_json())
    assert again.to_json() == page.to_json()
    assert again.scores == page.scores
    assert again.table() == page.table()
    page.save(tmp_path / "audit.json")
    assert json.loads((tmp_path / "audit.json").read_text())["meta"]["items"] == N
    with pytest.raises(DataError, match="schema"):
        Audit.from_json('{"schema": 99}')
    with pytest.raises(DataError, match="audit as JSON"):
        Audit.from_json("{")


def test_heatmap_and_pandas(page):
    data = page.heatmap_data()
    assert data["names"] == ["content", "style", "latents", "latents[0]", "latents[1]", "latents[2]"]
    assert len(data["share"]) == 6
    assert data["verdict"][0][0] == "carries"
    json.dumps(data, allow_nan=False)
    pytest.importorskip("pandas")
    frame = page.to_pandas()
    assert len(frame) == len(page.rows)
    assert {"part", "column", "factor", "share", "p_adjusted", "verdict"} <= set(frame.columns)


def test_same_seed_same_bits_tensors_or_arrays(world):
    parts, table = world
    some = {"content": parts["content"]}
    first = audit(some, table, metrics=(), seed=1)
    second = audit(Parts(content=torch.from_numpy(parts["content"])), table, metrics=(), seed=1)
    assert first.to_json() == second.to_json()
    assert audit(some, table, metrics=(), seed=2, probes=("linear",)).rows[0].bits != first.rows[0].bits


def test_missing_values_are_left_out_for_their_factor_only():
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=400).astype(float)
    z = y[:, None] * 3 + rng.normal(size=(400, 2))
    gaps = np.where(rng.random(400) < 0.4, np.nan, y)
    found = audit({"z": z}, factors(y=y, gaps=gaps), metrics=(), probes=("linear",))
    assert found.find("z", "y").samples == 400
    assert found.find("z", "gaps").samples == int((~np.isnan(gaps)).sum())
    assert found.find("z", "gaps").verdict == "knows"
    assert "without a value" in found.find("z", "gaps").note


def test_group_identity_alone_is_no_knowledge_of_what_differs_between_groups():
    rng = np.random.default_rng(2)
    groups = rng.integers(40, size=800)
    site = rng.integers(2, size=40)[groups]
    z = rng.normal(size=(40, 6))[groups] * 3 + rng.normal(size=(800, 6))
    table = factors(site=site, speaker=groups, mood=rng.integers(2, size=800))
    naive = audit({"z": z}, table.without("speaker"), metrics=(), probes=("linear",))
    honest = audit({"z": z}, table, group="speaker", metrics=(), probes=("linear",))
    assert naive.find("z", "site").verdict == "knows"
    assert honest.find("z", "site").verdict == "no evidence"
    assert "speaker" not in honest.factors


def test_knowledge_that_holds_in_new_groups_is_found():
    rng = np.random.default_rng(3)
    groups = rng.integers(30, size=900)
    mood = rng.integers(3, size=900)
    z = rng.normal(size=(30, 6))[groups] + rng.normal(size=(900, 6))
    z[:, 0] += mood
    found = audit({"z": z}, factors(speaker=groups, mood=mood), group="speaker", metrics=(), probes=("linear",))
    assert found.find("z", "mood").verdict == "knows"
    assert found.meta["groups"] == 30


def test_the_group_itself_cannot_be_asked_for_and_says_so():
    rng = np.random.default_rng(4)
    groups = rng.integers(20, size=300)
    table = factors(speaker=groups, mood=rng.integers(2, size=300))
    z = rng.normal(size=(300, 3))
    found = audit({"z": z}, table, group="speaker", free_of={"z": ["speaker"]}, metrics=(), probes=("linear",))
    row = found.find("z", "speaker")
    assert row.verdict == "not decided"
    assert "leave out --group" in row.note
    assert "leave out --group" in found.sentences()[0]


def test_a_role_without_a_factor_is_not_decided_and_a_mapped_one_is():
    rng = np.random.default_rng(5)
    spk = rng.integers(4, size=300)
    z = one_hot(spk) * 5 + rng.normal(size=(300, 4))
    specs = [PartSpec("z", "vec", (4,), carries=("speaker",), free_of=("phone",))]
    table = factors(spk=spk)
    unmapped = audit({"z": z}, table, specs=specs, metrics=(), probes=("linear",))
    assert unmapped.find("z", "speaker").verdict == "not decided"
    assert "role not mapped" in unmapped.find("z", "phone").note
    assert unmapped.find("z", "spk").verdict == "knows"
    mapped = audit({"z": z}, table, specs=specs, roles={"speaker": "spk"}, metrics=(), probes=("linear",))
    assert mapped.find("z", "spk").verdict == "carries"


def test_parts_of_any_rank_are_read():
    rng = np.random.default_rng(6)
    y = rng.integers(2, size=200)
    specs = [
        PartSpec("steps", "seq", (7, 3)),
        PartSpec("plane", "map", (3, 4, 4)),
        PartSpec("symbols", "ids", (2,), classes=8),
    ]
    parts = {
        "steps": rng.normal(size=(200, 7, 3)) + 2 * y[:, None, None],
        "plane": rng.normal(size=(200, 3, 4, 4)) + 2 * y[:, None, None, None],
        "symbols": np.stack([np.array([5, 2])[y], rng.integers(4, size=200)], 1),
        "cube": rng.normal(size=(200, 2, 2, 2)),
        "number": rng.normal(size=200) + 3 * y,
    }
    found = audit(parts, factors(y=y), specs=specs, metrics=(), probes=("linear",))
    assert [found.find(p, "y").verdict for p in parts] == ["knows", "knows", "knows", "no evidence", "knows"]
    assert found.find("symbols[0]", "y").share > 0.9
    assert found.gauges["symbols"]["dead_codes"] == 3  # 4, 6 and 7 of 8
    assert found.find("steps", "y").note == "averaged over time"


def test_wide_parts_are_read_along_leading_directions():
    rng = np.random.default_rng(7)
    y = rng.integers(2, size=200)
    z = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 900)) + y[:, None] * rng.normal(size=900)
    found = audit({"z": z}, factors(y=y), metrics=(), probes=("linear",))
    assert found.find("z", "y").verdict == "knows"
    assert "900 numbers per item" in found.find("z", "y").note


def test_independent_codes_are_clean_only_with_enough_items():
    rng = np.random.default_rng(8)
    verdicts = []
    for n in (60, 3000):
        z, y = rng.normal(size=(n, 4)), rng.integers(4, size=n)
        page = audit({"z": z}, factors(y=y), free_of={"z": ["y"]}, metrics=(), probes=("linear",))
        verdicts.append(page.find("z", "y").verdict)
    assert verdicts == ["not decided", "clean"]


def test_passive_latents_are_told_from_the_posterior():
    rng = np.random.default_rng(9)
    mu = rng.normal(size=(200, 2)) * [1.0, 1e-3]
    logvar = np.tile([-3.0, 0.0], (200, 1))
    page = audit(
        {"z": mu}, factors(y=rng.integers(2, size=200)), posterior=(mu, logvar), metrics=(), probes=("linear",)
    )
    assert page.gauges["z"]["passive_latents"] == [1]


def polarised(n=2000, passive=2):
    """Two active latents, and passive ones whose small means follow the first."""
    rng = np.random.default_rng(3)
    active = rng.normal(size=(n, 2))
    follow = 1e-3 * (active[:, :1] + 0.1 * rng.normal(size=(n, passive)))
    logvar = np.concatenate([np.full((n, 2), -5.0), np.full((n, passive), 0.01)], 1)
    return np.concatenate([active, follow], 1), logvar


def test_latents_in_use_and_one_sentence_of_advice():
    mu, logvar = polarised()
    table = factors(y=np.arange(len(mu)) % 2)
    page = audit({"z": mu, "w": mu[:, :1]}, table, posterior=(mu, logvar), metrics=(), probes=("linear",))
    found = page.latents["z"]
    assert list(page.latents) == ["z"]
    assert (found.active, found.mixed, found.passive) == ((0, 1), (), (2, 3))
    assert found.total_mean > 3 > 0.1 > found.total_sampled
    assert abs(found.kept_mean - found.kept_sampled) < 0.01
    said = page.sentences()[-1]
    assert said.startswith("z: leave out the 2 of 4 latents that no item uses, and keep 0, 1: the total correlation")
    assert Audit.from_json(page.to_json()).latents == page.latents
    named = audit(
        {"y": mu[::-1], "z": mu}, table, posterior=(mu, logvar), posterior_part="z", metrics=(), probes=("linear",)
    )
    assert list(named.latents) == ["z"]
    assert "passive_latents" not in named.gauges["y"]
    earlier = json.loads(page.to_json())
    del earlier["latents"]
    assert Audit.from_json(json.dumps(earlier)).latents == {}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([0, 1], "all 2 latents are in use, so keep them all"),
        ([2, 3], "no item uses any latent"),
        ([0, 2], "and keep 0: the total correlation"),
    ],
)
def test_advice_follows_from_the_groups(columns, said):
    mu, logvar = (a[:, columns] for a in polarised(400))
    page = audit({"z": mu}, factors(y=np.arange(400) % 2), posterior=(mu, logvar), metrics=(), probes=("linear",))
    assert said in page.latents["z"].advice
    assert page.latents["z"].advice.endswith("(told from only 400 items)")


def test_no_total_correlation_of_fewer_items_than_latents():
    mu, logvar = (a[:40] for a in polarised(40, passive=60))
    found = audit({"z": mu}, factors(y=np.arange(40) % 2), posterior=(mu, logvar), metrics=(), probes=("linear",))
    assert found.latents["z"].total_mean is None
    assert found.latents["z"].kept_mean is not None
    json.loads(found.to_json())


def test_progress_is_told():
    heard = []
    z, y = np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 2
    audit(
        {"z": z}, factors(y=y), metrics=(), probes=("linear",), progress=lambda what, share: heard.append((what, share))
    )
    assert ("z", 1.0) in heard
    assert all(0 <= share <= 1 for _, share in heard)


def test_mistakes_are_named():
    z, table = np.random.default_rng(0).normal(size=(50, 2)), factors(y=np.arange(50) % 2)
    hole = z.copy()
    hole[7, 1] = math.nan
    with pytest.raises(DataError, match=r"part 'z', row 7, column 1"):
        audit({"z": hole}, table)
    with pytest.raises(DataError, match="as many rows"):
        audit({"z": z[:40]}, table)
    with pytest.raises(DataError, match="numbers"):
        audit({"z": z.astype(str)}, table)
    with pytest.raises(ConfigError, match="factor"):
        audit({"z": z}, table, free_of={"z": ["sex"]})
    with pytest.raises(ConfigError, match="part"):
        audit({"z": z}, table, carries={"w": ["y"]})
    with pytest.raises(ConfigError, match="either carried or absent"):
        audit({"z": z}, table, carries={"z": ["y"]}, free_of={"z": ["y"]})
    with pytest.raises(ConfigError, match="probe"):
        audit({"z": z}, table, probes=("quadratic",))
    with pytest.raises(ConfigError, match="score"):
        audit({"z": z}, table, metrics=("migg",), probes=("linear",))
    with pytest.raises(ConfigError, match="factor"):
        audit({"z": z}, table, group="speaker")
    with pytest.raises(DataError, match="at least one"):
        audit({}, table)


@pytest.mark.parametrize("rotated", [False, True])
def test_a_twentieth_of_a_factor_is_found_in_two_thousand_items(rotated):
    for t in range(2):
        rng = np.random.default_rng([12, t])
        y, z = rng.integers(5, size=2000), rng.normal(size=(2000, 64 if rotated else 10))
        z[:, 3] += 0.2955 * y  # 5 % of log2(5) bits
        if rotated:
            z = z @ np.linalg.qr(rng.normal(size=(64, 64)))[0]
        others = {f"other{i}": rng.integers(i + 2, size=2000) for i in range(3)}
        page = audit({"z": z}, factors(y=y, **others), metrics=(), probes=("linear",), seed=t)
        assert page.find("z", "y").verdict == "knows"
