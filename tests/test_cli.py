"""The command line as a user meets it: the whole path, and thirty mistakes."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unbraid.cli import run

TINY = ["--preset", "tiny", "--set", "network=mlp"]


def unbraid(*words, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "unbraid", *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished run, an unfinished one, good files and broken ones."""
    here = tmp_path_factory.mktemp("place")
    done = unbraid("train", "beta-vae", "--data", "discs", *TINY, "--steps", 30, "--out", "run", cwd=here)
    assert done.returncode == 0, done.stderr
    (here / "stdout.txt").write_text(done.stdout)
    (here / "half").mkdir()
    (here / "half" / "run.json").write_text(
        json.dumps({"format": 1, "status": "training", "request": {"method": "ae", "data": "discs"}})
    )
    (here / "torn").mkdir()
    (here / "torn" / "run.json").write_text('{"format": 1, "sta')
    (here / "empty").mkdir()
    (here / "broken").mkdir()
    (here / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    rng = np.random.default_rng(0)
    np.savez(here / "codes.npz", code=rng.normal(size=(80, 6)).astype(np.float32))
    np.savez(here / "nan.npz", x=np.where(np.eye(80, 6) > 0, np.nan, 1.0).astype(np.float32))
    np.save(here / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (here / "factors.csv").write_text("site\n" + "\n".join("ab"[i % 2] for i in range(80)) + "\n")
    (here / "short.csv").write_text("site\na\nb\n")
    (here / "text.txt").write_text("hello")
    with zipfile.ZipFile(here / "zip.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    (here / "pictures").mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)).save(here / "pictures" / f"{i}.png")
    return here


MISTAKES = [
    "trian",
    "show beta-vea",
    "train nosuch",
    "train --data sprits",
    "train --data sprites:sise=32",
    "train --data sprites:size=33",
    "train --data sprites:colour=purple",
    "train --data missing/folder",
    "train --data empty",
    "train --data sprites --pattern {a}_{b}",
    "train vae --data pictures --pattern {a}_{b}",
    "train vae --data pictures --pattern {a}{b}",
    "train --data broken",
    "train --data nan.npz --out n",
    "train --data objects.npy",
    "train --data zip.npz",
    "train --data text.txt",
    "train ae --preset fast",
    "train ae --steps -3",
    "train ae --steps many",
    "train ae --set latents=zero",
    "train ae --set lattents=3",
    "train ae --set latents",
    "train ae --set optim.kind=adagrad",
    "train ae --set optim=adam",
    "train ae --seed x",
    "train ae --device tpu",
    "train ae --device mps",
    "train ae --track tensorbord",
    "train ae --track none,wandb",
    "train ae --precision fp8",
    "train ae --out run",
    "train ae --start half --out s",
    "train --resume empty",
    "train --resume nowhere",
    "train --resume torn",
    "train --resume run --seed 9",
    "train --resume run --steps 60",
    "train --resume run --compile",
    "train --resume run --pattern {a}",
    "train --resume run --out other",
    "train ada-gvae --data pictures --out p",
    "audit run --group nosuch",
    "audit codes.npz",
    "audit codes.npz --factors short.csv",
    "audit codes.npz --factors missing.csv",
    "audit codes.npz --factors factors.csv --part id=0-99",
    "audit codes.npz --factors factors.csv --free-of id=site",
    "audit codes.npz --factors factors.csv --free-of code=age",
    "audit codes.npz --factors factors.csv --metrics migg",
    "audit nowhere.npz --factors factors.csv",
    "audit half",
    "steer run fly",
    "steer run swap 0 1",
    "steer run swap --part latents[99] 0 1",
    "steer run traverse 99999",
    "steer run traverse --out picture.jpeg",
    "steer half traverse",
    "embed run digits:size=32 --out codes.npz",
    "embed run discs --out codes.xlsx",
    "verify nosuch",
    "verify",
    "verify ae --seeds a,b",
    "data show sprits",
    "data show codes.npz --pattern {a}",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_one_clear_message(mistake, place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    before = sorted(str(p) for p in place.rglob("*"))
    code = run(mistake.split())
    said = capfd.readouterr().err
    assert code == 2, said
    assert "Traceback" not in said
    assert 1 <= len([line for line in said.splitlines() if line.strip()]) <= 8, said
    assert sorted(str(p) for p in place.rglob("*")) == before, "something was left behind"


def test_a_mistake_in_a_process_of_its_own(place):
    done = unbraid("train", "beta-vea", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "did you mean 'beta-vae'?" in done.stderr


def test_debug_shows_the_traceback(place):
    done = unbraid("--debug", "train", "nosuch", cwd=place)
    assert "Traceback" in done.stderr


def test_training_leaves_everything_in_the_run_folder(place):
    names = {str(p.relative_to(place / "run")) for p in (place / "run").rglob("*")}
    wanted = {"run.json", "series.jsonl", "model.safetensors", "audit.json", "report.html", "pictures/traversals.png"}
    assert wanted <= names
    said = (place / "stdout.txt").read_text()
    assert "report.html" in said
    assert "brightness" in said
    assert json.loads((place / "run" / "run.json").read_text())["status"] == "done"


def test_resuming_a_finished_run_changes_nothing(place):
    before = (place / "run" / "model.safetensors").read_bytes()
    done = unbraid("train", "--resume", "run", cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "run" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_embed_then_audit_what_was_written(suffix, place, tmp_path):
    codes = tmp_path / f"codes.{suffix}"
    done = unbraid("embed", "run", "discs", "--out", codes, "--limit", 300, cwd=place)
    assert done.returncode == 0, done.stderr
    done = unbraid("audit", codes, "--out", tmp_path / "page", "--metrics", "mig", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "brightness" in done.stdout
    assert (tmp_path / "page" / "audit.html").stat().st_size > 5000
    assert (tmp_path / "page" / "audit.csv").read_text().startswith("part,")


def test_an_audit_of_plain_codes_with_declared_parts(place, tmp_path):
    rng = np.random.default_rng(1)
    site = np.arange(600) % 3
    x = rng.normal(size=(600, 6))
    x[:, 0] += 2 * site
    np.savez(tmp_path / "codes.npz", code=x.astype(np.float32))
    (tmp_path / "factors.csv").write_text("site\n" + "\n".join(f"s{v}" for v in site) + "\n")
    roles = "--part first=0-2 --part rest=3-5 --carries first=site --free-of rest=site --metrics none"
    done = unbraid("audit", "codes.npz", "--factors", "factors.csv", *roles.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "carries" in done.stdout
    assert "leaks" not in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        "traverse",
        "interpolate --part latents 0 5",
        "swap --part latents[1] 3 9",
        "replace --part latents[0] --value 0 --beyond 9 4",
    ],
)
def test_steering_writes_a_picture(words, place, tmp_path):
    done = unbraid("steer", "run", *words.split(), "--out", tmp_path / "picture.png", cwd=place)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 100


def test_own_images_of_any_size(place, tmp_path):
    options = [*TINY, "--size", "20", "--out", tmp_path / "own"]
    done = unbraid("train", "vae", "--data", "pictures", *options, cwd=place)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own" / "report.html").exists()
    assert not (tmp_path / "own" / "audit.json").exists()


@pytest.mark.parametrize(
    "words", ["list", "list --wing joint", "show qlae", "data list", "data show discs", "--help", "train --help"]
)
def test_what_only_prints(words, capfd):
    assert run(words.split()) == 0
    assert len(capfd.readouterr().out) > 100


def test_a_wing_is_listed_by_the_kind_of_objective(capfd):
    assert run(["list", "--wing", "joint"]) == 0
    blocks = [block.splitlines() for block in capfd.readouterr().out.strip().split("\n\n")]
    kinds = {lines[0]: {line.split()[0] for line in lines[1:]} for lines in blocks}
    assert {"simclr", "mocov2", "mocov3", "nnclr"} <= kinds["contrastive"]
    assert {"byol", "simsiam", "ressl", "dino", "ibot"} <= kinds["self-distillation"]
    assert {"barlow-twins", "vicreg"} <= kinds["redundancy reduction"]
    assert {"swav", "msn"} <= kinds["clustering"]
    assert {"mae", "simmim", "beit", "data2vec"} <= kinds["masked modelling"]
    assert run(["list", "--wing", "jont"]) != 0
    assert "did you mean 'joint'?" in capfd.readouterr().err


def test_start_from_the_weights_of_a_run(place, tmp_path):
    out = tmp_path / "second"
    options = ["--start", place / "run", "--no-audit", "--out", out]
    done = unbraid("train", "beta-vae", "--data", "discs", *TINY, "--steps", 5, *options, cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "run.json").read_text())["request"]["start"] == str(place / "run")


def test_real_data(real_data, tmp_path):
    done = unbraid("train", "beta-vae", "--data", "mnist", *TINY, "--out", "m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digit" in done.stdout
    assert Path(tmp_path / "m" / "report.html").exists()
