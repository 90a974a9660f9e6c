"""The published sets: their files, digests, licences and factors; nothing heavy is loaded here.

No digest in this file was made by us. They are those that other public programs check the same files against:
*TFDS* is `tensorflow_datasets/url_checksums/` of tensorflow/datasets, *disent* is `disent/dataset/data/` of
nmichlo/disent, *latte* is `latte/dataset/` of karnwatcharasupat/latte.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError, nearest
from unbraid.data.factors import Factor

Block = tuple[np.ndarray, np.ndarray]
"""Some row numbers and their pixels (n, H, W) or (n, H, W, C) uint8, as they are stored."""


@dataclass(frozen=True)
class File:
    """One file to be had.

    Attributes:
        name: What it is called in its folder.
        url: Where it is published.
        digest: `sha256:...` or `md5:...` of it; None where no public source states one.
        size: Its bytes, where a public source states them.
        instead: Names of what serves as well: the file or folder unpacked.
    """

    name: str
    url: str
    digest: str | None = None
    size: int | None = None
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Official:
    """A published set whose images are all combinations of some factors.

    Attributes:
        name: As users call it.
        summary: One line on what it is.
        licence: What its authors allow.
        page: Where they describe it.
        files: What has to be there.
        factors: In the order of the rows, the last one fastest.
        shape: (H, W, C) of an image as it is stored.
        blocks: Reads the files, given in the order of `files`: every row once, in blocks.
        peak: The stored value that is white.
        size: Height and width that images are brought to unless told otherwise.
        variant: Which of several, where there are several.
        notes: What a reader of results should know.
    """

    name: str
    summary: str
    licence: str
    page: str
    files: tuple[File, ...]
    factors: tuple[Factor, ...]
    shape: tuple[int, int, int]
    blocks: Callable[[Official, list[Path]], Iterator[Block]]
    peak: int = 255
    size: int = 64
    variant: str = ""
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each factor."""
        return tuple(f.size for f in self.factors)

    @property
    def rows(self) -> int:
        """The number of images."""
        return math.prod(self.sizes)

    @property
    def spec(self) -> str:
        """What `open_data` takes."""
        return f"{self.name}:variant={self.variant}" if self.variant else self.name


def named() -> Mapping[str, tuple[Official, ...]]:
    """Every published set with its variants, the one that is meant unless told otherwise first.

    >>> list(named())
    ['dsprites', 'shapes3d', 'mpi3d', 'cars3d', 'smallnorb']
    """
    return {"dsprites": (DSPRITES,), "shapes3d": (SHAPES3D,), "mpi3d": MPI3D, "cars3d": (CARS3D,), "smallnorb": (NORB,)}


def official(name: str, variant: str | None = None) -> Official:
    """One published set.

    >>> official("mpi3d").spec
    'mpi3d:variant=toy'
    """
    known = named()
    if name not in known:
        raise DataError("a published data set", got=f"'{name}'", fix=nearest(name, known))
    return next(e for e in known[name] if variant in (None, e.variant))


def _dsprites(entry: Official, paths: list[Path]) -> Iterator[Block]:
    from unbraid.data.official.npz import blocks

    return blocks(entry, paths[0], "imgs", classes="latents_classes")


def _mpi3d(entry: Official, paths: list[Path]) -> Iterator[Block]:
    from unbraid.data.official.npz import blocks

    return blocks(entry, paths[0], "images")


def _shapes3d(entry: Official, paths: list[Path]) -> Iterator[Block]:
    from unbraid.data.official.hdf5 import blocks

    return blocks(entry, paths[0])


def _cars3d(entry: Official, paths: list[Path]) -> Iterator[Block]:
    from unbraid.data.official.cars import blocks

    return blocks(entry, paths[0])


def _smallnorb(entry: Official, paths: list[Path]) -> Iterator[Block]:
    from unbraid.data.official.norb import blocks

    return blocks(entry, paths)


def _steps(name: str, count: int) -> Factor:
    return Factor(name, "ordinal", tuple(str(i) for i in range(count)))


def _turn(name: str, count: int) -> Factor:
    return Factor(name, "circular", tuple(f"{360 * i // count}°" for i in range(count)))


def _hue(name: str) -> Factor:
    return Factor(name, "circular", tuple(f"{i / 10:.1f}" for i in range(10)))


_GOOGLE = "https://storage.googleapis.com"

DSPRITES = Official(
    name="dsprites",
    summary="737,280 white shapes on black (Matthey et al., 2017): shape 3, scale 6, orientation 40, x 32, y 32",
    licence="Apache-2.0",
    page="https://github.com/google-deepmind/dsprites-dataset",
    files=(
        File(
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            "https://github.com/google-deepmind/dsprites-dataset/raw/master/"
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            digest="md5:7da33b31b13a06f4b04a70402ce90c2e",  # latte
        ),
    ),
    # The file has a colour in front, which is always white.
    factors=(
        Factor("shape", "categorical", ("square", "ellipse", "heart")),
        Factor("scale", "ordinal", tuple(f"{0.5 + 0.1 * i:.1f}" for i in range(6))),
        Factor("orientation", "circular", tuple(f"{360 * i / 39:.1f}°" for i in range(40))),
        _steps("x", 32),
        _steps("y", 32),
    ),
    shape=(64, 64, 1),
    blocks=_dsprites,
    peak=1,
    notes=(
        "the 40 orientations of dSprites go from 0 to 360 degrees with both ends, so that the last one is the first "
        "one again; and squares look alike every 90 degrees, ellipses every 180",
    ),
)

