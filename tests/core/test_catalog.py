import pytest

from unbraid.core import catalog as module
from unbraid.core.catalog import Entry, catalog, find, merge
from unbraid.core.errors import ConfigError
from unbraid.testing.index import rendered


def test_the_index_is_the_one_that_would_be_generated():
    from importlib.resources import files

    text = files("unbraid.methods").joinpath("index.json").read_text(encoding="utf-8")
    assert text == rendered(), "run: python -m unbraid.testing.index"


def test_every_name_leads_to_a_class():
    for entry in catalog().values():
        assert entry.load().card.summary


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'beta-vae'"):
        find("beta_vea")


def test_a_method_of_another_package(monkeypatch):
    class Point:
        name, value, module = "theirs", "stubs:TwoUpdates", "stubs"

    monkeypatch.setattr(module.importlib.metadata, "entry_points", lambda group: [Point()])
    catalog.cache_clear()
    try:
        assert find("theirs").load().__name__ == "TwoUpdates"
    finally:
        catalog.cache_clear()


def test_a_name_of_ours_cannot_be_taken():
    with pytest.raises(ConfigError, match="one owner"):
        merge(catalog(), [Entry("qlae", "theirs:QLAE", {}, "", 0)])
