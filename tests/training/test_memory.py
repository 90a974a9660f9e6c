import torch
from torch import nn

from unbraid.training.memory import peak_saved_bytes


def test_a_tensor_that_two_operations_keep_counts_once_and_weights_do_not():
    w, x = torch.ones(8, 8, requires_grad=True), torch.ones(4, 8, requires_grad=True)

    def step():
        y = x @ w  # keeps x; w only where x has a gradient
        return torch.autograd.grad((y.square() + y.pow(3)).sum(), w)  # both keep y

    assert peak_saved_bytes(step, [w]) == 4 * 8 * 4 * 2
    assert peak_saved_bytes(step) == 4 * 8 * 4 * 2 + 8 * 8 * 4


def test_graphs_that_do_not_live_together_are_not_added():
    layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(4))

    def whole():
        h = torch.ones(16, 8)
        for layer in layers:
            h = layer(h)
        torch.autograd.grad(h.sum(), list(layers.parameters()))

    def apart():
        h = torch.ones(16, 8)
        for layer in layers:
            out = layer(h)
            torch.autograd.grad(out.sum(), list(layer.parameters()))
            h = out.detach()
            del out

    one = 16 * 8 * 4
    assert peak_saved_bytes(whole, layers.parameters()) == 5 * one
    assert peak_saved_bytes(apart, layers.parameters()) == 2 * one