SHAPES3D = Official(
    name="shapes3d",
    summary="480,000 rendered rooms with a body (Burgess and Kim, 2018): floor_hue 10, wall_hue 10, object_hue 10, "
    "scale 8, shape 4, orientation 15",
    licence="Apache-2.0",
    page="https://github.com/google-deepmind/3d-shapes",
    files=(
        File(
            "3dshapes.h5",
            f"{_GOOGLE}/3d-shapes/3dshapes.h5",
            digest="sha256:0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",  # TFDS
            size=267_573_662,  # TFDS
        ),
    ),
    factors=(
        _hue("floor_hue"),
        _hue("wall_hue"),
        _hue("object_hue"),
        Factor("scale", "ordinal", tuple(f"{0.75 + 0.5 * i / 7:.3f}" for i in range(8))),
        Factor("shape", "categorical", ("cube", "cylinder", "sphere", "capsule")),
        Factor("orientation", "ordinal", tuple(f"{-30 + 60 * i / 14:.1f}°" for i in range(15))),
    ),
    shape=(64, 64, 3),
    blocks=_shapes3d,
)


def _mpi3d_entry(variant: str, what: str, digest: str) -> Official:
    name = f"mpi3d_{variant}.npz"
    return Official(
        name="mpi3d",
        summary=f"1,036,800 images of a robot arm, {what} (Gondal et al., 2019): object_color 6, object_shape 6, "
        "object_size 2, camera_height 3, background_color 3, horizontal_axis 40, vertical_axis 40",
        licence="CC BY 4.0",
        page="https://github.com/rr-learning/disentanglement_dataset",
        files=(File(name, f"{_GOOGLE}/disentanglement_dataset/Final_Dataset/{name}", digest=digest),),
        factors=(
            Factor("object_color", "categorical", ("white", "green", "red", "blue", "brown", "olive")),
            Factor("object_shape", "categorical", ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere")),
            Factor("object_size", "ordinal", ("small", "large")),
            Factor("camera_height", "ordinal", ("top", "center", "bottom")),
            Factor("background_color", "categorical", ("purple", "sea green", "salmon")),
            _steps("horizontal_axis", 40),
            _steps("vertical_axis", 40),
        ),
        shape=(64, 64, 3),
        blocks=_mpi3d,
        variant=variant,
    )


MPI3D = (
    _mpi3d_entry("toy", "simply rendered", "md5:55889cb7c7dfc655d6e0277beee88868"),  # disent
    _mpi3d_entry("realistic", "realistically rendered", "md5:59a6225b88b635365f70c91b3e52f70f"),  # disent
    _mpi3d_entry("real", "photographed", "md5:0f33f609918fb5c97996692f91129802"),  # disent
)

CARS3D = Official(
    name="cars3d",
    summary="17,568 images of turned cars (Reed et al., 2015): elevation 4, azimuth 24, object_type 183",
    licence="none stated by its authors",
    page="https://papers.nips.cc/paper/5845-deep-visual-analogy-making",
    files=(
        File(
            "nips2015-analogy-data.tar.gz",
            "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
            digest="md5:4e866a7919c1beedf53964e6f7a23686",  # disent, and latte
            instead=("data/cars", "cars"),
        ),
    ),
    factors=(
        _steps("elevation", 4),
        _turn("azimuth", 24),
        Factor("object_type", "categorical", tuple(f"{i:03d}" for i in range(183))),
    ),
    shape=(128, 128, 3),
    blocks=_cars3d,
)


def _norb_file(part: str, what: str, size: int, digest: str) -> File:
    name = f"smallnorb-5x{part}-{what}.mat"
    url = f"https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/{name}.gz"
    return File(f"{name}.gz", url, digest=f"sha256:{digest}", size=size, instead=(name,))


_TRAIN, _TEST = "46789x9x18x6x2x96x96-training", "01235x9x18x6x2x96x96-testing"

NORB = Official(
    name="smallnorb",
    summary="48,600 photographs of 50 toys (LeCun et al., 2004): category 5, instance 10, elevation 9, azimuth 18, "
    "lighting 6",
    licence="for research, not to be sold; cite LeCun, Huang and Bottou (2004)",
    page="https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
    files=(  # sizes and digests: TFDS
        _norb_file(_TRAIN, "dat", 131896188, "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873"),
        _norb_file(_TRAIN, "cat", 348, "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa"),
        _norb_file(_TRAIN, "info", 71052, "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32"),
        _norb_file(_TEST, "dat", 130799817, "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474"),
        _norb_file(_TEST, "cat", 347, "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff"),
        _norb_file(_TEST, "info", 10428, "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2"),
    ),
    factors=(
        Factor("category", "categorical", ("animal", "human", "plane", "truck", "car")),
        Factor("instance", "categorical", tuple(str(i) for i in range(10))),
        Factor("elevation", "ordinal", tuple(f"{30 + 5 * i}°" for i in range(9))),
        _turn("azimuth", 18),
        Factor("lighting", "categorical", tuple(str(i) for i in range(6))),
    ),
    shape=(96, 96, 1),
    blocks=_smallnorb,
    notes=(
        "training and test files of SmallNORB are joined and the first camera of each pair is taken, as "
        "disentanglement_lib does; but the instance is a factor here, and drawn at random there",
        "instance 3 of the animals has nothing in common with instance 3 of the cars",
    ),
)
