"""Any file at all, under any reader: it is read, or refused in one line, in bounded time and memory.

To add a reader, add a line to `READERS`: a name, how to make a sound file of its format, and how to open it. Thirty
damaged files each by default, 100,000 in the nightly profile.
"""

import gzip
import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import soundfile
import torch
from fuzzing import answer, damaged, table
from hypothesis import given
from hypothesis import strategies as st
from official_files import SMALL, WRITERS
from PIL import Image
from profiles import READERS as MANY
from profiles import cases

from unbraid.audit import Audit, audit
from unbraid.claims.table import load
from unbraid.data.catalog import open_data
from unbraid.data.codes import read_codes, read_factors, write_codes
from unbraid.data.factors import FactorTable
from unbraid.data.official.places import open_official
from unbraid.data.readers.sounds import read_sound
from unbraid.training.checkpoints import Checkpoint, Checkpoints, Position, load_tensors, save_tensors
from unbraid.training.runs import Run, Series
from unbraid.verbs.request import asked_for


@dataclass(frozen=True)
class Reader:
    """How a reader is tried.

    Attributes:
        name: Of the test.
        file: The file that is damaged, below the folder.
        make: Writes a sound file (and what belongs beside it) into the folder.
        open: Reads the folder's file.
        inside: Damage is done to what this finds in the file's bytes, ...
        outside: ... which this puts back: so that checksums hold, and packed content is damaged before it is packed.
        grammar: Writes a file by the rules of the format; half of the cases, where there is one.
    """

    name: str
    file: str
    make: Callable[[Path], object]
    open: Callable[[Path], object]
    inside: Callable[[bytes], bytes] = bytes
    outside: Callable[[bytes], bytes] = bytes
    grammar: Callable[[random.Random], bytes] | None = None

    def case(self, sound: bytes, seed: int) -> bytes:
        """One file to try."""
        chance = random.Random(seed)
        if self.grammar and chance.random() < 0.5:
            return self.grammar(chance)
        return self.outside(damaged(sound, chance))


QUICK = 30

RNG = np.random.default_rng(0)
X, SITE = RNG.normal(size=(6, 3)).astype(np.float32), ["a", "b", "a", "c", "b", "a"]
PIXELS = RNG.integers(0, 256, (6, 8, 8), dtype=np.uint8)
FILM = RNG.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
IDX = struct.pack(">4B3I", 0, 0, 8, 3, 6, 8, 8) + PIXELS.tobytes()
LABELS = struct.pack(">4BI", 0, 0, 8, 1, 6) + bytes([0, 1, 2, 3, 9, 200])
TABLE = FactorTable.from_columns({"site": SITE, "age": [1.5, 2.0, None, 4.0, 0.1, 7.0]})


def npz(folder, **arrays):
    np.savez_compressed(folder / "a.npz", **arrays)


def codes(suffix):
    return lambda folder: write_codes(folder / f"a{suffix}", {"content": X, "style": X[:, :1]}, list("uvwxyz"), TABLE)


def text(name, content):
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def picture(name, mode="RGB", **options):
    def make(folder):
        pixels = np.random.default_rng(0).integers(0, 256, (11, 13, 4), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name, **options)

    return make


TAKEN = "user,item,rating,timestamp\na,x,4,10\na,y,2.5,11\nb,x,5,12\nb,y,3,13\nb,z,1,14\n"


def films(folder):
    text("ratings.dat", "1::02::8::10\n1::03::9::20\n2::02::7::30\n3::01::1::40\n")(folder)
    text("movies.dat", "01::One (1915)::Drama|War\n02::Two (1916)::Comedy\n")(folder)
    text("users.dat", "1::F::25::10::48067\n2::M::56::16::70072\n")(folder)


def taken_parquet(folder):
    import pyarrow
    import pyarrow.parquet

    columns = {"user": [1, 1, 2], "item": ["x", "y", "x"], "rating": [4.0, 2.5, 5.0], "time": [10, 11, 12]}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "interactions.parquet")


def interactions(folder):
    data = open_data(f"interactions:{folder},rating=0,core=1")
    data.take(torch.arange(len(data)))
    data.audited.take(torch.arange(len(data.audited)))


