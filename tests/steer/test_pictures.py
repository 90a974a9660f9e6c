from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid import steer
from unbraid.core.card import Card
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Field, Fields
from unbraid.core.method import Method, NoOptions
from unbraid.core.parts import Parts, PartSpec


class Blob(Method[NoOptions]):
    """Draws whatever shape its fields ask for."""

    card = Card("blob", "-", "-", 2024, "-")

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("latents", "fam", (3,)),)

    def decode(self, parts: Parts) -> torch.Tensor:
        shape = self.fields["x"].shape
        flat = torch.linspace(0.2, 1, int(np.prod(shape)))
        return (flat * parts["latents"][:, :1].sigmoid()).reshape(-1, *shape)


def make(*shape: int, unit: bool = True) -> tuple[Blob, Parts]:
    codes = Parts(latents=torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    return Blob(NoOptions(), Fields(x=Field(shape, unit=unit))), codes


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 300, 200), (2, 16, 16), (6, 40), (24,), (1,)])
def test_every_layout_becomes_a_picture(shape: tuple[int, ...], tmp_path: Path) -> None:
    method, codes = make(*shape, unit=len(shape) == 3)
    grid = steer.traverse(method, codes.rows(slice(1)), codes, steps=4)
    png = steer.write_png(tmp_path / "a.png", grid, {"latents[0]": "größe"})
    gif = steer.write_gif(tmp_path / "a.gif", grid)
    with Image.open(png) as picture:
        assert picture.mode == "RGB"
        assert min(picture.size) > 100
        assert "latents[0] (größe)" in picture.info["Description"]
    with Image.open(gif) as picture:
        assert picture.info["loop"] == 0
        assert picture.n_frames >= 2  # type: ignore[attr-defined]
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gif", "a.png"]


def test_pixels_stay_pixels() -> None:
    method, codes = make(1, 16, 16)
    grid = steer.traverse(method, codes.rows(slice(1)), codes, ["latents[0]"], steps=2)
    picture = np.asarray(steer.grid_image(grid))[:, :, 0]
    expected = (grid.arrays[0, 1, 0] * 255).round().astype(np.uint8)
    large = expected.repeat(9, 0).repeat(9, 1)
    last = picture[:, -20 - large.shape[1] : -20]
    assert any((last[y : y + len(large)] == large).all() for y in range(len(last) - len(large)))


def test_long_grids_say_what_they_leave_out() -> None:
    method, codes = make(1, 8, 8)
    grid = steer.traverse(method, codes.rows(slice(1)), codes, steps=3)
    short, full = steer.grid_image(grid, rows=1), steer.grid_image(grid)
    assert short.height < full.height


def test_every_channel_of_a_series_fills_the_height() -> None:
    x = torch.linspace(-1, 1, 30) * torch.tensor([1e-3, -50.0])[:, None] + torch.tensor([0.0, 7.0])[:, None]
    picture = np.asarray(steer.reconstruction_image(x[None], x[None], unit=False)).astype(int)
    upper = picture[: picture.shape[0] // 2]
    for colour in ((15, 92, 110), (190, 110, 30)):
        rows = np.flatnonzero((np.abs(upper - np.array(colour)).sum(-1) < 60).any(1))
        assert rows[-1] - rows[0] > 100


def test_channels_that_are_not_drawn_are_said() -> None:
    few, many = torch.randn(2, 4, 12), torch.randn(2, 9, 12)
    heights = [steer.reconstruction_image(x, x, unit=False).height for x in (few, many)]
    assert heights[0] < heights[1]


def test_volumes_have_arrays_but_no_picture(tmp_path: Path) -> None:
    method, codes = make(2, 3, 4, 5)
    grid = steer.traverse(method, codes.rows(slice(1)), codes, steps=3)
    with pytest.raises(ConfigError, match="images, series or vectors"):
        steer.write_png(tmp_path / "a.png", grid)
    assert not list(tmp_path.iterdir())


def test_arrays_come_back(tmp_path: Path) -> None:
    method, codes = make(1, 8, 8)
    grid = steer.traverse(method, codes.rows(slice(1)), codes, steps=3)
    with np.load(steer.write_npz(tmp_path / "a.npz", grid)) as stored:
        np.testing.assert_array_equal(stored["arrays"], grid.arrays)
        assert stored["labels"].tolist() == list(grid.labels)
        assert stored["part.latents"].shape == (9, 3)


def test_swap_and_interpolate_draw(tmp_path: Path) -> None:
    method, codes = make(3, 16, 16)
    a, b = codes.rows(slice(2)), codes.rows(slice(2, 4))
    for name, grid in {
        "swap": steer.swap(method, a, b, "latents"),
        "interpolate": steer.interpolate(method, a, b, "latents", steps=5),
        "replace": steer.replace(method, a, "latents[0]", 0.0, codes),
    }.items():
        assert steer.write_png(tmp_path / f"{name}.png", grid).stat().st_size > 0


def test_reconstructions_go_in_pairs_of_lines(tmp_path: Path) -> None:
    x = torch.rand(12, 1, 8, 8)
    one, two = (steer.reconstruction_image(x[:n], x[:n]) for n in (10, 12))
    assert two.width == one.width
    assert two.height > 1.8 * one.height
    with Image.open(steer.write_reconstructions(tmp_path / "r.png", x, x)) as picture:
        assert "12 items" in picture.info["Description"]
    with pytest.raises(ConfigError, match="as many reconstructions"):
        steer.reconstruction_image(x, x[:3])
    assert steer.reconstruction_image(torch.randn(3, 20), torch.randn(3, 20), unit=False).width > 800
