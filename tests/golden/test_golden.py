"""Every stored case against our functions.

A case is `NN-slug/NAME.npz` in `cases/`, or in the folder that `UNBRAID_GOLDEN` names. The module `sNN_*.py` whose
`SLUG` is the folder's name checks it: `check(name, arrays)` asserts what is built and returns the names of the arrays
that it compared. It may list the arrays that only go in as `INPUTS`, and it may call `pytest.skip`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("UNBRAID_GOLDEN") or HERE / "cases")


def load(path: Path) -> ModuleType:
    name = f"unbraid_golden_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


MODULES = {module.SLUG: module for module in map(load, sorted(HERE.glob("s[0-9][0-9]_*.py")))}
CASES = sorted(FOLDER.glob("*/*.npz"))
BUILT = [path for path in CASES if path.parent.name in MODULES]
MISSING = sorted({path.parent.name for path in CASES} - set(MODULES))


@pytest.mark.parametrize("path", BUILT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path, record_property: Callable[[str, object], None]) -> None:
    module = MODULES[path.parent.name]
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    compared = set(module.check(path.stem, arrays))
    assert compared <= set(arrays), f"not in the case: {sorted(compared - set(arrays))}"
    left = sorted(set(arrays) - compared - set(getattr(module, "INPUTS", ())))
    record_property("golden_compared", len(compared))
    record_property("golden_left", left)
    if not compared:
        pytest.skip("not built yet: nothing in this case")


@pytest.mark.parametrize("slug", MISSING)
def test_folder_without_module(slug: str, record_property: Callable[[str, object], None]) -> None:
    cases = sum(path.parent.name == slug for path in CASES)
    record_property("golden_absent", cases)
    pytest.skip(f"not built yet: {cases} case(s)")