def run_folder(folder):
    request = {"method": "qlae", "data": "sprites", "seed": 3, "set": {"steps": "3"}, "size": None}
    run = Run.create(folder / "run", request)
    run.update(status="training", fields={"x": {"shape": [3], "dtype": "float32", "unit": False, "classes": None}})
    Series(folder / "run" / "series.jsonl").append({"number": 0, "step": 1, "terms": {"loss": 0.5}})
    Series(folder / "run" / "series.jsonl").append({"number": 0, "step": 2, "terms": {"loss": None}})
    tensors = {"weight": torch.ones(2, 3), "steps": torch.tensor(3)}
    run.checkpoints().save(Checkpoint(Position(0, 0, 1), tensors, tensors), "fit")
    run.checkpoints().save(Checkpoint(Position(0, 0, 2), tensors, {}), "fit")
    save_tensors(folder / "run" / "model.safetensors", tensors)


def run_json(folder):
    run = Run(folder / "run")
    asked_for(run)
    str(run.status)


def series(folder):
    found = Series(folder / "run" / "series.jsonl")
    list(found.read())
    found.cut(Position(0, 0, 2))


def checkpoints(folder):
    """Damage is told in a warning, and the checkpoint before is used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "checkpoint .* is damaged", UserWarning)
        Checkpoints(folder / "run" / "checkpoints").newest()


def audited(folder):
    z, y = RNG.normal(size=(60, 2)), np.arange(60) % 2
    table = FactorTable.from_columns({"y": y})
    audit({"z": z}, table, metrics=("mig",), probes=("linear",)).save(folder / "audit.json")


def audit_json(folder):
    found = Audit.from_json((folder / "audit.json").read_bytes().decode("utf-8", "replace"))
    found.table(), found.sentences(), found.families(), found.heatmap_data(), found.to_json()


def claimed(folder):
    row = {"method": "ae", "claim": "c", "metric": "m", "ours": 1.0, "baseline": None, "expect": "more", "margin": 0.0}
    row |= {"interval": [0.5, 1.5], "seeds": [11, 12], "minutes": 0.1, "verdict": "holds"}
    (folder / "results.json").write_text(json.dumps([row, {**row, "interval": None, "seeds": []}]))


def member(content):
    """The first array of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


def archive(content):
    """An archive of one array, and a sound one beside it."""
    out, labels = io.BytesIO(), io.BytesIO()
    np.save(labels, np.arange(6))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", content)
        file.writestr("labels.npy", labels.getvalue())
    return out.getvalue()


