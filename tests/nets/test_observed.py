import torch

from unbraid.core.fields import Field
from unbraid.core.method import At
from unbraid.data.dataset import MemoryDataset
from unbraid.nets.observed import Observed


def measured(x):
    data = MemoryDataset("made", x)
    observed = Observed(data.fields["x"])
    observed.measure({"train": data}, At())
    return observed


def test_vectors_are_standardised_column_by_column_and_back():
    torch.manual_seed(0)
    x = torch.randn(5000, 3) * torch.tensor([1e-4, 1.0, 300.0]) + torch.tensor([0.0, -5.0, 1e5])
    observed = measured(x)
    torch.testing.assert_close(observed(x).mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(observed(x).std(0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(observed.restore(observed(x)), x)


def test_images_are_standardised_channel_by_channel():
    torch.manual_seed(0)
    x = torch.randn(200, 2, 16, 16) * torch.tensor([3.0, 0.5])[:, None, None] + 7
    observed = measured(x)
    assert observed.mean.shape == (2, 1, 1)
    torch.testing.assert_close(observed.scale.flatten(), torch.tensor([3.0, 0.5]), atol=0, rtol=0.02)
    torch.testing.assert_close(observed.restore(observed(x)), x)


def test_series_are_standardised_channel_by_channel():
    torch.manual_seed(0)
    observed = measured(torch.randn(200, 2, 30) * torch.tensor([3.0, 0.5])[:, None] - 4)
    assert observed.scale.shape == (2, 1)
    torch.testing.assert_close(observed.scale.flatten(), torch.tensor([3.0, 0.5]), atol=0, rtol=0.02)


def test_constant_columns_stay_finite_and_measuring_twice_changes_nothing():
    x = torch.stack([torch.full((50,), 0.7), torch.zeros(50), torch.arange(50.0)], 1)
    data = MemoryDataset("made", x)
    observed = Observed(data.fields["x"])
    observed.measure({"train": data}, At())
    once = {name: t.clone() for name, t in observed.state_dict().items()}
    observed.measure({"train": data}, At())
    assert all(torch.equal(once[name], t) for name, t in observed.state_dict().items())
    assert once["scale"].tolist()[:2] == [1.0, 1.0]


def test_values_in_the_unit_interval_come_out_of_a_sigmoid():
    observed, x, logits = Observed(Field((4,), unit=True)), torch.rand(3, 4), torch.randn(3, 4)
    assert not observed.state_dict()
    assert observed(x) is x
    torch.testing.assert_close(observed.restore(logits), logits.sigmoid())


def test_measuring_for_a_device_without_float64():
    """Nothing but the taking of batches may touch such a device; here there is none that could be touched."""
    data = MemoryDataset("made", torch.rand(40, 3) * 7)
    on_cpu, away = Observed(data.fields["x"]), Observed(data.fields["x"])
    on_cpu.measure({"train": data}, At())
    data.take, take = lambda indices, device: take(indices), data.take
    away.measure({"train": data}, At(device=torch.device("mps")))
    assert torch.equal(away.mean, on_cpu.mean)
    assert torch.equal(away.scale, on_cpu.scale)
