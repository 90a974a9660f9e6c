"""Change one part and keep the rest: traverse, interpolate, swap and replace, over any method that decodes."""

from unbraid.steer.edit import Grid, interpolate, replace, swap, traverse
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
    "Grid",
    "Range",
    "code_range",
    "grid_image",
    "interpolate",
    "reconstruction_image",
    "replace",
    "swap",
    "traverse",
    "write_gif",
    "write_npz",
    "write_png",
    "write_reconstructions",
]
