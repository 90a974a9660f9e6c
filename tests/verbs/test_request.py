"""Which device a name means, and what a device without float64 and generators of its own needs."""

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.training.fit import own_chance
from unbraid.training.world import processes
from unbraid.verbs.request import Request, config_of, device_for, reproduce


def has(monkeypatch, *, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_first_that_is_here(cuda, mps, chosen, monkeypatch):
    has(monkeypatch, cuda=cuda, mps=mps)
    assert device_for("auto") == torch.device(chosen)


def test_a_name_is_taken_at_its_word(monkeypatch):
    has(monkeypatch, cuda=True, mps=True)
    assert [str(device_for(name)) for name in ("mps", "cuda:1", "cpu")] == ["mps", "cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("mps", "a device that is here"), ("cuda:0", "a device that is here"), ("tpu", "auto, cuda, mps")],
)
def test_a_device_that_is_not_here(name, said, monkeypatch):
    has(monkeypatch, cuda=False, mps=False)
    with pytest.raises(ConfigError, match=said):
        device_for(name)


def test_the_generator_of_mps_is_given_back(monkeypatch):
    states = [torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda device: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state, device: states.append(state))
    with own_chance(torch.device("mps")):
        states.append(torch.tensor([9], dtype=torch.uint8))
    assert [int(s) for s in states] == [7, 9, 7]


def test_mps_is_for_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"), processes(torch.device("mps")):
        pass


def test_only_what_changes_bits_is_in_the_command():
    assert reproduce(Request("ae", track=["wandb"], compile=True)).endswith("--seed 0 --compile")


def test_a_list_whose_values_hold_commas_comes_back():
    import shlex

    words = shlex.split(reproduce(Request("medical-benchmark", set={"options": ["projector=64,32", "batch=16"]})))
    name, _, text = words[-1].partition("=")
    asked = Request("medical-benchmark", preset="paper", set={name: text})
    assert config_of(asked).options == ("projector=64,32", "batch=16")
