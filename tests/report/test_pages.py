from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from unbraid.core.errors import RunError
from unbraid.report import write_audit_page, write_report

SECTIONS = ("leakage", "steered", "reconstructions", "curves", "scores", "gauges", "reproduce", "notes")
VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}


class Page(HTMLParser):
    """Refuses a page whose tags do not close in order, and remembers what is worth asking for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data.replace("\u202f", " ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [s.get("id") for s in self.all("section")]


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_a_full_run_has_every_section_in_order(run_folder: Path) -> None:
    path = write_report(run_folder)
    assert path == run_folder / "report.html"
    page = read(path)
    assert tuple(page.sections) == SECTIONS
    assert [a["href"] for a in page.all("a")] == [f"#{s}" for s in SECTIONS]
    for said in (
        "qlae on sprites",
        "737 280 items of 1 × 32 × 32",
        "3 000 steps in 52 s with seed 3",
        "x lies in latents[3] (84 %)",
        "Of orientation only 17 % can be read at all.",
        "unbraid train qlae --data sprites --preset quick --seed 3 --set latents=10",
        "3b9f0c5e77aa1d20",
        "torch 2.13.0",
        "orientation: circular",
        "How much more the best latent knows",
        "↑ higher is better",
        "optim.lr",
        "last 9.1",
    ):
        assert said in page.text, said


def test_nothing_is_loaded_from_anywhere(run_folder: Path) -> None:
    text = write_report(run_folder).read_text(encoding="utf-8")
    for _, attributes in Page(text).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!data:)", text)


def test_pictures_are_embedded_and_described(run_folder: Path) -> None:
    page = read(write_report(run_folder))
    images = page.all("img")
    assert len(images) == 3
    assert [str(i["src"]).partition(";")[0] for i in images] == ["data:image/png", "data:image/gif", "data:image/png"]
    assert images[0]["alt"] == "Traverse: each row moves one code."
    assert images[0]["width"] == "300"
    assert all(i["alt"] and i["width"] and i["height"] for i in images)
    assert "moves" in str([f["class"] for f in page.all("figure") if "class" in f])


def test_missing_pieces_leave_their_sections_out(run_folder: Path) -> None:
    for name, gone in (
        ("audit.json", {"leakage", "scores", "gauges", "notes"}),
        ("series.jsonl", {"leakage", "scores", "gauges", "notes", "curves"}),
    ):
        (run_folder / name).unlink()
        page = read(write_report(run_folder))
        assert page.sections == [s for s in SECTIONS if s not in gone]
        assert [a["href"] for a in page.all("a")] == [f"#{s}" for s in SECTIONS if s not in gone]
    for picture in (run_folder / "pictures").iterdir():
        picture.unlink()
    (run_folder / "pictures").rmdir()
    assert read(write_report(run_folder)).sections == ["reproduce"]
    (run_folder / "run.json").write_text("{}")
    assert "A method was trained on data." in read(write_report(run_folder)).text


def test_user_text_is_escaped(run_folder: Path, audit_row: Callable[..., dict[str, Any]]) -> None:
    bad = "<script>alert('x')</script>&\""
    facts = json.loads((run_folder / "run.json").read_text())
    facts |= {"method": bad, "title": bad, "summary": bad, "data": {"name": bad}, "notes": [bad], "config": {bad: bad}}
    facts["request"] = {"data": bad}
    (run_folder / "run.json").write_text(json.dumps(facts))
    score = {"name": bad, "value": 1, "meaning": bad, "reference": bad, "note": bad, "low": 0, "high": 1}
    audit = {"rows": [audit_row(bad, c, bad, 0.5, bad, note=bad, probe=bad) for c in (None, 0)], "notes": [bad]}
    audit |= {
        "sentences": [bad],
        "scores": {bad: [score]},
        "gauges": {bad: {bad: bad}},
        "meta": {bad: bad, "codes": bad},
    }
    (run_folder / "audit.json").write_text(json.dumps(audit))
    line = {"stage": bad, "step": 0, "terms": {bad: 1.0}}
    (run_folder / "series.jsonl").write_text("".join(json.dumps(line | {"step": i}) + "\n" for i in range(3)))
    write_audit_page(audit, run_folder / "audit.html")
    for path in (write_report(run_folder), run_folder / "audit.html"):
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text
        assert text.count("&lt;script&gt;") > 5
        Page(text)


def test_numbers_that_are_missing_or_not_finite(run_folder: Path, audit_row: Callable[..., dict[str, Any]]) -> None:
    empty = dict.fromkeys(("bits", "low", "high", "share", "share_low", "share_high", "entropy", "p", "p_adjusted"))
    rows = [audit_row("z", None, "role", 0.0, "not decided", note="role not mapped", probe="") | empty]
    rows.append(audit_row("z", None, "x", float("nan"), "knows"))
    score = {"name": "mig", "value": None, "meaning": "m", "low": None, "high": None, "higher_is_better": False}
    gauges = {"a": None, "b": [], "c": True, "d": float("inf"), "e": {"value": [0.5, None], "meaning": "explained"}}
    audit = {"rows": rows, "scores": {"z": [score], "empty": []}, "gauges": {"z": gauges}}
    (run_folder / "audit.json").write_text(json.dumps(audit))
    lines = [
        {"stage": "fit", "step": i, "terms": {"a": v, "same": 2.0, "none": None}} for i, v in enumerate((1, None, 3))
    ]
    (run_folder / "series.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    page = read(write_report(run_folder))
    assert "nan" not in page.text.lower()
    assert "? undecided" in page.text
    assert "↓ lower is better" in page.text
    assert "explained" in page.text
    assert len([s for s in page.all("svg") if s.get("role") == "img"]) == 2


def test_the_table_has_headers_marks_and_declarations(tmp_path: Path, leak_audit: dict[str, Any]) -> None:
    page = read(write_audit_page(json.dumps(leak_audit), tmp_path / "audit.html"))
    scopes = [t.get("scope") for t in page.all("th")]
    assert scopes.count(None) == 0
    assert "✕ leaks" in page.text
    assert "✓ carries" in page.text
    assert "declared: should not know it" in page.text
    assert "at most 3 % could be there" in page.text
    cells = [str(c["title"]) for c in page.all("td") if "title" in c]
    assert any("scanner: 62" in c and "leaks" in c for c in cells)


def test_latents_in_use_have_a_section_where_an_audit_has_them(run_folder: Path) -> None:
    audit = json.loads((run_folder / "audit.json").read_text())
    assert "latents" not in read(write_report(run_folder)).sections  # audits of earlier versions
    said = {"active": [0, 2], "mixed": [], "passive": [1], "total_mean": 1.234, "total_sampled": 0.02}
    audit["latents"] = {"z": {**said, "kept_mean": None, "kept_sampled": None, "advice": "z: leave out <1>"}}
    (run_folder / "audit.json").write_text(json.dumps(audit))
    page = read(write_report(run_folder))
    assert page.sections.index("latents") == page.sections.index("gauges") + 1
    assert "#latents" in [a["href"] for a in page.all("a")]
    section = page.text[page.text.index("Latents in use") :]
    assert "z: leave out <1>." in section
    assert "1.23" in section


def test_an_audit_answers_on_the_first_screen(tmp_path: Path, leak_audit: dict[str, Any]) -> None:
    page = read(write_audit_page(leak_audit, tmp_path / "audit.html"))
    head = page.text[: page.text.index("Leakage table")]
    assert "What does embeddings.parquet still know?" in head
    assert "The codes still know scanner (62 %) and site (18 %), which they should not." in head
    assert "They are clean of sex." in head
    assert "It is not decided whether they know age." in head
    assert "unbraid audit embeddings.parquet" in page.text
    assert page.sections == ["leakage", "gauges", "reproduce", "notes"]


def test_several_parts_are_told_apart(tmp_path: Path, audit_row: Callable[..., dict[str, Any]]) -> None:
    rows = [
        audit_row("content", None, "phone", 0.8, "carries", declared="carries"),
        audit_row("content", None, "speaker", 0.12, "leaks", declared="free_of"),
        audit_row("timbre", None, "speaker", 0.9, "carries", declared="carries"),
    ]
    page = read(write_audit_page({"rows": rows}, tmp_path / "a.html"))
    assert (
        "“content” still knows speaker (12 %), which it should not. It carries phone (80 %), as it should." in page.text
    )
    assert "content: speaker" in page.text


def test_many_columns_and_rows_stay_readable(tmp_path: Path, audit_row: Callable[..., dict[str, Any]]) -> None:
    rows = [
        audit_row("z", c, f"f{i}", 0.9 if c == 99 else 0.1, "knows") for i in range(30) for c in (None, *range(100))
    ]
    text = write_audit_page({"rows": rows}, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "60 columns that know less are left out" in text
    assert "The 1000 largest of 3030 measurements" in text
    assert "z[99]" in text
    assert len(text) < 1_500_000


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run\.json"):
        write_report(tmp_path)


def test_a_broken_picture_is_left_out_and_a_huge_one_only_named(run_folder: Path) -> None:
    (run_folder / "pictures" / "broken.png").write_bytes(b"not a picture")
    with (run_folder / "pictures" / "swap.png").open("wb") as file:
        file.write((run_folder / "pictures" / "traverse.png").read_bytes() + bytes(9 * 2**20))
    page = read(write_report(run_folder))
    assert "swap.png is too large to be shown here" in page.text
    assert len(page.all("img")) == 3
