"""Every command and every piece of Python in the guides runs as printed.

The blocks of a guide are run one after the other in a folder of their own, in which `runs/first` from `start.md` lies.
A comment before a block may make its training short (`with: OPTIONS`) or leave it out (`not run: REASON`); what is left
out must still be commands and options that exist.
"""

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from guides import GUIDES, ROOT, blocks

from unbraid import cli

FILES = [*(ROOT / "docs" / f"{name}.md" for name in GUIDES), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
BY_TEST = {"shell": ("cmp",)}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a reader who has made the first run."""
    folder = tmp_path_factory.mktemp("reader")
    with contextlib.chdir(folder):
        block = next(b for b in blocks(ROOT / "docs" / "start.md") if "runs/first" in b.text)
        command(block.commands[0], block)
    assert (folder / "runs" / "first" / "report.html").exists()
    return folder


@pytest.fixture
def reader(first, tmp_path, monkeypatch):
    shutil.copytree(first, tmp_path / "reader")
    monkeypatch.chdir(tmp_path / "reader")
    monkeypatch.delenv("UNBRAID_DATA", raising=False)
    return tmp_path / "reader"


def command(line, block):
    """Run a line of a guide; the output and the exit code."""
    words = shlex.split(line)
    if words[0] != "unbraid":
        assert words[0] in BY_TEST["shell"], f"{block.where}: only unbraid is run, not '{line}'; mark the block"
        return "", subprocess.run(words, check=False, timeout=30).returncode
    if words[1] == "train":
        words += shlex.split(block.options)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = cli.run(words[1:])
    return out.getvalue(), code


def run(block, names):
    if block.language == "python":
        exec(compile(block.text, block.where, "exec"), names)
    if block.language == "bash":
        for line in block.commands:
            if line.startswith("unbraid train --out runs/first"):
                continue  # run once, by the fixture
            said, code = command(line, block)
            assert code == 0, f"{block.where}: {line}\n{said}"
    if block.language == "console":
        for example in block.text.removeprefix("$ ").split("\n$ "):
            line, _, expected = example.strip().partition("\n")
            said, code = command(line, block)
            assert (" ".join(said.split()), code) == (" ".join(expected.split()), 2), f"{block.where}: {line}"


@pytest.mark.parametrize("name", GUIDES)
def test_guide(name, reader):
    names = {}
    for block in blocks(ROOT / "docs" / f"{name}.md"):
        if not block.left_out:
            run(block, names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_commands_exist(path):
    import typer

    app = typer.main.get_command(cli.app)
    for block in blocks(path):
        for line in block.commands if block.language == "bash" else ():
            if "unbraid " in line and line.split()[0] in ("unbraid", "torchrun"):
                words = shlex.split(line.partition("unbraid ")[2])
                with app.make_context("unbraid", list(words), resilient_parsing=True) as outer:
                    _, sub, rest = app.resolve_command(outer, words)
                    assert sub.make_context(sub.name, rest).params is not None


def test_readme_commands(reader):
    """Lines of the README that begin with `unbraid `, training cut short."""
    for block in blocks(ROOT / "README.md"):
        short = "" if block.left_out else "--data discs --preset tiny --steps 5 --no-audit"
        for line in block.commands if block.language == "bash" and not block.left_out else ():
            if line.startswith("unbraid ") and not line.startswith("unbraid verify"):
                said, code = command(f"{line} {short}" if line.startswith("unbraid train") else line, block)
                assert code == 0, f"{block.where}: {line}\n{said}"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "unbraid", "list"], capture_output=True, text=True, env=dict(os.environ), timeout=60
    )
    assert done.returncode == 0
    assert "beta-vae" in done.stdout


def test_every_guide_is_tested():
    others = {"index", "contributing", "changelog", "claims", "comparison"}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - others == set(GUIDES)
