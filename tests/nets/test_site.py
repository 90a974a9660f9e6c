"""Reading and replacing activations of every shape that a module may give."""

from __future__ import annotations

import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.nets.site import Site


@pytest.mark.parametrize(
    ("shape", "site", "expected"),
    [
        ((2, 6), Site("m", position=-1), (2, 1, 6)),
        ((2, 5, 6), Site("m"), (2, 5, 6)),
        ((2, 5, 6), Site("m", position=3, columns=(1, 4)), (2, 1, 3)),
        ((2, 6, 3, 4), Site("m"), (2, 12, 6)),
    ],
)
def test_what_is_put_is_what_is_got_and_the_rest_stays(
    shape: tuple[int, ...], site: Site, expected: tuple[int, ...]
) -> None:
    output = torch.randn(shape)
    assert site.get(output).shape == expected
    new = torch.randn(expected)
    changed = site.put(output, new)
    assert changed.shape == output.shape
    assert torch.equal(site.get(changed), new)
    assert torch.equal(site.put(changed, site.get(output)), output)
    assert torch.equal(site.put(output, site.get(output)), output)


def test_places_of_a_map_hold_its_channels() -> None:
    x = torch.randn(2, 6, 3, 4)
    assert torch.equal(Site("m").get(x)[:, 5], x[:, :, 1, 1])


def test_modules_with_several_outputs() -> None:
    output = (torch.zeros(1, 2, 3), "cache")
    changed = Site("m", position=0).put(output, torch.ones(1, 1, 3))
    assert changed[1] == "cache"
    assert changed[0].sum(2).tolist() == [[3.0, 0.0]]


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="a position of 5, got 7"):
        Site("m", position=7).get(torch.zeros(2, 5, 6))
    with pytest.raises(ConfigError, match="columns from 0 to 6, got 4 to 9"):
        Site("m", columns=(4, 9)).get(torch.zeros(2, 5, 6))
    with pytest.raises(ConfigError, match=r"m: expected a module that gives .* got \(3,\)"):
        Site("m").get(torch.zeros(3))