def true_checksums(content):
    """A PNG whose chunks have the checksums of what they hold."""
    out, at = bytearray(content), 8
    while at + 12 <= len(out):
        length = int.from_bytes(out[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def data_of(name):
    return lambda folder: open_data(str(folder / name if name else folder))


def clip(folder):
    (folder / "one").mkdir()
    picture("one/a.png")(folder)


def clips_in(name):
    return lambda folder: open_data(f"clips:{folder / name if name else folder},frames=2")


def waves_of(options):
    return lambda folder: open_data(f"waves:{folder}{options}").take(torch.arange(1))


def factors_of(name):
    return lambda folder: read_factors(folder / name, list("uvwxyz"), 6)


def steps_of(name):
    def read(folder):
        data = open_data(f"trajectories:{folder / name},past=2,future=2")
        data.take(torch.arange(2) % len(data))

    return read


def walks(folder):
    """The same walks as a table of numbers."""
    pandas = pytest.importorskip("pandas")
    (folder / "walks.csv").write_text(WALKS)
    pandas.read_csv(folder / "walks.csv").to_parquet(folder / "a.parquet")


def codes_of(name):
    return lambda folder: read_codes(folder / name)


def sound(name, subtype="PCM_16"):
    def make(folder):
        soundfile.write(folder / name, RNG.uniform(-0.5, 0.5, (400, 2)), 8000, subtype=subtype)

    return make


def capture(folder):
    pairs = RNG.normal(size=(60, 2)).astype("<f4")
    (folder / "a.sigmf-data").write_bytes(pairs.tobytes())
    about = {"core:datatype": "cf32_le", "core:hw": "sdr", "lab:sender": {"model": "b", "power": 1.5}}
    starts = [{"core:sample_start": s, "core:frequency": 2.4e9 + s} for s in (0, 30)]
    notes = [{"core:sample_start": s, "core:sample_count": 20, "core:label": f"l{s}"} for s in (0, 20, 35)]
    document = {"global": about, "captures": starts, "annotations": notes}
    (folder / "a.sigmf-meta").write_text(json.dumps(document))


def iq_of(name):
    options = ",samples=10" if "sigmf" in name else ""
    return lambda folder: open_data(f"iq:{folder / name}{options}")


def official(name):
    """A published set in its own format, cut down, and how it is opened: unpacked anew each time."""

    def make(folder):
        WRITERS[name](folder, SMALL[name])

    def read(folder):
        for unpacked in folder.glob("*.npy"):
            unpacked.unlink()
        data = open_official(SMALL[name], folder)
        data.take(torch.arange(3))

    return make, read


PLAIN = "file,x,site:categorical,age:continuous\nu,1,a,1.5\nv,2,b,\nw,1,a,-2e3\nx,3,'c',0\ny,1,b,4\nz,2,a,5\n"
CODES = 'id,z_0,z_1,factor:s\n"u",1,2,x\nv,3,4e5,\nw,.5,-1,"x,\ny"\n'
NPY = {"x": X, "site": np.array(SITE), "factors": np.zeros((6, 2)), "ids": np.array(list("uvwxyz"))}

STEPS = {"observations": X, "actions": np.array([0, 1, 1, 0, 1, 0]), "rewards": X[:, 0]}
PADDED = {name: column.reshape(2, 3, *column.shape[1:]) for name, column in STEPS.items()}
ENDS = np.array([0, 0, 1, 0, 0, 1], dtype=bool)
WALKS = "episode,state_0,state_1,action,reward,done,factor:site\nu,1,2,0,.5,0,a\nu,3,4e5,1,-1,1,b\nv,0,0,2,1,0,\n"


READERS = (
    Reader("npy", "a.npy", lambda f: np.save(f / "a.npy", X), data_of("a.npy")),
    Reader("npy images", "a.npy", lambda f: np.save(f / "a.npy", PIXELS), data_of("a.npy")),
    Reader("npy codes", "a.npy", lambda f: np.save(f / "a.npy", X), codes_of("a.npy")),
    Reader("npy factors", "a.npy", lambda f: np.save(f / "a.npy", X), factors_of("a.npy")),
    Reader("npz", "a.npz", lambda f: npz(f, **NPY), data_of("a.npz")),
    Reader("npz images", "a.npz", lambda f: npz(f, imgs=PIXELS, latents_classes=np.zeros((6, 2))), data_of("a.npz")),
    Reader("npz trajectories", "a.npz", lambda f: npz(f, **STEPS, terminals=ENDS), steps_of("a.npz")),
    Reader("npz trajectories by offsets", "a.npz", lambda f: npz(f, **STEPS, offsets=[0, 4, 6]), steps_of("a.npz")),
    Reader("npz padded trajectories", "a.npz", lambda f: npz(f, **PADDED, valid=np.ones((2, 3))), steps_of("a.npz")),
    Reader("csv trajectories", "a.csv", text("a.csv", WALKS), steps_of("a.csv"), grammar=table),
    Reader("parquet trajectories", "a.parquet", walks, steps_of("a.parquet")),
    Reader("npz codes", "a.npz", codes(".npz"), codes_of("a.npz")),
    Reader("npz factors", "a.npz", codes(".npz"), factors_of("a.npz")),
    Reader("npz array", "a.npz", lambda f: npz(f, x=X), data_of("a.npz"), member, archive),
    Reader("npz array of codes", "a.npz", lambda f: npz(f, x=X), codes_of("a.npz"), member, archive),
    Reader("csv", "a.csv", text("a.csv", CODES), data_of("a.csv"), grammar=table),
    Reader("csv codes", "a.csv", codes(".csv"), codes_of("a.csv"), grammar=table),
    Reader("csv factors", "a.csv", text("a.csv", PLAIN), factors_of("a.csv"), grammar=table),
    Reader("parquet", "a.parquet", codes(".parquet"), data_of("a.parquet")),
    Reader("parquet codes", "a.parquet", codes(".parquet"), codes_of("a.parquet")),
    Reader("parquet factors", "a.parquet", codes(".parquet"), factors_of("a.parquet")),
    Reader("idx", "t-images-idx3-ubyte", lambda f: (f / "t-images-idx3-ubyte").write_bytes(IDX), data_of("")),
    Reader(
        "idx labels",
        "t-labels-idx1-ubyte",
        lambda f: [(f / "t-images-idx3-ubyte").write_bytes(IDX), (f / "t-labels-idx1-ubyte").write_bytes(LABELS)],
        data_of(""),
    ),
    Reader(
        "idx gzip",
        "t-images-idx3-ubyte.gz",
        lambda f: (f / "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(IDX)),
        data_of(""),
    ),
    Reader(
        "idx in gzip",
        "t-images-idx3-ubyte.gz",
        lambda f: (f / "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(IDX)),
        data_of(""),
        gzip.decompress,
        lambda content: gzip.compress(content, 1),
    ),
    *(
        Reader(f"image {s}", f"a.{s}", picture(f"a.{s}"), data_of(""))
        for s in ("png", "jpg", "bmp", "tif", "webp", "ppm")
    ),
    Reader("image gif", "a.gif", picture("a.gif", "P"), data_of("")),
    Reader("image png 16", "a.png", picture("a.png", "I;16"), data_of(""), outside=true_checksums),
    Reader("image png chunks", "a.png", picture("a.png", "RGBA"), data_of(""), outside=true_checksums),
    Reader("image png palette", "a.png", picture("a.png", "P", transparency=3), data_of(""), outside=true_checksums),
    Reader("image tif packed", "a.tif", picture("a.tif", compression="tiff_lzw"), data_of("")),
    Reader(
        "folder factors",
        "factors.csv",
        lambda f: [picture("a.png")(f), text("factors.csv", "file,site,age\na.png,x,2.5\nb.png,y,\n")(f)],
        data_of(""),
    ),
    Reader("clips frame", "one/a.png", clip, clips_in("")),
    Reader(
        "clips factors", "factors.csv", lambda f: [clip(f), text("factors.csv", "file,site\none,x\n")(f)], clips_in("")
    ),
    Reader("clips npy", "a.npy", lambda f: np.save(f / "a.npy", FILM), clips_in("a.npy")),
    Reader("clips npz", "a.npz", lambda f: npz(f, clips=FILM, site=np.array(["a", "b"])), clips_in("a.npz")),
    Reader("clips npz array", "a.npz", lambda f: npz(f, x=FILM), clips_in("a.npz"), member, archive),
    *(Reader(f"sound {s}", f"a.{s}", sound(f"a.{s}"), data_of("")) for s in ("wav", "flac")),
    Reader("sound wav of floats", "a.wav", sound("a.wav", "FLOAT"), data_of("")),
    *(Reader(f"waves {s}", f"a.{s}", sound(f"a.{s}"), waves_of("")) for s in ("wav", "flac")),
    Reader("waves of a rate", "a.wav", sound("a.wav", "FLOAT"), waves_of(",rate=6000,seconds=0.1")),
    Reader("recording", "a.wav", sound("a.wav", "PCM_24"), lambda f: read_sound(f / "a.wav")),
    Reader("sigmf meta", "a.sigmf-meta", capture, iq_of("a.sigmf-meta")),
    Reader("sigmf data", "a.sigmf-data", capture, iq_of("a.sigmf-data")),
    Reader("iq npy", "a.npy", lambda f: np.save(f / "a.npy", X + 1j * X), iq_of("a.npy")),
    Reader("iq npz", "a.npz", lambda f: npz(f, x=X + 1j * X, device=np.array(SITE)), iq_of("a.npz")),
    *(Reader(f"official {n}", SMALL[n].files[0].name, *official(n)) for n in sorted(SMALL)),
    Reader("official smallnorb labels", SMALL["smallnorb"].files[1].name, *official("smallnorb")),
    Reader(
        "official smallnorb in gzip",
        SMALL["smallnorb"].files[0].name,
        *official("smallnorb"),
        gzip.decompress,
        partial(gzip.compress, mtime=0),
    ),
    *(Reader(f"interactions {n}", f"{n}.dat", films, interactions) for n in ("ratings", "movies", "users")),
    Reader("interactions csv", "ratings.csv", text("ratings.csv", TAKEN), interactions, grammar=table),
    Reader(
        "interactions csv items",
        "items.csv",
        lambda f: [text("ratings.csv", TAKEN)(f), text("items.csv", "item,title,genres\nx,The X,Drama|War\n")(f)],
        interactions,
        grammar=table,
    ),
    Reader("interactions parquet", "interactions.parquet", taken_parquet, interactions),
    Reader("run.json", "run/run.json", run_folder, run_json),
    Reader("series.jsonl", "run/series.jsonl", run_folder, series),
    Reader("checkpoint position", "run/checkpoints/fit-solve-2/position.json", run_folder, checkpoints),
    Reader("checkpoint mark", "run/checkpoints/fit-solve-2/complete", run_folder, checkpoints),
    Reader("checkpoint tensors", "run/checkpoints/fit-solve-2/method.safetensors", run_folder, checkpoints),
    Reader("safetensors", "run/model.safetensors", run_folder, lambda f: load_tensors(f / "run" / "model.safetensors")),
    Reader("audit.json", "audit.json", audited, audit_json),
    Reader("results.json", "results.json", claimed, lambda f: load(f / "results.json")),
)


def test_the_bounds_are_held(monkeypatch):
    def forever():
        while True:
            pass

    with pytest.raises(MemoryError):
        answer(lambda: np.ones(2**28))
    with pytest.raises(KeyError):
        answer(lambda: {}["anything but our own error"])
    monkeypatch.setattr(fuzzing, "SECONDS", 0.2)
    with pytest.raises(fuzzing.Hang):
        answer(forever)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"\x00"),
        ("a.npy", b"\x93NUMPY\x01\x00\x02\x00{}"),
        ("a.npy", b"\x93NUMPY\x01\x00\x0a\x00(((((((((("),
    ],
)
def test_what_once_escaped_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for read in (data_of(name), codes_of(name), factors_of(name)):
        assert answer(lambda read=read: read(tmp_path))


def test_what_once_escaped_from_runs_and_audits_is_refused(tmp_path):
    run_folder(tmp_path)
    audited(tmp_path)
    run, page = tmp_path / "run", json.loads((tmp_path / "audit.json").read_text())
    (run / "series.jsonl").write_bytes(b'{"number": 0, "step": 1}\n[]\n{"number": 0, "step": 1}\n\xff\n')
    assert [line["step"] for line in Series(run / "series.jsonl").read()] == [1]
    (run / "series.jsonl").write_bytes(b'{"number": 0, "step": 1}\n{"number": 0, "step": null}\n{"step": 1}\n')
    series(tmp_path)
    assert len(list(Series(run / "series.jsonl").read())) == 1
    (run / "model.safetensors").write_bytes(b"no tensors")
    assert "safetensors" in answer(lambda: load_tensors(run / "model.safetensors"))
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({k: v for k, v in facts.items() if k != "status"}))
    assert "status" in answer(lambda: Run(run))
    position = run / "checkpoints" / "fit-solve-2" / "position.json"
    position.write_text('{"stage": 1e999, "phase": 0, "step": 1}')
    checkpoints(tmp_path)
    for change in ({"p": "often"}, {"verdict": "perhaps"}, {"share": []}):
        changed = {**page, "rows": [{**page["rows"][0], **change}]}
        assert "an audit as JSON" in answer(lambda changed=changed: Audit.from_json(json.dumps(changed)))


@pytest.fixture(params=READERS, ids=lambda reader: reader.name.replace(" ", "-"))
def reader(request):
    return request.param


def test_any_file_is_read_or_refused(reader, tmp_path):
    reader.make(tmp_path)
    path = tmp_path / reader.file
    sound = reader.inside(path.read_bytes())
    assert answer(lambda: reader.open(tmp_path)) == "", "the sound file"

    @cases(QUICK, MANY)
    @given(st.integers(0, 2**62))
    def one(seed):
        path.write_bytes(reader.case(sound, seed))
        answer(lambda: reader.open(tmp_path))

    one()
