import json
from dataclasses import replace

import pytest

import unbraid.claims
from unbraid.claims import claim_of, claimed, seeds_of, verify, verify_command
from unbraid.claims.claim import Arm, Claim, Contrast, Gate, Metric, Result
from unbraid.claims.run import job_of, matched, run
from unbraid.core.catalog import catalog, find
from unbraid.core.errors import ConfigError

KEYS = ["method", "claim", "metric", "ours", "baseline", "expect", "margin", "interval", "seeds", "minutes", "verdict"]
TINY = {"network": "mlp", "latents": 3, "width": 8, "batch": 8, "steps": 3}

FAST = Claim(
    method="ada-gvae",
    task="Hardly anything.",
    data="discs",
    settings=TINY,
    arms=(
        Arm("pairs", "ada-gvae"),
        Arm("vae", "vae"),
        Arm("vae 2", "vae", {"beta": 2.0}),
        Arm("vae longer", "vae", {"steps": 6}),
    ),
    contrasts=(
        Contrast("More steps count.", "steps", "vae longer", "vae", margin=2.5),
        Contrast("Fewer do not.", "steps", "vae", "vae longer"),
        Contrast("As many are as many.", "steps", "pairs", 3.0, expect="same"),
        Contrast("Some matched arm.", "kl", "pairs", ("vae", "vae 2"), expect="report", match="explained"),
    ),
    gates=lambda cls: [Gate("It has a name.", "letters", float(len(cls.card.name)), 8.0)],
    metrics={"steps": Metric("Steps of training.", lambda arm: float(arm.method.config.steps))},
    seeds=(1, 2),
    note="A note.",
)


class Heard:
    def __init__(self):
        self.totals, self.seen, self.ended = [], [], 0

    def begin(self, what, total, done=0):
        self.totals.append(total)

    def advance(self, done, terms=None):
        self.seen.append(done)

    def end(self):
        self.ended += 1


@pytest.fixture
def fast(monkeypatch):
    """The claim above in the place of every claim."""
    monkeypatch.setattr(unbraid.claims, "claim_of", lambda name: FAST)


@pytest.fixture(scope="module")
def rows():
    return run([("ada-gvae", FAST)])


def test_rows_and_verdicts(rows):
    assert [r.verdict for r in rows] == ["holds", "holds", "does not hold", "holds", "not decided"]
    assert [r.interval for r in rows[:3]] == [None, (3.0, 3.0), (-3.0, -3.0)]
    assert [r.seeds for r in rows] == [(), *[(1, 2)] * 4]
    assert all(r.minutes >= 0 for r in rows)
    low, high = rows[-1].interval
    assert low <= rows[-1].ours - rows[-1].baseline <= high


def test_every_arm_is_trained_once_and_progress_reaches_its_end():
    heard = Heard()
    run([("ada-gvae", FAST), ("ada-ml-vae", FAST)], progress=heard)
    once = 3 + 3 + 3 + 6  # steps of the arms; of the alias only its own arm is new
    assert heard.totals == [2 * (once + 3)]
    assert heard.seen == sorted(heard.seen)
    assert heard.seen[-1] == heard.totals[0]
    assert heard.ended == 1


def test_an_alias_changes_the_arms_of_its_method_only():
    assert job_of("ada-gvae", FAST, "pairs", 1).config.aggregate == "gvae"
    assert job_of("ada-ml-vae", FAST, "pairs", 1).config.aggregate == "ml"
    assert job_of("ada-ml-vae", FAST, "vae", 1) == job_of("ada-gvae", FAST, "vae", 1)


def test_the_same_seeds_measure_the_same(rows):
    again = run([("ada-gvae", FAST)])
    assert [(r.ours, r.baseline, r.interval) for r in again] == [(r.ours, r.baseline, r.interval) for r in rows]


def test_matching_never_favours_ours():
    values = {"ours": 0.9, "a": 0.95, "b": 0.89, "c": 0.7}
    assert matched(values, "ours") == "b"
    assert matched({**values, "b": 0.9}, "ours") == "b"
    assert matched({"ours": 0.1, "a": 0.95, "b": 0.89}, "ours") == "b"


