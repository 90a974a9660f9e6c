import pytest
import torch

from unbraid.nets.masked import MaskedEncoder, masked_prediction, spans
from unbraid.nets.wave import CepstralFilter, HarmonicSource, WaveCritics, WaveUNet


def test_the_generator_as_published():
    net = WaveUNet(1024, (1, 2))
    assert net.hop == 480
    assert [b.first.out_channels for b in net.blocks] == [384, 192, 96, 48, 24]
    assert [b.factor for b in net.blocks] == [2, 3, 4, 4, 5]
    for path, channels in zip(net.paths, (1, 2), strict=True):
        assert (path.before.in_channels, path.before.out_channels, path.before.kernel_size) == (channels, 24, (5,))
        assert [b.factor for b in path.blocks] == [5, 4, 4, 3]
        assert [b.residual.out_channels for b in path.blocks] == [48, 96, 192, 384]
        assert [f.scale.out_channels for f in path.films] == [24, 48, 96, 192, 384]
    assert [c.dilation[0] for c in (net.blocks[0].first, *net.blocks[0].modulated)] == [1, 3, 9, 27]
    kernel = net.blocks[4].first.weight.flatten(1)
    torch.testing.assert_close(kernel @ kernel.T, torch.eye(24), atol=1e-5, rtol=0)


@pytest.mark.parametrize("factors", [(2, 3), (2, 4, 4, 5)])
def test_frames_become_samples_and_every_condition_counts(factors):
    net = WaveUNet(6, (1, 2), width=32, factors=factors)
    frames, count = torch.randn(2, 7, 6), 7 * net.hop
    conditions = [torch.randn(2, 1, count, requires_grad=True), torch.randn(2, 2, count, requires_grad=True)]
    made = net(frames, conditions)
    assert made.shape == (2, count)
    for slope in torch.autograd.grad(made.square().sum(), conditions):
        assert slope.abs().sum() > 0


def test_the_source_follows_the_pitch_and_stays_within_bounds():
    source = HarmonicSource(3, 8000, 80, width=16, cepstrum=14, fft=64)
    f0 = torch.cat([torch.full((1, 10), 100.0), torch.zeros(1, 10)], 1)
    out = source(torch.randn(1, 20, 3), f0, torch.randn(1, 1600))
    assert out.shape == (1, 2, 1600)
    assert out[0, 0, 900:].abs().max() == 0, "no harmonics without a pitch"
    assert out[0, 1, 1000:].abs().max() > 0, "but noise"
    assert out[:, 1].abs().max() <= 1


def test_filters_as_published():
    net = CepstralFilter(1025, 240)
    shapes = [tuple(c.weight.shape) for c in net.convs]
    assert shapes == [(256, 1025, 3), (256, 32, 3), (256, 32, 3), (256, 32, 3), (222, 256, 3)]
    assert net.distances[[0, 110, 111, 221]].tolist() == [111, 1, 1, 111]


def test_critics_as_published():
    critics = WaveCritics()
    values = critics(torch.randn(2, 8192))
    assert [tuple(v.shape) for v in values] == [(2, 1, 32), (2, 1, 16), (2, 1, 8)]
    convs = [m for m in critics.critics[0].modules() if isinstance(m, torch.nn.Conv1d)]
    assert [c.out_channels for c in convs] == [16, 64, 256, 1024, 1024, 1024, 1]
    assert [c.groups for c in convs] == [1, 4, 16, 64, 256, 1, 1]
    assert [c.kernel_size[0] for c in convs] == [15, 41, 41, 41, 41, 5, 3]


def test_hidden_frames_are_not_seen_and_padding_does_not_matter():
    net = MaskedEncoder(5, width=16, depth=2, heads=2, classes=4, reach=3).eval()
    frames, masked = torch.randn(1, 8, 5), torch.zeros(1, 8, dtype=torch.bool)
    masked[0, 2:4] = True
    other = frames.clone()
    other[0, 2:4] += 3
    torch.testing.assert_close(net(frames, masked=masked)[-1], net(other, masked=masked)[-1])
    assert not torch.allclose(net(frames)[-1], net(other)[-1])
    valid = torch.arange(12)[None] < 8
    longer = torch.cat([frames, torch.randn(1, 4, 5)], 1)
    torch.testing.assert_close(net(longer, valid)[-1][:, :8], net(frames)[-1], atol=1e-5, rtol=1e-5)


def test_spans_and_the_prediction_by_hand():
    starts = torch.zeros(1, 9, dtype=torch.bool)
    starts[0, [1, 7]] = True
    assert spans(starts, 3)[0].nonzero()[:, 0].tolist() == [1, 2, 3, 7, 8]
    logits, classes = torch.randn(1, 4, 3), torch.tensor([[0, 1, 2, 0]])
    masked = torch.tensor([[True, False, True, False]])
    theirs = torch.nn.functional.cross_entropy(logits[0, [0, 2]], classes[0, [0, 2]])
    torch.testing.assert_close(masked_prediction(logits, classes, masked), theirs)
    assert masked_prediction(logits, classes, torch.zeros_like(masked)) == 0
