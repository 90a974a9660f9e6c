"""An audit of a part of 64 numbers against 10 factors, in a process of its own; nobody else does this."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.row import Row, Timed

SIZES = (2, 3, 5, 6, 8, 10, 10, 16, 20, 32)


def audit_row(name: str, memory: str, items: int, seconds: float | None, gigabytes: float | None) -> Row:
    """Seconds of an audit of so many items, and the most memory that its process held, in GB."""

    def ours() -> Timed:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.audit", str(items)]
        said = subprocess.check_output(command, text=True, cwd=Path(__file__).parents[1])
        found = json.loads(said)
        return Timed(found["bits"], found["seconds"], {memory: found["gigabytes"]})

    def check(bits: list[float], _peer: None) -> None:
        assert len(bits) == 2 * len(SIZES), f"{len(bits)} rows"
        assert min(bits) > 0.05, f"bits {bits}: every factor is there to be read"

    return Row(name, seconds, ours, None, check, {memory: gigabytes})


def main(items: int) -> None:
    """Audit once, and say what it took."""
    from unbraid.audit import audit
    from unbraid.data.factors import Factor, FactorTable

    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(size, size=items) for size in SIZES], 1)
    known = (values - values.mean(0)) / values.std(0)
    part = 0.3 * known @ rng.standard_normal((len(SIZES), 64)) + rng.standard_normal((items, 64))
    named = [Factor(f"factor{k}", "ordinal", tuple(map(str, range(size)))) for k, size in enumerate(SIZES)]
    table = FactorTable(named, values)
    start = time.perf_counter()
    found = audit({"part": part.astype(np.float32)}, table)
    seconds = time.perf_counter() - start
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # in KiB on Linux
    print(json.dumps({"bits": [row.bits for row in found.rows], "seconds": seconds, "gigabytes": held}))


ROWS = {
    "audit": partial(audit_row, "audit", "audit_memory", 100_000, 60, 2),
    "audit_10000": partial(audit_row, "audit_10000", "audit_memory_10000", 10_000, None, None),
}

if __name__ == "__main__":
    main(int(sys.argv[1]))
