"""One line at the end of a run: how much of the golden cases is compared."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [r for kind in ("passed", "failed", "skipped") for r in terminalreporter.stats.get(kind, [])]
    kept = [dict(r.user_properties) for r in reports if r.when == "call"]
    seen = [p for p in kept if "golden_compared" in p]
    absent = [p["golden_absent"] for p in kept if "golden_absent" in p]
    if not seen and not absent:
        return
    compared = sum(p["golden_compared"] for p in seen)
    left = sum(len(p["golden_left"]) for p in seen)
    built = sum(p["golden_compared"] > 0 for p in seen)
    terminalreporter.write_line(
        f"golden: {compared} arrays compared in {built} of {len(seen)} cases, {left} arrays not compared; "
        f"{sum(absent)} cases in {len(absent)} folders not built yet"
    )
