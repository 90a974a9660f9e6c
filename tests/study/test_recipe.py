"""A recipe says what is compared, in words or in a file, and refuses what it does not know."""

import pytest

from unbraid.core.errors import ConfigError, UnbraidError
from unbraid.study import Contender, Ground, Recipe, read_recipe
from unbraid.study.page import to_toml

TOML = """
title = "Two"
seeds = [3, 4]
steps = 7
metrics = ["mig", "infoe"]
less_is_better = ["loss"]

[data]
discs = "discs:size=16"
mine = { data = "pictures", size = 24, role = { label = "kind" } }

[methods]
ae = {}
"beta 8" = { method = "beta-vae", preset = "tiny", set = { beta = 8 } }
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "two.toml").write_text(TOML)
    return read_recipe(tmp_path / "two.toml")


def test_a_file_says_everything(recipe, tmp_path):
    cells = recipe.cells()
    assert [(c.method, c.data, c.seed) for c in cells[:5]] == [
        ("ae", "discs", 3),
        ("beta 8", "discs", 3),
        ("ae", "mine", 3),
        ("beta 8", "mine", 3),
        ("ae", "discs", 4),
    ]
    asked = cells[3].request
    assert (asked.method, asked.preset, asked.seed, asked.metrics) == ("beta-vae", "tiny", 3, "mig,infoe")
    assert asked.set == {"steps": 7, "beta": 8}
    assert asked.data == str(tmp_path / "pictures"), "a path is as seen from the file"
    assert (asked.size, asked.role) == (24, {"label": "kind"})
    assert cells[0].request.data == "discs:size=16"


def test_it_survives_json_and_toml(recipe, tmp_path):
    assert Recipe.from_json(recipe.to_json()) == recipe
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    assert read_recipe(tmp_path / "again.toml") == recipe


def test_lists_of_names_are_enough():
    recipe = Recipe.from_json({"methods": ["ae", "vae"], "data": ["discs"]})
    assert recipe == Recipe({"ae": Contender(), "vae": Contender()}, {"discs": Ground()})
    assert len(recipe.cells()) == 6
    assert recipe.cells()[0].request.data == "discs"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"methods": ["ae"]}, "data to compare"),
        ({"methods": [], "data": ["discs"]}, "methods to compare"),
        ({"methods": ["ae"], "data": ["discs"], "seeds": []}, "seeds to compare"),
        ({"methods": ["aee"], "data": ["discs"]}, "'ae'"),
        ({"methods": ["ae"], "data": ["discs"], "sedes": [1]}, "seeds"),
        ({"methods": {"ae": {"presets": "tiny"}}, "data": ["discs"]}, "preset"),
        ({"methods": {"ae": {"set": 3}}, "data": ["discs"]}, "methods.ae.set"),
        ({"methods": "ae", "data": ["discs"]}, "a table of names and values"),
        ({"methods": ["ae"], "data": {"x": 3}}, "data.x"),
        ({"methods": ["ae"], "data": ["discs"], "metrics": ["migg"]}, "mig"),
        ({"methods": {"a b": {"method": "ae"}, "a-b": {"method": "ae"}}, "data": ["discs"]}, "two cells"),
    ],
)
def test_what_is_wrong_is_one_line(told, says):
    with pytest.raises(UnbraidError, match=says) as caught:
        Recipe.from_json(told).cells()
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_one_line(tmp_path):
    (tmp_path / "torn.toml").write_text("methods = [")
    for name in ("torn.toml", "none.toml"):
        with pytest.raises(ConfigError, match=rf"{name}: expected a recipe in TOML"):
            read_recipe(tmp_path / name)
