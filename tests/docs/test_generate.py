"""The generated pages say what the code says."""

import dataclasses
import importlib.util

import pytest
from guides import ROOT

from unbraid.core.catalog import catalog
from unbraid.metrics.registry import SCORES
from unbraid.testing.made import tiny_method


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("unbraid_docs_generate", ROOT / "docs" / "_generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_for_every_method(generate):
    for name, entry in catalog().items():
        text = generate.method_page(entry)
        assert text.startswith(f"# {name}\n\n{entry.summary}")
        assert all(f"`{part.name}`" in text for part in tiny_method(entry.load(), entry.overrides).parts())
        for option in generate.attributes(type(entry.load().Config())):
            assert f"| `{option}` |" in text


def test_every_option_has_a_meaning(generate):
    for name, entry in catalog().items():
        config = type(entry.load().Config())
        assert set(generate.attributes(config)) >= {f.name for f in dataclasses.fields(config)}, name


def test_docstrings_become_markdown(generate):
    said = generate.plain("Does a_b * c.\n\n1. One. 2. Two\nlines.\n\nSource:\n    A, 2020,\n    models/a_b.py.\n")
    assert said == "Does a\\_b \\* c.\n\n1. One.\n2. Two\nlines.\n\n**Source.** A, 2020, models/a\\_b.py."


def test_the_table_of_scores(generate):
    text = generate.scores_page()
    assert all(f"| `{name}` |" in text for name in SCORES)


def test_the_made_codes_disagree_as_the_guide_says(generate):
    lines = generate.made_page().splitlines()
    head = [cell.strip(" `") for cell in lines[0].strip("|").split("|")]
    row = {}
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        row[cells[0].split("**")[1]] = dict(zip(head[1:], map(float, cells[1:]), strict=True))
    assert row["perfect"]["mig"] > 0.95 > 0.5 > row["perfect"]["sap"]
    assert row["rotated"]["infoe"] > 0.95
    assert max(row["rotated"][name] for name in ("mig", "sap", "modularity", "infom", "infoc")) < 0.1
    assert row["overcomplete"]["modularity"] > 0.95
    assert row["overcomplete"]["mig"] < 0.05
    assert row["noisy"]["infom"] > 0.9 > 0.3 > row["noisy"]["mig"]
    assert row["dead"]["modularity"] < 0.5 < 0.95 < row["dead"]["infom"]
