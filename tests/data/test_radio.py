"""The made world of transmitters: what is confounded, what is held out, and that items are what they say."""

import numpy as np
import pytest
import torch

from unbraid.core.errors import DataError
from unbraid.data.made.radio import CHANNELS, Radio, taps
from unbraid.ops.radio import fine_offset, phase_error, preamble, to_complex, unit_power


def world(**options):
    return Radio(**{"devices": 5, "unknown": 2, "captures": 4, "packets": 3, "samples": 320, **options})


def table_of(data):
    table = data.table(torch.arange(len(data)))
    return {f.name: table.column(f.name) for f in table.factors}


def packets(data, rows):
    return to_complex(data.take(torch.as_tensor(np.flatnonzero(rows)))["x"].double())


def test_splits_are_by_capture_and_unknown_devices_are_never_trained_on():
    data = world()
    t = table_of(data)
    train, validation = t["split"] == 0, t["split"] == 1
    assert len(data) == 5 * (4 + 7) * 3
    assert set(t["device"][train]) == set(t["device"][validation]) == {0.0, 1.0, 2.0}
    assert set(t["capture"][train]) == {0.0, 1.0}
    assert set(t["capture"][validation]) == {2.0}
    assert set(t["channel"][train | validation]) == {0.0}
    assert (np.isnan(t["capture"]) == (t["channel"] > 0)).all()
    paper = table_of(Radio(devices=3, unknown=1, captures=9, packets=1, samples=16))
    assert set(paper["capture"][paper["split"] == 0] + 1) == {1, 2, 3, 4}
    assert set(paper["capture"][paper["split"] == 1] + 1) == {5}


def test_the_same_options_give_the_same_bits_and_others_another_hash():
    one, two, other = world(), world(), world(seed=1)
    everything = torch.arange(len(one))
    assert torch.equal(one.take(everything)["x"], two.take(everything)["x"])
    assert not torch.equal(one.take(everything)["x"], other.take(everything)["x"])
    assert one.hash == two.hash != other.hash
    assert one.take(everything)["x"].dtype == torch.float32


def test_a_static_channel_lasts_a_capture_and_the_others_a_packet():
    data = world(snr=120.0)
    t = table_of(data)

    def apart(rows):
        x = packets(data, rows)
        return float((x[1:] - x[:1]).abs().square().mean())

    within, across, moving = [], [], []
    for device in range(5):
        mine = t["device"] == device
        within += [apart(mine & (t["capture"] == c)) for c in range(4)]
        across.append(apart(mine & (t["capture"] >= 0)))
        moving.append(apart(mine & (t["channel"] == CHANNELS.index("m1"))))
    assert max(within) < 0.01  # oscillators wander a little
    assert np.mean(across) > 4 * np.mean(within)
    assert np.mean(moving) > 0.1


def test_packets_have_their_power_phase_and_noise():
    clean, noisy = world(snr=120.0), world(snr=10.0)
    rows = np.ones(len(clean), bool)
    x, y = packets(clean, rows), packets(noisy, rows)
    torch.testing.assert_close(x.abs().square().mean(-1), torch.ones(len(x)).double(), atol=1e-4, rtol=0)
    assert phase_error(x, preamble(320)).abs().max() < 1e-5
    torch.testing.assert_close(y.abs().square().mean(), torch.tensor(1.1).double(), atol=0.02, rtol=0)


def test_raw_packets_keep_the_oscillator_of_their_device():
    data = world(raw=True, samples=1280, packets=4, snr=60.0)
    t = table_of(data)
    static = t["channel"] == 0
    x = unit_power(packets(data, static))
    spread = [float(fine_offset(x[t["device"][static] == d]).std()) for d in range(5)]
    assert max(spread) < 300
    assert float(phase_error(x, preamble(1280)).std()) > 0.5


@pytest.mark.parametrize(("kind", "count"), [*zip(CHANNELS, (2, 2, 3, 4, 5, 7, 13, 19), strict=True)])
def test_channels_are_what_they_are_called(kind, count):
    drawn = taps(kind, 4000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, count)
    assert (len(torch.view_as_real(drawn).unique(dim=0)) == 1) == (kind == "static")
    if kind == "static":
        return
    power = drawn.abs().square().mean(0)
    if kind.startswith("m"):
        assert float(power.sum()) == pytest.approx(1, abs=0.05)
    else:
        assert float(drawn[:, 0].abs().std()) < 1e-6
        first = {"los": -12.0, "r9": -9.0, "r6": -6.0, "r3": -3.0}[kind]
        assert float(10 * power[1].log10()) == pytest.approx(first, abs=0.4)


def test_worlds_that_cannot_be_are_refused():
    for options, message in (
        ({"devices": 3}, "known devices"),
        ({"unknown": -1}, "known devices"),
        ({"captures": 0}, "captures"),
        ({"samples": 4}, "samples"),
        ({"snr": 1e9}, "decibels"),
        ({"packets": 10**6}, "at most 2.0 GiB"),
    ):
        with pytest.raises(DataError, match=message):
            world(**options)
