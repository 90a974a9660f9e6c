"""The facts about sparse autoencoders that need no training, or next to none."""

from __future__ import annotations

from unbraid.claims.sae import CLAIM, _splitting, _steps
from unbraid.claims.verdict import judge_gate
from unbraid.methods.inside.dictionaries.sae import SAE


def test_gates_hold() -> None:
    for gate in (*_splitting(), *_steps(SAE)):
        assert judge_gate(gate) == "holds", gate


def test_every_contrast_is_between_arms_that_are_there() -> None:
    names = {arm.name for arm in CLAIM.arms}
    assert {arm for contrast in CLAIM.contrasts for arm in contrast.arms} == names
