"""Heads, prototypes, centres and queues."""

import torch
from torch.nn import functional

from unbraid.nets.heads import Centre, PrototypeHead, Prototypes, Queue, projector
from unbraid.nets.patch_decoder import PatchDecoder
from unbraid.nets.vit import Tokens


def test_a_normalised_last_layer_has_no_scale_to_learn():
    head = projector(6, (8, 4), last_norm=True)
    out = head(torch.randn(32, 6))
    torch.testing.assert_close(out.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    assert len(list(head[-1].parameters())) == 0


def test_prototypes_are_cosines_and_frozen_ones_do_not_move():
    prototypes, z = Prototypes(5, 3), torch.randn(4, 5)
    with torch.no_grad():
        prototypes.weight.mul_(3)
    expected = functional.cosine_similarity(z[:, None], prototypes.weight[None], dim=2)
    torch.testing.assert_close(prototypes(z), expected)
    z = z.requires_grad_()
    free = torch.autograd.grad(prototypes(z).sum(), (z, prototypes.weight), allow_unused=True)
    frozen = torch.autograd.grad(prototypes(z, frozen=True).sum(), (z, prototypes.weight), allow_unused=True)
    assert free[1] is not None
    assert frozen[1] is None
    torch.testing.assert_close(free[0], frozen[0])


def test_weights_come_back_to_the_sphere_where_they_are_not_divided():
    prototypes, z = Prototypes(5, 3, unit=False), torch.randn(4, 5)
    before = prototypes(z)
    with torch.no_grad():
        prototypes.weight.mul_(2)
    torch.testing.assert_close(prototypes(z), 2 * before)
    prototypes.unit_()
    torch.testing.assert_close(prototypes(z), before)


def test_the_head_is_a_perceptron_with_prototypes():
    head, x = PrototypeHead(6, 7, hidden=8, bottleneck=4), torch.randn(5, 6)
    a, b, c = (layer for layer in head.mlp if hasattr(layer, "weight"))
    z = c(functional.gelu(b(functional.gelu(a(x)))))
    expected = functional.normalize(z, dim=1) @ functional.normalize(head.prototypes.weight, dim=1).T
    torch.testing.assert_close(head(x), expected)


def test_the_centre_is_taken_out_before_and_moved_after():
    centre, t = Centre(3, keep=0.9), torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    torch.testing.assert_close(centre(t, 0.5), (t / 0.5).softmax(1))
    centre.follow(t.mean(0))
    torch.testing.assert_close(centre.mean, torch.tensor([0.2, 0.0, 0.1]))
    torch.testing.assert_close(centre(t, 0.5), ((t - centre.mean) / 0.5).softmax(1))


def test_a_queue_keeps_the_newest():
    queue = Queue(5, 2)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(5))
    for start in (0, 3, 6, 9):
        queue.push(torch.arange(start, start + 3.0)[:, None].expand(-1, 2))
    assert sorted(queue.rows[:, 0].tolist()) == [7, 8, 9, 10, 11]
    queue.push(torch.arange(7.0)[:, None].expand(-1, 2))
    assert sorted(queue.rows[:, 0].tolist()) == [2, 3, 4, 5, 6]


def test_the_decoder_puts_tokens_where_they_came_from():
    decoder = PatchDecoder(6, (2, 2), 12, width=8, depth=2, heads=2).eval()
    cls, patches = torch.randn(3, 6), torch.randn(3, 4, 6)
    whole = decoder(Tokens(cls, patches))
    order = torch.tensor([2, 0, 3, 1])
    again = decoder(Tokens(cls, patches[:, order]), order.argsort().expand(3, -1))
    torch.testing.assert_close(again, whole)
    few = decoder(Tokens(cls, patches[:, order[:1]]), order.argsort().expand(3, -1))
    assert few.shape == whole.shape
    assert not torch.allclose(few, whole)
