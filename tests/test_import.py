"""What `import unbraid` costs, opens and needs."""

import subprocess
import sys


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_it_opens_no_socket():
    python(
        "import socket\n"
        "def refuse(*a, **k): raise RuntimeError('socket')\n"
        "socket.socket.__init__ = refuse\n"
        "import unbraid; unbraid.Parts; unbraid.fit; unbraid.open_data; unbraid.Audit; unbraid.check_method"
    )


def test_it_works_without_the_optional_libraries():
    python(
        "import sys\n"
        "for name in ('pandas', 'pyarrow', 'matplotlib', 'torchvision', 'timm'): sys.modules[name] = None\n"
        "import unbraid; unbraid.Parts, unbraid.fit, unbraid.open_data, unbraid.Audit, unbraid.load\n"
        "unbraid.check_method"
    )


def test_heavy_libraries_wait_for_their_use():
    loaded = python(
        "import sys, unbraid; unbraid.Parts, unbraid.fit, unbraid.load, unbraid.open_data\n"
        "print([m for m in ('sklearn', 'scipy.stats', 'matplotlib.pyplot', 'pandas', 'rich') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"
