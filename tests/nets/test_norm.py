import threading

import pytest
import torch

from unbraid.core.method import Alone
from unbraid.nets.norm import BatchNorm, BatchStandardise, moments, together
from unbraid.testing.contract import _sides


def in_two(work):
    """What two processes compute side by side, played by threads."""
    found = [None, None]
    sides = _sides()

    def one(rank):
        found[rank] = work(rank, sides[rank])

    threads = [threading.Thread(target=one, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("shape", [(8, 5), (8, 5, 4, 3)])
def test_two_processes_normalise_as_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    whole, parts = BatchNorm(5), [BatchNorm(5), BatchNorm(5)]
    torch.nn.init.normal_(whole.weight)
    for part in parts:
        part.load_state_dict(whole.state_dict())
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]

    def work(rank, world):
        with together(world):
            return parts[rank](inputs[1][rank * 4 : rank * 4 + 4])

    one, two = whole(inputs[0]), torch.cat(in_two(work))
    torch.testing.assert_close(one, two)
    for out, given in ((one, inputs[0]), (two, inputs[1])):
        (out.square() * torch.arange(8.0).view(-1, *[1] * (len(shape) - 1))).sum().backward()
        assert given.grad.abs().max() > 0.1
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for part in parts:
        for name, buffer in whole.named_buffers():
            torch.testing.assert_close(buffer, part.get_buffer(name))


def test_alone_and_in_eval_mode_it_is_torchs():
    x = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    ours, theirs = BatchNorm(3), torch.nn.BatchNorm1d(3)
    for train in (True, False):
        assert torch.equal(ours.train(train)(x), theirs.train(train)(x))
    with together(_sides()[0]):
        assert torch.equal(ours(x), theirs(x))


def test_standardised_columns_have_biased_variance_one_whatever_their_scale():
    z = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    out = BatchStandardise()(z, Alone())
    torch.testing.assert_close(out.mean(0), torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(out.square().mean(0), torch.ones(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(out, BatchStandardise()(z * 5 - 2, Alone()), rtol=0, atol=1e-4)
    halves = in_two(lambda rank, world: moments(z[:6][rank * 3 : rank * 3 + 3], world))
    torch.testing.assert_close(halves[0][1], z[:6].var(0, unbiased=False))
