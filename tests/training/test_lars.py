import torch
from torch import nn

from unbraid.core.card import Card
from unbraid.core.fields import Field, Fields
from unbraid.core.method import At, Budget, Group, Method, NoOptions, Optim, Schedule, Stage, Update
from unbraid.training.schedules import factor
from unbraid.training.stepper import Stepper

OPTIM = Optim(
    "lars",
    lr=0.3,
    momentum=0.9,
    weight_decay=0.01,
    trust=0.002,
    groups=(Group("", dims=1, lr=0.05, weight_decay=0.0, trust=0.0),),
)


class Three(Method[NoOptions]):
    """A matrix, a vector, and a matrix of zeros under given gradients."""

    card = Card("three", "", "", 2000, "Nothing.")

    def __init__(self, gradients):
        super().__init__(NoOptions(), Fields(x=Field((1,))))
        self.matrix = nn.Parameter(torch.arange(6.0).reshape(2, 3) - 2)
        self.vector = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.zeros = nn.Parameter(torch.zeros(2, 2))
        self.gradients = gradients

    def stages(self):
        return [Stage("fit", [Update("fit", self.loss, lambda: [self], OPTIM)], Budget(steps=3))]

    def loss(self, batch, at):
        given = self.gradients[at.step]
        return {"given": sum((p * given[n]).sum() for n, p in self.named_parameters())}


def gradients():
    draw = torch.Generator().manual_seed(0)
    shapes = {"matrix": (2, 3), "vector": (2,), "zeros": (2, 2)}
    return [{n: torch.randn(s, generator=draw) for n, s in shapes.items()} for _ in range(3)]


def expected(start, slopes, lr, decay, trust):
    p, way = start.clone().double(), torch.zeros_like(start).double()
    for slope in slopes:
        g = slope.double() + decay * p
        if trust and p.norm() > 0 and g.norm() > 0:
            g = g * trust * p.norm() / g.norm()
        way = 0.9 * way + g
        p = p - lr * way
    return p.float()


def test_three_steps_by_the_formula_and_again_after_a_stop():
    given = gradients()
    method, again = Three(given), Three(given)
    start = {n: p.detach().clone() for n, p in method.named_parameters()}
    stepper = Stepper(method, method.stages()[0], seed=0, steps=3)
    for step in range(3):
        stepper.step({}, step)
        if step == 1:
            tensors, slots = {n: t.clone() for n, t in method.tensors().items()}, stepper.state()
            slots = {n: t.clone() for n, t in slots.items()}
    for name, p in method.named_parameters():
        lr, decay, trust = (0.05, 0.0, 0.0) if p.ndim == 1 else (0.3, 0.01, 0.002)
        torch.testing.assert_close(p.detach(), expected(start[name], [g[name] for g in given], lr, decay, trust))
    again.load_tensors(tensors)
    stepper = Stepper(again, again.stages()[0], seed=0, steps=3)
    stepper.load(slots)
    stepper.step({}, 2)
    assert all(torch.equal(t, again.tensors()[n]) for n, t in method.tensors().items())


def test_a_warm_up_by_share_may_start_at_zero():
    schedule = Schedule("cosine", share=0.1, zero=True, final=0.001)
    rates = [factor(schedule, At(step=s, steps=700)) for s in range(700)]
    assert rates[:3] == [0, 1 / 70, 2 / 70]
    assert rates[70] == 1
    assert rates[69] < 1
    assert abs(rates[385] - 0.5005) < 1e-9
