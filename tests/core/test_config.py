from dataclasses import dataclass
from typing import Literal

import pytest

from unbraid.core.config import from_json, override, to_json
from unbraid.core.errors import ConfigError
from unbraid.core.method import Clip, Group, Optim


@dataclass(frozen=True)
class Config:
    latents: int = 10
    beta: float = 4.0
    kind: Literal["a", "b"] = "a"
    on: bool = True
    limit: float | None = None
    widths: tuple[int, ...] = (8, 8)
    optim: Optim = Optim("adamw", clip=Clip("value", 1.0), groups=(Group("bias", weight_decay=0.0),))


def test_json_and_back():
    import json

    assert from_json(Config, json.loads(json.dumps(to_json(Config(limit=2.0))))) == Config(limit=2.0)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("latents", "1e1", 10),
        ("beta", "6", 6.0),
        ("kind", "b", "b"),
        ("on", "no", False),
        ("limit", "none", None),
        ("limit", "0.5", 0.5),
        ("widths", "16", (16,)),
    ],
)
def test_texts_become_values(key, text, value):
    assert getattr(override(Config(), {key: text}), key) == value


def test_dotted_names():
    changed = override(Config(), {"optim.lr": "1e-4", "optim.clip.limit": "2", "optim.betas": "0,0.9"})
    assert (changed.optim.lr, changed.optim.clip.limit, changed.optim.betas) == (1e-4, 2.0, (0.0, 0.9))
    assert changed.optim.groups == Config().optim.groups


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("latent", "3", "did you mean 'latents'"),
        ("latents", "2.5", "a whole number"),
        ("latents", "nan", "a whole number"),
        ("beta", "high", "a number"),
        ("kind", "c", "one of a, b"),
        ("on", "perhaps", "true or false"),
        ("optim", "adam", "its options one by one"),
        ("optim.kind", "lion", "one of adam, adamw, sgd"),
        ("beta.x", "1", "'beta' alone"),
        ("widths", "a,b", "a whole number"),
        ("optim.betas", "0.5", "two values"),
    ],
)
def test_a_wrong_value_is_named(key, text, said):
    with pytest.raises(ConfigError, match=said):
        override(Config(), {key: text})


def test_values_with_commas_come_as_a_list_in_json():
    @dataclass(frozen=True)
    class Named:
        names: tuple[str, ...] = ()
        widths: tuple[int, ...] = ()

    changed = override(Named(), {"names": '["a=1,2", "b"]', "widths": "[16, 32]"})
    assert changed == Named(("a=1,2", "b"), (16, 32))
    assert override(Named(), {"names": "a, b", "widths": "(8)"}) == Named(("a", "b"), (8,))
