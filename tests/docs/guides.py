"""Reads the fenced blocks of a Markdown file, and the comment before each that says how it is tested."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = (
    "start",
    "parts",
    "data",
    "audit",
    "scores",
    "steer",
    "networks",
    "barlow",
    "recommend",
    "voice",
    "eeg",
    "series",
    "study",
    "medical",
    "reproduce",
    "python",
)
_BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: "bash", "python", "console", ...
        text: What stands in it.
        note: The comment on the line before: "with: OPTIONS" adds options to its `unbraid train` lines, so that they
            take seconds; "not run: REASON" leaves it out; "" runs it as it stands.
        where: File and line, for messages.
    """

    language: str
    text: str
    note: str
    where: str

    @property
    def left_out(self) -> bool:
        return self.note.startswith("not run: ")

    @property
    def options(self) -> str:
        return self.note.removeprefix("with: ") if self.note.startswith("with: ") else ""

    @property
    def commands(self) -> list[str]:
        """Its lines, those continued by a backslash as one, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        where = f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}"
        note = match["note"] or ""
        if note and not note.startswith(("with: ", "not run: ")):
            note = ""
        found.append(Block(match["language"], match["text"], note, where))
    return found
