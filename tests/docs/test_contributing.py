"""The method that CONTRIBUTING.md writes is a method: its code, its tests and its golden map run as printed."""

import dataclasses
import importlib.util
import sys

import numpy as np
import pytest
from guides import ROOT, blocks

from unbraid.core import catalog as known

NAME = "unbraid.methods.latent.cvae"
METHOD, TEST, GOLDEN, CLAIM = (block for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "python")


def load(name, block, folder):
    path = folder / f"{name.rpartition('.')[2]}.py"
    path.write_text(block.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    assert NAME not in sys.modules
    yield load(NAME, METHOD, tmp_path_factory.mktemp("cvae"))
    del sys.modules[NAME]


def test_the_method_passes_its_tests(method, tmp_path):
    tests = load("cvae_test_as_printed", TEST, tmp_path)
    del sys.modules["cvae_test_as_printed"]
    found = [value for name, value in vars(tests).items() if name.startswith("test_")]
    assert len(found) == 2
    for test in found:
        test()


def test_the_page_of_the_method_can_be_made(method):
    from unbraid.describe import describe

    entry = known.Entry("cvae", f"{NAME}:ConditionalVAE", {}, "", 2014)
    assert "latents = 50  (memory)" in describe(entry)


def test_the_golden_map_compares(tmp_path):
    golden = load("golden_as_printed", GOLDEN, tmp_path)
    del sys.modules["golden_as_printed"]
    draw = np.random.default_rng(0).normal
    x, logits = draw(size=(3, 5)) > 0, draw(size=(3, 5))
    mu, logvar = draw(size=(3, 2)), draw(size=(3, 2))
    p = 1 / (1 + np.exp(-logits))
    arrays = {"x": x.astype(float), "logits": logits, "mu": mu, "logvar": logvar}
    arrays["reconstruction"] = -np.where(x, np.log(p), np.log(1 - p)).sum(1)
    arrays["kl"] = (0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)).sum(1)
    assert golden.check("terms", arrays) == {"reconstruction", "kl"}
    arrays["kl"] = arrays["kl"] + 1
    with pytest.raises(AssertionError, match="kl"):
        golden.check("terms", arrays)


def test_the_claim_can_be_run(method, tmp_path, monkeypatch):
    from unbraid.claims.run import run

    entry = known.Entry("cvae", f"{NAME}:ConditionalVAE", {}, "", 2014)
    monkeypatch.setattr(known, "catalog", lambda: {"cvae": entry})
    claim = load("claim_as_printed", CLAIM, tmp_path).CLAIM
    del sys.modules["claim_as_printed"]
    short = dataclasses.replace(claim, settings={**claim.settings, "steps": 5})
    [row] = run([("cvae", short)], seeds=[1])
    assert 0 < row.baseline < 1
    assert row.verdict == "not decided"  # one seed has no interval
