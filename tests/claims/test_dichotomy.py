"""What the claims on decisions measure, where the answer is known."""

import math

import pytest
import torch

from unbraid.claims.claim import Arm
from unbraid.claims.dichotomy import CLAIM, _information
from unbraid.claims.dichotomy_tabular import earned, gap, leakage
from unbraid.claims.scoring import Trained
from unbraid.core.config import override
from unbraid.core.method import At
from unbraid.data.made.decisions import bandit
from unbraid.methods.decision.dichotomy.neural import Dichotomy
from unbraid.methods.decision.dichotomy.tabular import TabularDichotomy
from unbraid.training.build import build


def test_codes_far_apart_tell_all_and_equal_ones_nothing():
    share = torch.tensor([0.3, 0.7]).double()
    mu, logvar = torch.tensor([[0.0], [80.0]]).double(), torch.zeros(2, 1).double()
    assert _information(mu, logvar, share) == pytest.approx(-0.3 * math.log(0.3) - 0.7 * math.log(0.7))
    assert _information(0 * mu, logvar, share) == pytest.approx(0, abs=1e-12)


def test_two_overlapping_codes_tell_what_their_integral_says():
    share = torch.tensor([0.3, 0.7]).double()
    x = torch.linspace(-20, 20, 20_001).double()
    one, two = (torch.exp(-0.5 * (x - m) ** 2 / v) / math.sqrt(2 * math.pi * v) for m, v in ((0.0, 1.0), (1.5, 4.0)))
    mixed = 0.3 * one + 0.7 * two
    exact = torch.trapezoid(0.3 * torch.xlogy(one, one / mixed) + 0.7 * torch.xlogy(two, two / mixed), x)
    found = _information(torch.tensor([[0.0], [1.5]]).double(), torch.tensor([[1.0], [4.0]]).double().log(), share)
    assert found == pytest.approx(float(exact), abs=0.02)


def test_tables_are_judged_exactly():
    data = bandit(0.25)
    method = build(TabularDichotomy, TabularDichotomy.Config(codes=2), data.fields)
    method.measure({"train": data}, At())
    with torch.no_grad():
        method.policy_logits[0] = 50 * torch.eye(2)
        method.value_logits[0] = torch.tensor([[0.0, 0.0], [-50.0, 50.0]])
        method.posterior_logits[0] = 50 * torch.eye(2)  # the code is the return
    arm = Trained(method, data)
    assert earned(arm) == pytest.approx(0.75)
    assert gap(arm) == pytest.approx(0.25)
    joint = method.joint[0].double()
    entropy = -(torch.xlogy(joint, joint / joint.sum(1, keepdim=True))).sum()
    assert leakage(arm) == pytest.approx(float(entropy), abs=1e-6)


def test_the_arms_are_the_presets_that_users_get():
    arms = {arm.name: arm for arm in CLAIM.arms}
    assert isinstance(arms["dichotomy"], Arm)
    quick = override(Dichotomy.Config(), Dichotomy.presets["quick"])
    assert override(Dichotomy.Config(), arms["dichotomy"].changes) == quick