def test_json_is_a_list_of_rows(fast, tmp_path):
    path = tmp_path / "verdicts.json"
    text = verify_command(["ada-gvae"], False, "1,2", path)
    assert text.startswith("ada-gvae: does not hold")
    data = json.loads(path.read_text())
    assert isinstance(data, list)
    assert [list(row) for row in data] == [KEYS] * 5
    assert {row["verdict"] for row in data} <= {"holds", "does not hold", "not decided"}
    assert data[0]["interval"] is None
    assert data[0]["seeds"] == []
    assert data[1]["seeds"] == [1, 2]
    assert [Result.from_json(row).to_json() for row in data] == [Result.from_json(row).to_json() for row in data]


def test_one_seed_has_no_interval(fast):
    rows = verify("ada-gvae", seeds=[5])
    assert all(r.interval is None for r in rows)
    assert [r.verdict for r in rows[1:]] == ["not decided"] * 4


def test_every_method_of_ours_that_claims_something_has_a_claim():
    own = {name: e for name, e in catalog().items() if e.target.startswith("unbraid.") and not e.overrides}
    ours = [name for name, entry in own.items() if entry.load().card.claim]
    assert {"qlae", "barlow-twins", "deyo", "dccf"} <= {*ours}
    assert set(ours) <= set(claimed())
    for name in ours:
        claim = claim_of(name)
        assert find(claim.method).target == find(name).target
        assert claim.contrasts or claim.gates
        names = [arm.name for arm in claim.arms]
        assert len(set(names)) == len(names)
        for contrast in claim.contrasts:
            assert set(contrast.arms) <= set(names)
            for arm in contrast.arms:
                job_of(name, claim, arm, 11)
        asserted = [c for c in claim.contrasts if c.expect != "report"]
        assert asserted
        assert len({(c.claim, c.metric) for c in claim.contrasts}) == len(claim.contrasts)


@pytest.mark.parametrize(
    ("names", "all_", "seeds", "said"),
    [
        (["beta-vea"], False, None, "did you mean 'beta-vae'?"),
        ([], False, None, "--all"),
        (["ae"], False, "11,x", "whole numbers"),
        (["ae"], False, "", "whole numbers"),
        (["ae"], False, "11,11", "different"),
        (["ae"], False, "-1", "whole numbers"),
        (["ae"], False, "1.5", "whole numbers"),
        (["ae"], False, "1,,2", "whole numbers"),
        (["ae"], False, "²", "whole numbers"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(names, all_, seeds, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        verify_command(names, all_, seeds, None)


def test_a_json_path_that_cannot_be_written_is_refused_first(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "x.json"):
        with pytest.raises(ConfigError, match="--json"):
            verify_command(["ae"], False, None, path)


def test_seeds_of_text():
    assert seeds_of("11,12,13") == [11, 12, 13]
    assert seeds_of(" 7 ") == [7]


def test_an_unknown_metric_is_named():
    wrong = Claim("ae", "", "discs", (Arm("ae", "ae"),), (Contrast("x", "mgi", "ae", 0.0),))
    with pytest.raises(ConfigError, match="did you mean 'mig'"):
        run([("ae", wrong)])


def test_an_arm_may_have_data_of_its_own_and_is_left_out_without_them():
    other = Arm("digits", "vae", data="digits:size=8")
    missing = Arm("missing", "vae", data="no-such-folder/no-such-file.csv")
    contrasts = (
        Contrast("Eight pixels wide.", "width", "digits", 8.0, expect="same"),
        Contrast("Sixteen.", "width", "vae", 16.0, expect="same"),
        Contrast("Not there.", "width", "missing", 8.0),
        Contrast("Nor against it.", "width", "vae", "missing"),
    )
    width = Metric("Pixels in a row.", lambda arm: float(arm.data.fields["x"].shape[-1]))
    claim = replace(FAST, arms=(*FAST.arms, other, missing), contrasts=contrasts, gates=None, metrics={"width": width})
    rows = run([("ada-gvae", claim)])
    assert [row.claim for row in rows] == ["Eight pixels wide.", "Sixteen."]
    assert all(row.verdict == "holds" for row in rows)
