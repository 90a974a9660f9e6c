"""The comparison of the autoencoders is complete, and its page shows it."""

import importlib

import pytest
from guides import ROOT


@pytest.fixture
def docs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("_compare"), importlib.import_module("_generate")


def test_every_method_was_measured_on_every_seed(docs):
    compare, _ = docs
    from unbraid.core.catalog import catalog

    latent = {n: e.load() for n, e in catalog().items() if e.target.startswith("unbraid.methods.latent.")}
    ours = {name for name, cls in latent.items() if cls.card.example == "sprites"}
    assert ours == set(compare.METHODS)
    assert list(compare.wanted(compare.METHODS)) == []


def test_the_page_has_a_row_for_each_and_the_figure_is_drawn(docs, tmp_path):
    compare, generate = docs
    lines = generate.comparison_page().splitlines()
    for method in compare.METHODS:
        assert sum(line.startswith(f"| [{method}](") for line in lines) == len(compare.WORLDS)
    assert "inf" not in "".join(lines).replace("infom", "").replace("infoe", "").replace("infogan", "")
    generate.comparison_picture(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().count("<path") > 100
