import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

import profiles

os.environ.setdefault("OMP_NUM_THREADS", "1")

if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share their master's
    os.environ["UNBRAID_CACHE"] = tempfile.mkdtemp(prefix="unbraid-cache-")
    atexit.register(shutil.rmtree, os.environ["UNBRAID_CACHE"], ignore_errors=True)

profiles.register()
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets, or a visible skip."""
    folder = os.environ.get("UNBRAID_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("UNBRAID_DATA is not set")
    return Path(folder)
