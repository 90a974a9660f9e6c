"""Small sets in the formats of the published ones, whose pixels tell the factors that they were drawn with."""

import gzip
import io
import struct
import tarfile
from dataclasses import replace

import numpy as np

from unbraid.data.factors import Factor
from unbraid.data.official.registry import CARS3D, DSPRITES, MPI3D, NORB, SHAPES3D

SIDE = 16


class Trap:
    """What must never be unpickled."""

    def __reduce__(self):
        return exec, ("raise AssertionError('unpickled')",)


def small(entry, *sizes):
    """The set with fewer values to each factor, and images of 16 x 16."""
    factors = tuple(Factor(f.name, f.kind, f.labels[:n]) for f, n in zip(entry.factors, sizes, strict=True))
    return replace(entry, factors=factors, shape=(SIDE, SIDE, entry.shape[2]), size=SIDE)


SMALL = {
    "dsprites": small(DSPRITES, 3, 2, 5, 4, 3),
    "shapes3d": small(SHAPES3D, 3, 2, 4, 2, 3, 5),
    "mpi3d": small(MPI3D[0], 3, 2, 2, 3, 1, 4, 5),
    "cars3d": small(CARS3D, 4, 6, 7),
    "smallnorb": small(NORB, 3, 4, 3, 4, 2),
}


def draw(codes, white=255):
    """An image with a line for each factor, as long as its code and one more."""
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for line, code in enumerate(codes):
        image[line, : code + 1] = white
    return image


def read(x, count):
    """The codes that images (..., C, 16, 16) in [0, 1] were drawn with."""
    assert set(x.unique().tolist()) == {0.0, 1.0}
    return x[..., 0, :count, :].sum(-1) - 1


def grid(entry):
    return [tuple(map(int, codes)) for codes in np.ndindex(entry.sizes)]


def rgb(codes):
    return np.repeat(draw(codes)[..., None], 3, -1)


def write_dsprites(folder, entry, **changes):
    codes = np.array(grid(entry))
    front = np.zeros((len(codes), 1), dtype=np.int64)
    arrays = {
        "metadata": np.array(Trap(), dtype=object),
        "imgs": np.stack([draw(row, white=1) for row in codes]),
        "latents_classes": np.concatenate([front, codes], 1),
        "latents_values": np.concatenate([front + 1.0, codes / 7], 1),
    } | changes
    path = folder / entry.files[0].name
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_mpi3d(folder, entry, **changes):
    path = folder / entry.files[0].name
    np.savez(path, **{"images": np.stack([rgb(row) for row in grid(entry)])} | changes)
    return path


def write_shapes3d(folder, entry, chunks=True, **changes):
    import h5py

    codes = np.array(grid(entry))
    values = np.array([0.1, 0.1, 0.1, 0.0714, 1.0, 4.2857])
    content = {"images": np.stack([rgb(row) for row in codes]), "labels": codes * values} | changes
    path = folder / entry.files[0].name
    with h5py.File(path, "w") as file:
        for name, array in content.items():
            if array is not None:
                own = chunks if name == "images" else None
                file.create_dataset(name, data=array, chunks=own, compression=own and "gzip")
    return path


def cars(entry):
    """File name -> what is saved in it."""
    elevations, azimuths, count = entry.sizes
    files = {}
    for car in range(count):
        im = np.zeros((SIDE, SIDE, 3, azimuths, elevations), dtype=np.uint8)
        for elevation, azimuth in np.ndindex(elevations, azimuths):
            im[..., azimuth, elevation] = rgb((elevation, azimuth, car))
        files[f"car_{car + 1:03d}_mesh.mat"] = {"im": im, "mask": im[:, :, 0]}
    return files


def write_cars3d(folder, entry, files=None):
    """The archive, with the cars in another order than that of their names, and with other things in it."""
    from scipy.io import savemat

    path = folder / entry.files[0].name
    files = cars(entry) if files is None else files
    with tarfile.open(path, "w:gz") as archive:
        for name, content in [("data/cars/list.txt", b"x"), ("data/shapes48.mat", b"x"), ("data/cars/._a.mat", b"x")]:
            add(archive, name, content)
        for name in sorted(files, reverse=True):
            if isinstance(files[name], bytes):
                add(archive, f"data/cars/{name}", files[name])
                continue
            stream = io.BytesIO()
            savemat(stream, files[name], do_compression=True)
            add(archive, f"data/cars/{name}", stream.getvalue())
    return path


def add(archive, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def matrix(array, magic):
    lengths = [*array.shape, 1, 1, 1][: max(3, array.ndim)]
    return struct.pack(f"<{2 + len(lengths)}i", magic, array.ndim, *lengths) + array.tobytes()


BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54


def write_smallnorb(folder, entry, packed=True):
    """Six files, each half with instances of its own and its rows in no order."""
    codes = np.array(grid(entry))
    rng = np.random.default_rng(0)
    paths = []
    half = codes[:, 1] % 2 == 0
    for number, mine in enumerate((half, ~half)):
        rows = rng.permutation(codes[mine]).astype("<i4")
        pairs = np.stack([np.stack([draw(row), np.full((SIDE, SIDE), 7, np.uint8)]) for row in rows])
        info = rows[:, 1:] * np.array([1, 1, 2, 1], dtype="<i4")
        contents = matrix(pairs, BYTES), matrix(rows[:, 0].copy(), INTEGERS), matrix(info.astype("<i4"), INTEGERS)
        for file, content in zip(entry.files[3 * number : 3 * number + 3], contents, strict=True):
            path = folder / (file.name if packed else file.name.removesuffix(".gz"))
            path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
            paths.append(path)
    return paths


WRITERS = {
    "dsprites": write_dsprites,
    "shapes3d": write_shapes3d,
    "mpi3d": write_mpi3d,
    "cars3d": write_cars3d,
    "smallnorb": write_smallnorb,
}
