"""Grids as pictures (PNG), animations (GIF) and arrays (npz), each file complete or absent.

Drawn at twice the size they are meant to be seen at, on white, so that they go into a paper as they are. Images are
enlarged by whole factors where they are small, so that pixels stay pixels; vectors and series are drawn as lines.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unbraid.core.errors import ConfigError
from unbraid.steer.edit import Grid
from unbraid.training.files import write_with

if TYPE_CHECKING:
    from PIL.Image import Image

# All lengths in pixels of the file, which is meant to be seen at half size.
SIDE = 144
_LARGEST = 256
_GUTTER = 6
_MARGIN = 20
_TEXT, _SMALL = 26, 22
_DPI = (288, 288)  # a cell is half an inch wide in print
_INK, _MUTED, _PALE, _FRAME = (29, 31, 35), (104, 108, 116), (226, 226, 222), (198, 74, 28)
_LINES = ((15, 92, 110), (190, 110, 30), (110, 70, 150), (60, 120, 60))


@dataclass(frozen=True)
class _Cells:
    """What a sheet is laid out from; a cell that is None stays empty."""

    cells: Sequence[Sequence[Image | None]]
    labels: Sequence[tuple[str, str]]  # of each row, in two lines; either may be empty
    heads: Sequence[str]
    framed: Sequence[int]
    foot: str = ""


# ------------------------------------------------------------------------------------------------------- the verbs


def write_png(path: Path, grid: Grid, tracks: Mapping[str, str] | None = None, *, rows: int = 16) -> Path:
    """Write a grid as a PNG that carries its own description (see `grid_image`)."""
    described = _description(grid, tracks or {})
    _save_png(path, grid_image(grid, tracks, rows=rows), described)
    return path


def grid_image(grid: Grid, tracks: Mapping[str, str] | None = None, *, rows: int = 16) -> Image:
    """A grid as one labelled picture.

    Args:
        grid: What `traverse`, `interpolate`, `swap` or `replace` made.
        tracks: Column -> the factor it is known to track; shown beside its name.
        rows: Most rows that are drawn.

    Raises:
        ConfigError: Observations that are neither images, series nor vectors.
    """
    more = len(grid.labels) - rows
    grid = grid.top(rows)
    draw = _Painter(grid.arrays, grid.unit)
    shown = grid.shown
    cells = [
        [draw(x, row[0]) if there else None for x, there in zip(row, row_shown, strict=True)]
        for row, row_shown in zip(grid.arrays, shown, strict=True)
    ]
    notes = ["Framed: the step nearest to the item itself."] if max(grid.own, default=-1) >= 0 else []
    notes += [f"From one item to another in {grid.labels[0]}."] if grid.kind == "interpolate" else []
    notes += [f"{more} more rows, which change less, are left out."] if more > 0 else []
    notes += draw.left_out
    return _sheet(_Cells(cells, _labels(grid, tracks or {}), grid.heads, grid.own, " ".join(notes)))


def write_gif(
    path: Path, grid: Grid, tracks: Mapping[str, str] | None = None, *, rows: int = 16, seconds: float = 2.5
) -> Path:
    """Write a traverse or interpolation as an animation, there and back for ever, every row a tile.

    Args:
        path: The file.
        grid: What to animate; some 16 steps look smooth.
        tracks: Column -> the factor it is known to track.
        rows: Most tiles.
        seconds: Time from one end to the other.
    """
    frames = _frames(grid.top(rows), tracks or {})
    there_and_back = [*frames, *frames[-2:0:-1]]
    palette = _palette(frames)
    indexed = [_indexed(frame, palette) for frame in there_and_back]
    each = max(20, round(1000 * seconds / max(1, len(frames) - 1)))
    extra = {
        "duration": each,
        "loop": 0,
        "optimize": False,
        "comment": f"In motion. {_description(grid, tracks or {})}".encode(),
    }

    def write(temporary: Path) -> None:
        indexed[0].save(temporary, "GIF", save_all=True, append_images=indexed[1:], **extra)

    write_with(path, write)
    return path


def write_npz(path: Path, grid: Grid) -> Path:
    """Write the arrays of a grid: arrays, values, changed, items, labels, heads, and `part.<name>` for the codes."""
    arrays: dict[str, Any] = {"arrays": grid.arrays, "values": grid.values, "changed": grid.changed}
    arrays |= {"items": np.array(grid.items), "labels": np.array(grid.labels), "heads": np.array(grid.heads)}
    arrays |= {f"part.{name}": t.detach().cpu().numpy() for name, t in grid.parts.items()}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_with(path, write)
    return path


def write_images(path: Path, images: Float[Tensor, "n c h w"], labels: Sequence[str] = (), across: int = 8) -> Path:
    """Write images in [0, 1] side by side, `across` in a line, each line named after its first label."""
    arrays = images.detach().float().cpu().numpy()
    draw = _Painter(arrays[None], True)
    painted = [draw(item, None) for item in arrays]
    cells = [[*painted[i : i + across]] for i in range(0, len(painted), across)]
    one = len(cells) == 1
    heads = list(labels) if one else []
    named = [(labels[i * across] if labels and not one else "", "") for i in range(len(cells))]
    _save_png(
        path, _sheet(_Cells(cells, named, heads, [-1] * len(cells))), f"{len(images)} images. {', '.join(labels)}"
    )
    return path


def write_reconstructions(
    path: Path, x: Float[Tensor, "n *item"], decoded: Float[Tensor, "n *item"], *, unit: bool = True
) -> Path:
    """Write what the data look like beside what is decoded from their codes (see `reconstruction_image`)."""
    described = f"{len(x)} items of the data (upper rows) and what is decoded from their codes (lower rows)."
    _save_png(path, reconstruction_image(x, decoded, unit=unit), described)
    return path


def reconstruction_image(
    x: Float[Tensor, "n *item"], decoded: Float[Tensor, "n *item"], *, unit: bool = True, across: int = 10
) -> Image:
    """Originals above, reconstructions below.

    Args:
        x: Observations.
        decoded: What the method makes of their codes.
        unit: Whether values lie in [0, 1].
        across: Items in a line; more go into further pairs of lines.
    """
    if x.shape != decoded.shape or not len(x):
        raise ConfigError("as many reconstructions as items", got=f"{tuple(decoded.shape)} for {tuple(x.shape)}")
    both = np.stack([t.detach().float().cpu().numpy() for t in (x, decoded)])
    draw = _Painter(both, unit)
    cells: list[list[Image | None]] = []
    for first in range(0, len(x), across):
        upper, lower = both[:, first : first + across]
        cells.append([draw(item, None) for item in upper])
        cells.append([draw(item, original) for item, original in zip(lower, upper, strict=True)])
    labels = [("data", ""), ("decoded", "")] * (len(cells) // 2)
    return _sheet(_Cells(cells, labels, (), [-1] * len(cells), " ".join(draw.left_out)))


# ----------------------------------------------------------------------------------------------------------- words


def _labels(grid: Grid, tracks: Mapping[str, str]) -> list[tuple[str, str]]:
    """What each row is, in two lines: the factor that the code tracks, or its name; then its name and the item."""
    several = len(set(grid.items)) > 1
    if several and len(set(grid.labels)) == 1 and grid.kind != "traverse":
        return [(f"item {item + 1}", "") for item in grid.items]
    labels, before = [], ""
    for name, item in zip(grid.labels, grid.items, strict=True):
        tracked, which = tracks.get(name, ""), f"item {item + 1}" if several else ""
        second = ", ".join(text for text in (name if tracked else "", which) if text)
        labels.append((tracked or name, second) if name != before else ("", which))
        before = name
    return labels


def _description(grid: Grid, tracks: Mapping[str, str]) -> str:
    """One sentence for those who cannot see the picture."""
    names = list(dict.fromkeys(grid.labels))
    named = ", ".join(f"{n} ({tracks[n]})" if tracks.get(n) else n for n in names[:12])
    named += f" and {len(names) - 12} more" if len(names) > 12 else ""
    said = {
        "traverse": f"Traverse: each row moves one code from its low to its high end, all else kept; {named}.",
        "interpolate": f"Interpolation: each row goes from one item to another in {named}, all else kept.",
        "swap": f"Swap: two items, then each with the other's {named}.",
        "replace": f"Replacement: items before and after {named} is set.",
    }
    return said[grid.kind]


# ----------------------------------------------------------------------------------------------------------- cells


class _Painter:
    """Draws one observation; all cells of a picture share its scale.

    Args:
        arrays: All observations of the picture, rows and steps in front.
        unit: Whether values lie in [0, 1].
    """

    def __init__(self, arrays: np.ndarray, unit: bool) -> None:
        # Two dimensions stand in front: rows and steps.
        self.shape = arrays.shape[2:]
        image, series = len(self.shape) == 3, len(self.shape) == 2
        self.low, self.high = np.float64(0), np.float64(1)
        if not (unit and image):  # the channels of a series are measured in units of their own
            axes = (0, 1, 3) if series else None
            known = np.where(np.isfinite(arrays), arrays, np.nan)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of a channel without a finite value
                low, high = (np.nan_to_num(f(known, axis=axes)) for f in (np.nanmin, np.nanmax))
            shape = (-1, 1) if series else ()
            self.low, self.high = low.reshape(shape), np.where(high > low, high, low + 1).reshape(shape)
        if len(self.shape) not in (1, 2, 3):
            fix = "the arrays are in the npz file"
            raise ConfigError("images, series or vectors", got=f"items of shape {self.shape}", fix=fix)

    @property
    def left_out(self) -> list[str]:
        """A sentence on the channels that are not drawn, if there are any."""
        more = len(self.shape) == 2 and self.shape[0] > len(_LINES)
        return [f"The first {len(_LINES)} of {self.shape[0]} channels."] if more else []

    def __call__(self, x: Float[np.ndarray, "*item"], reference: Float[np.ndarray, "*item"] | None) -> Image:
        scaled = (np.nan_to_num(x) - self.low) / (self.high - self.low)
        if len(self.shape) == 3:
            return _image(scaled)
        other = None if reference is None else (np.nan_to_num(reference) - self.low) / (self.high - self.low)
        return _line_plot(np.atleast_2d(scaled), None if other is None else np.atleast_2d(other))


def _image(x: Float[np.ndarray, "c h w"]) -> Image:
    from PIL import Image

    levels = (x.clip(0, 1) * 255).round().astype(np.uint8)
    if len(levels) < 3:
        levels = levels.mean(axis=0, keepdims=True).astype(np.uint8).repeat(3, axis=0)
    picture = Image.fromarray(np.ascontiguousarray(levels[:3].transpose(1, 2, 0)))
    longest = max(picture.size)
    if longest <= SIDE:
        factor = max(1, round(SIDE / longest))
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    return picture


def _line_plot(x: Float[np.ndarray, "c t"], reference: Float[np.ndarray, "c t"] | None) -> Image:
    """Lines on a light ground, the reference pale behind them; drawn large and shrunk, which smooths them."""
    from PIL import Image, ImageDraw

    width, height, over, pad = 2 * SIDE, SIDE, 3, 24
    picture = Image.new("RGB", (width * over, height * over), (248, 248, 246))
    pen = ImageDraw.Draw(picture)

    def line(values: np.ndarray, colour: tuple[int, int, int], thick: int) -> None:
        across = np.linspace(pad, width * over - pad, max(2, len(values)))
        down = pad + (1 - np.resize(values, len(across)).clip(-0.05, 1.05)) * (height * over - 2 * pad)
        pen.line([(float(a), float(d)) for a, d in zip(across, down, strict=True)], fill=colour, width=thick)

    for values in () if reference is None else reference[: len(_LINES)]:
        line(values, (205, 204, 198), 5)
    for values, colour in zip(x, _LINES, strict=False):
        line(values, colour, 7)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


# ---------------------------------------------------------------------------------------------------------- layout


def _sheet(plan: _Cells) -> Image:
    from PIL import Image, ImageDraw

    width, height = _cell_size(plan.cells)
    across = max(len(row) for row in plan.cells)
    left = _MARGIN + _label_width(plan.labels)
    # A single-word head such as "low" may stand over one cell; sentences wrap within it.
    heads = [_wrap(head, width + _GUTTER) for head in plan.heads]
    top = _MARGIN + max((len(lines) for lines in heads), default=0) * (_SMALL + 6) + (8 if any(plan.heads) else 0)
    foot = _MARGIN + (_SMALL + 14 if plan.foot else 0)
    inner = max(across * (width + _GUTTER) - _GUTTER, _measure(plan.foot, _SMALL) + _MARGIN - left)
    size = (left + inner + _MARGIN, top + len(plan.cells) * (height + _GUTTER) - _GUTTER + foot)
    sheet = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    _draw_heads(pen, plan, heads, left, top, width)
    for r, row in enumerate(plan.cells):
        y = top + r * (height + _GUTTER)
        _draw_label(pen, plan.labels[r], y + height // 2)
        for s, cell in enumerate(row):
            if cell is not None:
                sheet.paste(cell, (left + s * (width + _GUTTER), y))
        if plan.framed[r] >= 0:
            x = left + plan.framed[r] * (width + _GUTTER)
            box = (x - _GUTTER // 2 - 1, y - _GUTTER // 2 - 1, x + width + _GUTTER // 2, y + height + _GUTTER // 2)
            pen.rectangle(box, outline=_FRAME, width=4)
    if plan.foot:
        pen.text((_MARGIN, size[1] - _MARGIN - _SMALL), plan.foot, fill=_MUTED, font=_font(_SMALL, plan.foot))
    return sheet


def _draw_heads(pen: Any, plan: _Cells, heads: list[list[str]], left: int, top: int, width: int) -> None:
    for s, lines in enumerate(heads):
        x, anchor = left + s * (width + _GUTTER), "ls"
        if plan.heads[s] == "high" and s:  # the ends of an axis stand at its ends
            x, anchor = x + width, "rs"
        for i, line in enumerate(reversed(lines)):
            y = top - 12 - i * (_SMALL + 6)
            pen.text((x, y), line, fill=_MUTED, font=_font(_SMALL, line), anchor=anchor)
    if len(heads) > 2 and not any(plan.heads[1:-1]):
        a = left + _measure(plan.heads[0], _SMALL) + 14
        b = left + len(heads) * (width + _GUTTER) - _GUTTER - _measure(plan.heads[-1], _SMALL) - 14
        pen.line([(a, top - 18), (b, top - 18)], fill=_PALE, width=2)


def _draw_label(pen: Any, label: tuple[str, str], middle: int) -> None:
    first, second = label
    if first and second:
        pen.text((_MARGIN, middle - 5), first, fill=_INK, font=_font(_TEXT, first), anchor="ls")
        pen.text((_MARGIN, middle + 5), second, fill=_MUTED, font=_font(_SMALL, second), anchor="lt")
    elif text := first or second:
        colour = _INK if first else _MUTED
        pen.text((_MARGIN, middle), text, fill=colour, font=_font(_SMALL, text), anchor="lm")


def _frames(grid: Grid, tracks: Mapping[str, str]) -> list[Image]:
    """One sheet per step, every row a tile under its name; rows with fewer steps keep pace with the others."""
    from PIL import Image, ImageDraw

    draw = _Painter(grid.arrays, grid.unit)
    counts, steps = grid.shown.sum(1), grid.arrays.shape[1]
    tiles = [[draw(x, row[0]) for x in row[:n]] for row, n in zip(grid.arrays, counts, strict=True)]
    names = [(tracks.get(name, "") or name, name if tracks.get(name) else "") for name in grid.labels]
    width, height = _cell_size(tiles)
    slot = max(width, *(max(_measure(a, _TEXT), _measure(b, _SMALL)) for a, b in names)) + 4 * _GUTTER
    high = height + 2 * _TEXT + 5 * _GUTTER
    across = min(len(tiles), 5)
    size = (across * slot + 2 * _MARGIN, -(-len(tiles) // across) * high + 2 * _MARGIN)
    frames = []
    for step in range(steps):
        frame = Image.new("RGB", size, (255, 255, 255))
        pen = ImageDraw.Draw(frame)
        for i, row in enumerate(tiles):
            x, y = _MARGIN + i % across * slot, _MARGIN + i // across * high
            at = round(step / max(1, steps - 1) * (len(row) - 1))
            frame.paste(row[at], (x + (slot - width) // 2, y))
            for line, (text, colour, font) in enumerate(zip(names[i], (_INK, _MUTED), (_TEXT, _SMALL), strict=True)):
                where = (x + slot // 2, y + height + 10 + line * (_TEXT + 4))
                pen.text(where, text, fill=colour, font=_font(font, text), anchor="mt")
        frames.append(frame)
    return frames


def _palette(frames: Sequence[Image]) -> Image:
    """One palette for all frames, so that colours do not flicker; its last colour is white."""
    from PIL import Image

    width, height = frames[0].size
    few = frames[:: max(1, len(frames) // 4)]
    strip = Image.new("RGB", (width, height * len(few)))
    for i, frame in enumerate(few):
        strip.paste(frame, (0, i * height))
    palette = strip.quantize(255, dither=Image.Dither.NONE)
    palette.putpalette([*(palette.getpalette() or [])[: 3 * 255], 255, 255, 255])
    return palette


def _indexed(frame: Image, palette: Image) -> Image:
    """The frame in the palette's colours; quantising rounds, but the ground must stay white all the same."""
    from PIL import Image

    indexed = frame.quantize(palette=palette, dither=Image.Dither.NONE)
    indexed.paste(255, mask=Image.fromarray((np.asarray(frame) == 255).all(-1)))
    return indexed


def _cell_size(cells: Sequence[Sequence[Image | None]]) -> tuple[int, int]:
    sizes = [cell.size for row in cells for cell in row if cell is not None]
    return max(w for w, _ in sizes), max(h for _, h in sizes)


def _label_width(labels: Sequence[tuple[str, str]]) -> int:
    widest = max(max(_measure(first, _TEXT), _measure(second, _SMALL)) for first, second in labels)
    return widest + 24 if widest else 0


def _wrap(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _measure(longer, _SMALL) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _measure(text: str, size: int) -> int:
    return round(float(_font(size, text).getlength(text))) if text else 0


def _font(size: int, text: str) -> Any:
    """Pillow's own font, which knows ASCII only; DejaVu, which comes with matplotlib, for anything else."""
    return _load(size, text.isascii())


@cache
def _load(size: int, plain: bool) -> Any:
    from PIL import ImageFont

    found = None if plain else importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return ImageFont.load_default(size)
    path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, round(size * 0.92)) if path.exists() else ImageFont.load_default(size)


def _save_png(path: Path, picture: Image, description: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("Description", description)

    def write(temporary: Path) -> None:
        picture.save(temporary, "PNG", optimize=True, dpi=_DPI, pnginfo=info)

    write_with(path, write)
