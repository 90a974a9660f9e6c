"""The results under version control can be read, and hold what the table of the benchmarks says."""

import csv
from datetime import date
from pathlib import Path

import pytest

COLUMNS = ["name", "ours_s", "peer_s", "ratio", "goal", "threads", "device", "commit", "date"]
FILES = sorted((Path(__file__).parents[1] / "benchmarks" / "results").glob("*.csv"))


def test_there_are_results():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_results_file_holds_what_it_declares(path):
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        lines = list(reader)
    assert reader.fieldnames == COLUMNS
    assert lines
    assert len({(line["device"], line["threads"]) for line in lines}) == len(lines)
    for line in lines:
        assert line["name"] == path.stem
        assert float(line["ours_s"]) > 0
        assert int(line["threads"]) > 0
        date.fromisoformat(line["date"])
        assert bool(line["peer_s"]) == bool(line["ratio"])
        if line["ratio"]:
            expected = float(line["peer_s"]) / float(line["ours_s"])
            assert float(line["ratio"]) == pytest.approx(expected, rel=1e-3, abs=0.01)
