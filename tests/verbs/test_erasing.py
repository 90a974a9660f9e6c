"""A factor taken out of a file of codes, or out of the codes of a run, from the command line."""

import json

import numpy as np
import pytest

from unbraid.cli import run
from unbraid.data.codes import read_codes, write_codes
from unbraid.data.factors import FactorTable
from unbraid.verbs import Request, train

N = 240


@pytest.fixture
def place(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    site, kind = rng.integers(2, size=N), rng.integers(2, size=N)
    codes = rng.normal(size=(N, 5)).astype(np.float32)
    codes[:, 0] += 4 * site
    codes[:, 1] += 4 * kind
    columns = {"site": [f"s{i}" for i in site], "kind": [f"k{i}" for i in kind]}
    known = FactorTable.from_columns(columns)
    write_codes(tmp_path / "codes.npz", {"code": codes}, [f"item{i}" for i in range(N)], known)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["clean.npz", "clean.csv"])
def test_codes_keep_their_layout_and_the_audit_says_what_is_left(place, capfd, name):
    assert run(["steer", "codes.npz", "erase", "--factor", "site", "--out", name]) == 0
    said = capfd.readouterr().out
    before, after = read_codes(place / "codes.npz"), read_codes(place / name)
    assert (after.ids, after.factors.names, list(after.parts)) == (before.ids, before.factors.names, ["code"])
    np.testing.assert_allclose(after.parts["code"].mean(0), before.parts["code"].mean(0), atol=0.3)
    (line,) = [line for line in said.splitlines() if "site (erased)  linear" in line]
    first, last = (float(text.split("%")[0].split()[-1]) for text in (line[: line.index("%") + 1], line))
    assert first > 70
    found = json.loads((place / "clean.audit.json").read_text(encoding="utf-8"))
    rows = {(r["part"], r["factor"]): r for r in found["rows"] if r["probe"] == "linear"}
    assert rows["code after", "site"]["share"] < 0.1 < 0.7 < rows["code after", "kind"]["share"]
    assert rows["code after", "site"]["samples"] == N // 2
    assert found["meta"]["rows fitted to"] == N // 2
    assert "unbraid steer codes.npz erase --factor site" in (place / "clean.audit.html").read_text(encoding="utf-8")
    assert last <= 100


def test_codes_of_a_run_are_cleaned(tmp_path, capfd):
    request = Request(method="vae", data="discs", preset="tiny", set={"network": "mlp"}, device="cpu", audit=False)
    train(request, tmp_path / "run")
    capfd.readouterr()
    words = ["steer", str(tmp_path / "run"), "erase", "--factor", "x", "--method", "rasa", "--rounds", "2"]
    assert run([*words, "--out", str(tmp_path / "clean.npz")]) == 0, capfd.readouterr().err
    clean = read_codes(tmp_path / "clean.npz")
    assert "x" in clean.factors.names
    assert clean.ids is not None
    assert "directions taken out" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("codes.npz erase --factor sit --out a.npz", "did you mean 'site'"),
        ("codes.npz erase --out a.npz", "a factor to take out"),
        ("codes.npz erase --factor site", "--out"),
        ("codes.npz erase --factor site --out a.png", "'a.png'"),
        ("codes.npz erase --factor site --method lace --out a.npz", "did you mean 'leace'"),
        ("codes.npz erase --factor site --part cod --out a.npz", "did you mean 'code'"),
        ("codes.npz erase --factor site --group kind --out a.npz 3", "no positions"),
        ("code.npz erase --factor site --out a.npz", "did you mean 'codes.npz'"),
        ("codes.npz traverse --factor site", "erase, where this is told"),
    ],
)
def test_mistakes_end_with_one_line_and_leave_nothing(place, capfd, words, said):
    before = sorted(place.rglob("*"))
    assert run(["steer", *words.split()]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert sorted(place.rglob("*")) == before
