"""Recordings are written by mne (EDF through edfio) and read back."""

import csv

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.catalog import open_data
from unbraid.data.made.erp import ELECTRODES, Erp, write_recordings
from unbraid.data.readers.eeg import open_eeg

mne = pytest.importorskip("mne")
pytest.importorskip("edfio")


@pytest.fixture(scope="module")
def world():
    return Erp(people=4, trials=3, blinks=0.0)


@pytest.fixture(scope="module")
def edf(world, tmp_path_factory):
    return write_recordings(world, tmp_path_factory.mktemp("edf") / "recordings")


@pytest.fixture(scope="module")
def fif(world, tmp_path_factory):
    return write_recordings(world, tmp_path_factory.mktemp("fif") / "recordings", ".fif")


def raw_of(x, rate=100.0, notes=(), names=None, kinds="eeg", first=0):
    """A recording of some samples (C, T) in microvolts, annotated at some seconds."""
    names = names or [f"E{i + 1}" for i in range(len(x))]
    info = mne.create_info(names, rate, kinds, verbose="ERROR")
    raw = mne.io.RawArray(np.asarray(x) / 1e6, info, first_samp=first, verbose="ERROR")
    onset, length, said = zip(*notes, strict=True) if notes else ((), (), ())
    raw.set_annotations(mne.Annotations(onset, length, said))
    return raw


