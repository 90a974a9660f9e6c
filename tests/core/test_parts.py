import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from profiles import cases

from unbraid.core.errors import ConfigError, ContractError
from unbraid.core.parts import Parts, PartSpec, check_parts


def made(seed=0, n=4):
    g = torch.Generator().manual_seed(seed)
    return Parts(content=torch.randn(n, 3, generator=g), latents=torch.randn(n, 5, generator=g))


names = st.lists(st.sampled_from(["content", "latents", "latents[0]", "latents[4]"]), unique=True, min_size=1)


@cases(50)
@given(names, st.integers(0, 99))
def test_two_swaps_are_the_identity(chosen, seed):
    a, b = made(seed), made(seed + 1)
    c, d = a.swap(b, *chosen)
    again = c.swap(d, *chosen)
    for part in a:
        assert torch.equal(again[0][part], a[part])
        assert torch.equal(again[1][part], b[part])


def test_a_column_can_be_replaced_and_the_rest_is_kept():
    a = made()
    b = a.replace({"latents[2]": torch.zeros(4)})
    assert torch.equal(b["latents[2]"], torch.zeros(4))
    assert torch.equal(b["latents"][:, 3], a["latents"][:, 3])
    assert not torch.equal(a["latents[2]"], torch.zeros(4))


@pytest.mark.parametrize("name", ["latent", "latents[5]", "content[9]", ""])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ConfigError, match="the name of a part"):
        made()[name]


def test_shapes_and_batches_must_fit():
    with pytest.raises(ContractError, match="same batch size"):
        Parts(a=torch.zeros(2, 1), b=torch.zeros(3, 1))
    with pytest.raises(ConfigError, match="shape"):
        made().replace(content=torch.zeros(4, 2))


def test_declared_parts_are_compared():
    specs = [PartSpec("content", "vec", (3,)), PartSpec("latents", "fam", (6,))]
    with pytest.raises(ContractError, match="part 'latents'"):
        check_parts(specs, made())
    with pytest.raises(ContractError, match="the declared parts"):
        check_parts(specs[:1], made())


@pytest.mark.parametrize("wrong", [{"name": "a b"}, {"shape": (2, 2)}, {"carries": ("x",), "free_of": ("x",)}])
def test_a_declaration_is_checked(wrong):
    with pytest.raises(ContractError):
        PartSpec(**{"name": "a", "kind": "vec", "shape": (2,), **wrong})
