"""Change one part and keep the rest, over any method that decodes; or take a factor out of any codes."""

from unbraid.steer.edit import Grid, interpolate, replace, roll, swap, traverse
from unbraid.steer.erasing import Erased, erase
from unbraid.steer.pictures import (
    grid_image,
    reconstruction_image,
    write_gif,
    write_npz,
    write_png,
    write_reconstructions,
)
from unbraid.steer.ranges import Range, code_range

__all__ = [
    "Erased",
    "Grid",
    "Range",
    "code_range",
    "erase",
    "grid_image",
    "interpolate",
    "reconstruction_image",
    "replace",
    "roll",
    "swap",
    "traverse",
    "write_gif",
    "write_npz",
    "write_png",
    "write_reconstructions",
]
