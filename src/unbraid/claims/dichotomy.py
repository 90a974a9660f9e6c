"""The Dichotomy of Control with networks: it promises what it earns, where luck decides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unbraid.claims.claim import Arm, Claim, Contrast, Metric
from unbraid.claims.scoring import Trained
from unbraid.losses.gaussian import sample
from unbraid.methods.decision.dichotomy.neural import Dichotomy
from unbraid.methods.decision.return_bc import ReturnBC

_EPISODES, _DRAWS = 4000, 2000
_OURS = Dichotomy.presets["quick"]


def _played(arm: Trained) -> Any:
    method: Any = arm.method
    world: Any = arm.data
    return method.obtain(world.environment, "best", _EPISODES)


def obtained(arm: Trained) -> float:
    """Mean return of 4,000 episodes played for the best."""
    return float(_played(arm).obtained)


def gap(arm: Trained) -> float:
    """How far what is promised at the first step is from what is obtained."""
    got = _played(arm)
    return abs(float(got.promised - got.obtained))


def leakage(arm: Trained) -> float:
    """MI(z; reward | action) over the pulls, from the densities of the posteriors, which only see these two."""
    method: Any = arm.method
    batch = arm.data.take(torch.arange(len(arm.data)))
    action, reward = (batch[name][:, 0].long() for name in ("action", "reward"))
    with torch.no_grad():
        mu, logvar = (s.double() for s in method.posterior_of(batch))
    found = 0.0
    for pulled in (0, 1):
        rows = [((action == pulled) & (reward == r)).nonzero()[:, 0] for r in (0, 1)]
        share = torch.tensor([len(r) for r in rows]).double() / len(action)
        first = torch.stack([r[0] for r in rows])
        found += float(share.sum()) * _information(mu[first], logvar[first], share / share.sum())
    return found


def _information(mu: Tensor, logvar: Tensor, share: Tensor) -> float:
    """The mean log ratio of each of some Gaussians to their mixture, over draws from each."""
    noise = torch.randn((len(mu), _DRAWS, mu.shape[1]), generator=torch.Generator().manual_seed(0), dtype=mu.dtype)
    z = sample(mu[:, None], logvar[:, None], noise)
    far = (z[:, None] - mu[:, None]).square() / logvar.exp()[:, None]  # (drawn from, under, draws, latents)
    logs = -0.5 * (far + logvar[:, None]).sum(-1)
    mixed = torch.logsumexp(logs + share.log()[:, None], 1)
    return float((share * (logs.diagonal().T - mixed).mean(1)).sum())


CLAIM = Claim(
    method="dichotomy",
    task=(
        "The `bandit` with p 0.1: 1,000 pulls, 90 % of them of the arm that pays 1 in 10 times, the others of the one "
        "that pays 9 in 10. The preset `quick`: one block of width 32, four latents, 600 steps of 256 windows."
    ),
    data="bandit",
    arms=(
        Arm("dichotomy", "dichotomy", _OURS),
        Arm("released", "dichotomy", {**_OURS, "quirks": "released_sign,joint_value"}),
        Arm("by return", "return-bc", ReturnBC.presets["quick"]),
    ),
    contrasts=(
        Contrast(
            "Asked for the best it pulls the better arm, as far as drawn codes and actions let it.",
            "obtained",
            "dichotomy",
            0.9,
            expect="same",
            margin=0.1,
        ),
        Contrast("It promises what it obtains.", "gap", "dichotomy", 0.0, expect="same", margin=0.15),
        Contrast(
            "It obtains more than the policy that is asked for the highest return, which pulls either arm.",
            "obtained",
            "dichotomy",
            "by return",
            margin=0.2,
        ),
        Contrast("Its code tells nothing of luck.", "leakage", "dichotomy", 0.0, expect="same", margin=0.01),
        Contrast(
            "The code of the released program does: there f and the encoder help each other.",
            "leakage",
            "dichotomy",
            "released",
            margin=0.1,
        ),
        Contrast("What the released program obtains.", "obtained", "dichotomy", "released", expect="report"),
        Contrast("How far its promises are off.", "gap", "dichotomy", "released", expect="report"),
    ),
    metrics={
        "obtained": Metric("Mean return of 4,000 episodes played for the best.", obtained),
        "gap": Metric("Distance of what is promised from what is obtained.", gap, more=False),
        "leakage": Metric("MI(z; reward | action) in nats, from the densities of the posteriors.", leakage, more=False),
    },
    note=(
        "A single Gaussian is the prior of two kinds of codes, one for each arm; weighing KL(q || p) as the released "
        "program does keeps them close enough for a hundred draws to find the rarer kind. The paper's curves on "
        "FrozenLake and on Gym with added noise are not reproduced here: frozen-lake with the full network, 10,000 "
        "steps and five seeds on an accelerator would decide the first."
    ),
)