def save(raw, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw.save(path, overwrite=True, verbose="ERROR")
    return path


def all_of(data):
    return data.take(torch.arange(len(data)))["x"]


def test_edf_comes_back_as_it_was_but_for_its_sixteen_bits(edf, world):
    data = open_data(f"eeg:{edf}")
    torch.testing.assert_close(all_of(data), all_of(world), atol=0.01, rtol=0)
    assert data.channels == world.channels
    assert data.ids(torch.arange(4)) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    mine, theirs = data.table(torch.arange(4)), world.traits
    np.testing.assert_allclose(mine.column("age"), theirs.column("age"), atol=0.051)
    for name in ("reactivity", "sex"):
        said = [mine.factor(name).labels[int(v)] for v in mine.column(name)]
        assert said == [theirs.factor(name).labels[int(v)] for v in theirs.column(name)]


def test_fif_comes_back_to_the_last_bit_that_a_float_has(fif, world):
    torch.testing.assert_close(all_of(open_data(f"eeg:{fif}")), all_of(world), atol=1e-4, rtol=0)


def test_single_trials_keep_their_participant(edf):
    data = open_data(f"eeg:{edf},single=true")
    single = Erp(people=4, trials=3, blinks=0.0, single=True)
    torch.testing.assert_close(all_of(data), all_of(single), atol=0.02, rtol=0)
    assert data.roles["group"] == "participant"
    assert data.table(torch.arange(12)).column("participant").tolist() == sorted([0.0, 1.0, 2.0, 3.0] * 3)
    assert data.ids(torch.tensor([4])) == ["sub-02/2"]


def test_channels_events_and_one_file(edf, world):
    data = open_data(f"eeg:{edf},channels=Pz+Fz,events=positive")
    assert data.channels == ("Pz", "Fz")
    torch.testing.assert_close(all_of(data), all_of(world)[:, [5, 3]], atol=0.01, rtol=0)
    one = open_data(f"eeg:{edf}/sub-03/eeg/sub-03_task-pictures_eeg.edf,events=positive+neutral")
    torch.testing.assert_close(all_of(one), all_of(world)[2:3, [3, 4, 5, 0, 1, 2]], atol=0.01, rtol=0)
    few = open_data(f"eeg:{edf},only=sub-0[12]*")
    assert few.ids(torch.arange(len(few))) == ["sub-01", "sub-02"]


def test_an_epoch_is_what_lies_about_its_event(tmp_path):
    x = np.arange(2000.0)[None] + np.zeros((2, 1))
    path = save(raw_of(x, notes=[(5.0, 0, "go"), (12.0, 0, "go")], first=300), tmp_path / "one_raw.fif")
    data = open_data(f"eeg:{path},tmin=-0.1,tmax=0.2,points=0,baseline=false,single=true")
    assert data.span == (-0.1, 0.2)
    close = {"atol": 1e-3, "rtol": 0}  # files hold single precision
    torch.testing.assert_close(
        all_of(data)[:, 0], torch.arange(-10.0, 21.0) + torch.tensor([[500.0], [1200.0]]), **close
    )
    corrected = open_data(f"eeg:{path},tmin=-0.1,tmax=0.2,points=0,single=true")
    torch.testing.assert_close(all_of(corrected)[0, 1], torch.arange(-10.0, 21.0) + 5, **close)


def test_the_time_of_the_measurement_does_not_move_events(tmp_path):
    raw = raw_of(np.arange(2000.0)[None], first=300)
    raw.set_meas_date(1_000_000)
    raw.set_annotations(mne.Annotations([5.0], [0], ["go"], orig_time=raw.info["meas_date"]))
    path = save(raw, tmp_path / "dated_raw.fif")
    kept = open_data(f"eeg:{path},tmin=0,tmax=0.1,points=0,baseline=false")
    assert all_of(kept)[0, 0, 0].item() == pytest.approx(200)  # 5 seconds from a start that 300 samples were cut from


def test_recordings_are_brought_to_the_points_that_are_asked_for(tmp_path):
    for who, rate in (("sub-1", 1000.0), ("sub-2", 500.0)):
        t = np.arange(20 * rate) / rate
        wave = 10 * np.sin(2 * np.pi * 3 * (t - 10))[None]
        save(raw_of(wave, rate, [(10.0, 0, "go")]), tmp_path / who / f"{who}_raw.fif")
    data = open_data(f"eeg:{tmp_path},points=64,tmin=-0.315,tmax=0.315,baseline=false")
    assert data.span == (-0.32, 0.31)
    expected = 10 * np.sin(2 * np.pi * 3 * data.times)
    for row in all_of(data)[:, 0]:
        np.testing.assert_allclose(row, expected, atol=0.05)
    with pytest.raises(DataError, match=r"1000 samples a second, as before, got 500; resample all: points=256"):
        open_data(f"eeg:{tmp_path},points=0")


def test_epochs_that_are_bad_too_large_or_cut_off_are_left_out(tmp_path):
    x = np.zeros((1, 3000))
    x[0, 1500] = 200
    notes = [(0.05, 0, "go"), (5, 0, "go"), (10, 0, "go"), (15, 0, "go"), (10.0, 0.3, "BAD_moved")]
    path = save(raw_of(x, notes=notes), tmp_path / "a_raw.fif")
    assert len(open_data(f"eeg:{path},points=0,single=true")) == 2
    assert len(open_data(f"eeg:{path},points=0,single=true,reject=100")) == 1
    with pytest.raises(DataError, match=r"epochs of go, got no epoch of each in any recording; reject less"):
        open_data(f"eeg:{path},points=0,tmin=-6,tmax=20")


def test_a_participant_without_one_condition_is_left_out_and_named(tmp_path):
    x = np.random.default_rng(0).normal(size=(1, 2000))
    save(raw_of(x, notes=[(5, 0, "a"), (9, 0, "b"), (12, 0, "b")]), tmp_path / "sub-1" / "one_raw.fif")
    save(raw_of(x, notes=[(5, 0, "a")]), tmp_path / "sub-2" / "one_raw.fif")
    data = open_data(f"eeg:{tmp_path},points=64")
    assert (len(data), data.channels) == (1, ("a/E1", "b/E1"))
    assert data.notes == ("Left out, because no epoch of some condition remained: sub-2.",)
    assert len(open_data(f"eeg:{tmp_path},points=64,events=a")) == 2


def test_recordings_of_one_participant_are_taken_together(tmp_path):
    for run, level in ((1, 1.0), (2, 5.0)):
        x = np.zeros((1, 2000))
        x[0, 505:] = level
        save(raw_of(x, notes=[(5, 0, "go")]), tmp_path / "sub-1" / f"sub-1_run-{run}_raw.fif")
    data = open_data(f"eeg:{tmp_path},points=0,tmin=-0.1,tmax=0.2")
    assert all_of(data)[0, 0, -1].item() == pytest.approx(3.0)


def test_a_trigger_channel_takes_the_place_of_annotations(tmp_path):
    x = np.zeros((2, 2000))
    x[0, 700:720] = 7
    x[1, 700:705] = 3e6
    raw = raw_of(x, names=["Cz", "STI"], kinds=["eeg", "stim"])
    data = open_data(f"eeg:{save(raw, tmp_path / 'a_raw.fif')},points=0,tmin=-0.1,tmax=0.1")
    assert data.channels == ("Cz",)
    baseline = 7 / 11  # the event is the last of eleven samples before it
    assert all_of(data)[0, 0].tolist() == pytest.approx([-baseline] * 10 + [7 - baseline] * 11, abs=1e-4)


def test_participants_tell_of_the_people(tmp_path, edf):
    with pytest.raises(DataError, match=r"a row for sub-04"):
        copied(edf, tmp_path / "a", lambda rows: rows[:4])
    with pytest.raises(DataError, match=r"a column participant_id, got who"):
        copied(edf, tmp_path / "b", lambda rows: [["who"], *([r[0]] for r in rows[1:])])
    missing = copied(edf, tmp_path / "c", lambda rows: [["participant_id", "age"], *([r[0], "n/a"] for r in rows[1:2]),
                                                       *([r[0][4:], "33.5"] for r in rows[2:])])  # fmt: skip
    assert np.isnan(missing.table(torch.arange(4)).column("age")).tolist() == [True, False, False, False]


def copied(folder, to, change):
    """The same recordings with another table of participants."""
    to.mkdir()
    for path in folder.iterdir():
        if path.is_dir():
            (to / path.name).symlink_to(path)
    for path in folder.glob("sub-*/eeg/*.edf"):
        (to / path.name).write_bytes(path.read_bytes())
    with (folder / "participants.tsv").open() as file:
        rows = change(list(csv.reader(file, delimiter="\t")))
    with (to / "participants.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    return open_data(f"eeg:{to}")


def test_a_file_of_factors_is_by_participant(edf, tmp_path):
    path = tmp_path / "more.csv"
    path.write_text("id,diagnosis\nsub-04,yes\nsub-03,no\nsub-02,no\nsub-01,yes\n")
    data = open_data(f"eeg:{edf},single=true", factors=path)
    assert data.table(torch.tensor([0, 3, 9, 11])).column("diagnosis").tolist() == [1, 0, 1, 1]


def test_what_cannot_be_read_is_one_line(edf, tmp_path):
    def refuses(spec, says):
        with pytest.raises(DataError, match=says) as error:
            open_data(spec)
        assert "\n" not in str(error.value)

    refuses(f"eeg:{edf},channels=Fz+Pzz", r"the name of a channel, got 'Pzz'; choose from Cz, Fz, Pz")
    refuses(f"eeg:{edf},events=neutrl", r"the name of an event, got 'neutrl'; did you mean 'neutral'\?")
    refuses(f"eeg:{edf},tmin=0.5,tmax=0.1", "tmin before tmax")
    refuses(f"eeg:{edf},tmin=0.1", "samples before the event for a baseline")
    refuses(f"eeg:{edf},points=2", "4 to 65536 points, or 0")
    refuses(f"eeg:{edf},reject=-1", "microvolts above 0")
    refuses(f"eeg:{edf},only=*.bdf", "none of 4 with such a name")
    (tmp_path / "empty").mkdir()
    refuses(f"eeg:{tmp_path / 'empty'}", "none in it")
    (tmp_path / "broken.edf").write_bytes(b"0       " + b"x" * 600)
    refuses(f"eeg:{tmp_path / 'broken.edf'}", r"broken.edf: expected a whole EDF, BDF or FIF recording")
    (tmp_path / "text.txt").write_text("hello")
    refuses(f"eeg:{tmp_path / 'text.txt'}", "a recording .edf, .bdf or .fif, or a folder of them")
    plain = save(raw_of(np.zeros((1, 500))), tmp_path / "plain_raw.fif")
    refuses(f"eeg:{plain}", "annotations that say what happened when, got none")


def test_other_channels_in_a_later_file_are_refused(tmp_path):
    save(raw_of(np.zeros((1, 500)), notes=[(2, 0, "go")], names=["Cz"]), tmp_path / "sub-1_raw.fif")
    save(raw_of(np.zeros((1, 500)), notes=[(2, 0, "go")], names=["Pz"]), tmp_path / "sub-2_raw.fif")
    with pytest.raises(DataError, match=r"sub-2_raw.fif: expected the channels Cz, as before, got Pz"):
        open_data(f"eeg:{tmp_path}")


def test_a_cut_recording_is_refused_and_so_is_one_that_is_too_large(edf, tmp_path):
    whole = next(edf.glob("sub-01/eeg/*.edf")).read_bytes()
    (tmp_path / "cut.edf").write_bytes(whole[:300])
    with pytest.raises(DataError, match="a whole EDF, BDF or FIF recording"):
        open_data(f"eeg:{tmp_path / 'cut.edf'}")
    with pytest.raises(DataError, match="a recording of at most"):
        open_eeg(edf, limit=1000)


def test_only_the_two_kinds_are_written(world, tmp_path):
    with pytest.raises(DataError, match=r"'.edf' or '.fif', got '.mat'"):
        write_recordings(world, tmp_path / "x", ".mat")
    assert len(ELECTRODES) == 3


def test_epochs_that_were_cut_before_come_from_an_archive(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 32, 3))
    np.savez(tmp_path / "a.npz", x=x, sex=np.array(list("fmfmf")), ids=np.array(list("abcde")))
    data = open_data(f"eeg:{tmp_path / 'a.npz'},tmin=-0.1,tmax=0.5")
    np.testing.assert_allclose(all_of(data), x.swapaxes(1, 2), rtol=1e-6)
    assert (data.span, data.channels[2]) == ((-0.1, 0.5), "channel 3")
    assert (data.ids(torch.tensor([1])), data.factors[0].labels) == (["b"], ("f", "m"))
    for name, arrays, says in (
        ("b", {"y": x}, "an array 'x', got y"),
        ("c", {"x": x[0]}, "x: expected epochs"),
        ("d", {"x": x * np.nan}, "finite numbers"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(DataError, match=says):
            open_data(f"eeg:{tmp_path / name}.npz")
