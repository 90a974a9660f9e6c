"""Run rows and write them down, in the environment of `install_peers.sh`."""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from benchmarks.row import Figure, Row, measure

COLUMNS = ("name", "ours_s", "peer_s", "ratio", "goal", "threads", "device", "commit", "date")
HERE = Path(__file__).parent
GROUPS = (
    "scores",
    "data",
    "training",
    "audit",
    "graph",
    "views",
    "matching",
    "statevector",
    "inside",
    "joint",
    "local",
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> None:
    """Parse, measure, write."""
    options = _options()
    os.environ |= {name: str(options.threads) for name in _THREADS}  # read when numpy, torch and numba are imported
    warnings.simplefilter("ignore")
    rows = _rows()
    names = list(rows) if options.all else options.names
    if unknown := set(names) - set(rows):
        sys.exit(f"no row named {', '.join(sorted(unknown))}; there are: {', '.join(rows)}")
    for name in names:
        for figure in measure(rows[name](), options.repeats):
            line = _line(figure, options.threads)
            write(options.out / f"{figure.name}.csv", line)
            print("  ".join(f"{column} {value}" for column, value in line.items() if value), flush=True)


def write(path: Path, line: Mapping[str, str]) -> None:
    """Put a line into a results file, in the place of the one for the same name, device and threads."""
    key = ("name", "device", "threads")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            lines = [old for old in csv.DictReader(stream) if any(old[k] != line[k] for k in key)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*lines, line])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", help="rows; see benchmarks/README.md")
    parser.add_argument("--all", action="store_true", help="every row")
    parser.add_argument("--repeats", type=int, default=5, help="alternating runs whose median is taken")
    parser.add_argument("--threads", type=int, default=1, help="of both sides")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    options = parser.parse_args()
    if not options.all and not options.names:
        parser.error("name some rows, or --all")
    return options


def _rows() -> dict[str, Callable[[], Row]]:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return {name: make for group in GROUPS for name, make in import_module(f"benchmarks.{group}").ROWS.items()}


def _line(figure: Figure, threads: int) -> dict[str, str]:
    peer = figure.peer
    return {
        "name": figure.name,
        "ours_s": f"{figure.ours:.6g}",
        "peer_s": "" if peer is None else f"{peer:.6g}",
        "ratio": "" if peer is None else f"{peer / figure.ours:.2f}",
        "goal": "" if figure.goal is None else f"{figure.goal:g}",
        "threads": str(threads),
        "device": "cpu",
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
    }


def _commit() -> str:
    """The short hash, with a plus where the code has changed since."""
    git = ("git", "-C", str(HERE.parent))
    commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
    changed = subprocess.check_output([*git, "status", "--porcelain", "--", "src", "benchmarks/*.py"], text=True)
    return commit + ("+" if changed else "")


if __name__ == "__main__":
    main()
