"""A run folder as training and audit leave it: made numbers, but of the real layout."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FACTORS = {"shape": 1.58, "scale": 2.58, "orientation": 5.32, "x": 5.0, "y": 5.0}
TRACKED = {3: ("x", 0.84), 7: ("y", 0.81), 1: ("scale", 0.72), 5: ("shape", 0.46), 0: ("orientation", 0.11)}


def row(part: str, column: int | None, factor: str, share: float, verdict: str, **more: Any) -> dict[str, Any]:
    entropy = FACTORS.get(factor, 2.0)
    ends = {"share_low": share - 0.02, "share_high": share + 0.02}
    numbers = {"bits": share * entropy, "low": (share - 0.02) * entropy, "high": (share + 0.02) * entropy, **ends}
    facts = {"entropy": entropy, "samples": 5000, "p": 0.0002, "p_adjusted": 0.001, "declared": "", "note": ""}
    named = {"part": part, "column": column, "factor": factor, "probe": "mlp", "share": share, "verdict": verdict}
    return {**named, **numbers, **facts, **more}


def make_audit() -> dict[str, Any]:
    chance = random.Random(0)
    rows = []
    circular = "circular: it cannot be read beyond each shape's symmetry"
    for factor, whole in zip(FACTORS, (0.71, 0.93, 0.17, 0.97, 0.96), strict=True):
        note = circular if factor == "orientation" else ""
        rows.append(row("latents", None, factor, whole * 0.9, "knows", probe="linear", note=note))
        rows.append(row("latents", None, factor, whole, "knows", note=note))
        for column in range(10):
            told = TRACKED.get(column, ("", 0.0))
            share = told[1] if told[0] == factor else abs(chance.gauss(0, 0.012))
            verdict = "knows" if share > 0.02 else "no evidence"
            rows.append(row("latents", column, factor, share, verdict, note=note))
    scores = [
        (
            "mig",
            0.412,
            "How much more the best latent knows of a factor than the second best, as a share of what there is.",
            "Chen et al. (2018), arXiv:1802.04942",
        ),
        (
            "dci_disentanglement",
            0.703,
            "Whether each latent serves to predict one factor only.",
            "Eastwood and Williams (2018), ICLR",
        ),
        (
            "infom",
            0.781,
            "Whether each active latent knows one factor only; a ratio, to be read together with infoe.",
            "Hsu et al. (2023), arXiv:2305.18378",
        ),
        (
            "infoc",
            0.69,
            "Whether each factor is known to one active latent only.",
            "Hsu et al. (2023), arXiv:2305.18378",
        ),
        (
            "infoe",
            0.81,
            "Share of what there is to know of a factor that a linear model reads out.",
            "Hsu et al. (2023), arXiv:2305.18378",
        ),
        (
            "sap",
            None,
            "How much better the best latent alone predicts a factor than the second best.",
            "Kumar et al. (2018), arXiv:1711.00848",
        ),
    ]
    return {
        "rows": rows,
        "scores": {
            "latents": [
                {
                    "name": n,
                    "value": v,
                    "meaning": m,
                    "reference": r,
                    "low": 0.0,
                    "high": 1.0,
                    "higher_is_better": True,
                    "note": "skipped: too slow here" if v is None else "",
                    "per": None,
                }
                for n, v, m, r in scores
            ]
        },
        "gauges": {
            "latents": {
                "effective_rank": 6.27,
                "width": 10,
                "active_columns": 7,
                "dead_columns": [2, 4, 9],
                "values_used": [10, 10, 1, 10, 1, 9, 10, 10, 8, 1],
                "posterior_share": [0.31, 0.97, 0.01, 0.99, 0.0, 0.93, 0.44, 0.99, 0.52, 0.02],
                "mean_cosine": float("nan"),
            }
        },
        "notes": ["5,000 items were held out; nothing was tuned on them."],
        "meta": {"seed": 3},
    }


def make_series() -> list[dict[str, Any]]:
    chance = random.Random(1)
    lines: list[dict[str, Any]] = []
    for step in range(0, 3000, 15):
        fall = math.exp(-step / 300)
        terms = {
            "fit/reconstruction": 38 + 640 * fall + chance.gauss(0, 1.5),
            "fit/kl": 9 * (1 - fall) + chance.gauss(0, 0.2) if step != 450 else None,
            "fit/quantise": 0.02 + 0.4 * fall * chance.random(),
        }
        note = {"perplexity": 4 + 5 * (1 - fall) + chance.gauss(0, 0.1)}
        lines.append({"stage": "fit", "number": 0, "step": step, "terms": terms, "notes": note})
    return lines


def make_facts() -> dict[str, Any]:
    return {
        "format": 1,
        "status": "done",
        "method": "qlae",
        "title": "Disentanglement via Latent Quantization",
        "paper": "arXiv:2305.18378",
        "summary": "an autoencoder whose every latent takes one of a few learned values",
        "seed": 3,
        "precision": "fp32",
        "config": {"latents": 10, "values": 10, "optim": {"kind": "adamw", "lr": 0.001, "betas": [0.9, 0.99]}},
        "fields": {"x": {"shape": [1, 32, 32], "dtype": "float32", "unit": True, "classes": None}},
        "data": {"name": "sprites:size=32,colour=false,correlated=0", "hash": "3b9f0c5e77aa1d20", "items": 737280},
        "steps": 3000,
        "seconds": 52.4,
        "started": "2025-01-31 10:12:44",
        "device": "cpu",
        "threads": 2,
        "versions": {"unbraid": "0.1.0", "torch": "2.13.0", "numpy": "2.3.1", "python": "3.11.9"},
        "request": {"method": "qlae", "data": "sprites", "preset": "quick", "seed": 3, "set": {"latents": 10}},
    }


def make_picture(path: Path, described: str = "") -> None:
    info = PngInfo()
    if described:
        info.add_itxt("Description", described)
    Image.new("RGB", (600, 300), (20, 20, 20)).save(path, pnginfo=info)


def make_run(folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(make_facts()))
    (folder / "audit.json").write_text(json.dumps(make_audit()))
    (folder / "series.jsonl").write_text("".join(json.dumps(line) + "\n" for line in make_series()))
    make_picture(folder / "pictures" / "traverse.png", "Traverse: each row moves one code.")
    make_picture(folder / "pictures" / "reconstructions.png", "10 items of the data and what is decoded.")
    frames = [Image.new("L", (60, 60), level) for level in (0, 128, 255)]
    frames[0].save(folder / "pictures" / "traverse.gif", save_all=True, append_images=frames[1:], loop=0)
    return folder


def make_leak_audit() -> dict[str, Any]:
    """Plain codes of medical images: the case of a user who fears that the scanner is still in them."""
    free, carries = {"declared": "free_of"}, {"declared": "carries"}
    return {
        "rows": [
            row("codes", None, "scanner", 0.62, "leaks", **free),
            row("codes", None, "site", 0.181, "leaks", **free),
            row("codes", None, "sex", 0.004, "clean", bound=0.031, **free),
            row("codes", None, "diagnosis", 0.55, "carries", **carries),
            row("codes", None, "age", 0.09, "not decided", note="212 samples; 1,000 are enough"),
        ],
        "scores": {},
        "gauges": {"codes": {"effective_rank": 41.3}},
        "notes": ["Splits are by subject."],
        "meta": {
            "codes": "embeddings.parquet",
            "samples": 5230,
            "group": "subject",
            "seed": 0,
            "command": "unbraid audit embeddings.parquet --factors factors.csv --group subject --free-of scanner",
        },
    }


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "qlae-sprites-3")


@pytest.fixture
def leak_audit() -> dict[str, Any]:
    return make_leak_audit()


@pytest.fixture
def audit_row() -> Callable[..., dict[str, Any]]:
    return row
