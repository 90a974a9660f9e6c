"""The Dichotomy of Control with networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Optim, Stage, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.control import contrast
from unbraid.losses.gaussian import kl, sample
from unbraid.methods.decision.acting import Choice
from unbraid.methods.decision.reading import ACTION, STATE, Reader, last
from unbraid.methods.decision.sequence import ADAMW, QUICK, SequenceActor, SequenceOptions, before, some
from unbraid.nets.mlp import mlp

QUIRKS = ("released_sign", "joint_value")
Gaussian = tuple[Tensor, Tensor]


class Dichotomy(SequenceActor["Dichotomy.Config"]):
    """Descends E[-sum_t log pi(a_t|h_t,z)] + beta I(f), where f ascends I(f) (Yang et al., 2023, eq. 4, 6).

    1. Draw z from q(z|tau), tau the actions, rewards and states from the present step on. 2. f tells each reward and
    next state of tau from those of other windows, by z, history and action: ascend I(f), z held. 3. Encoder and policy
    imitate all actions of tau, and the encoder makes f's task impossible. 4. On the side, a value and a prior learn
    V(h,z) and p(z|h) from codes that stay as they are. To act (algorithm 1): draw codes from the prior, take the one
    that promises most.

    Every update reads trajectories with a network of its own. A step begins with the reward of the step before, since
    its own comes after the action.

    Source:
        google-research, dichotomy_of_control, models/stochastic_decision_transformer.py.
    """

    card = Card(
        name="dichotomy",
        title="Dichotomy of Control: Separating What You Can Control from What You Cannot",
        paper="arXiv:2210.13435",
        year=2023,
        number=46,
        modality=("trajectory",),
        example="gamble-chain",
        tiny="gamble-chain:length=3,episodes=20",
        needs=("state", "action", "reward", "togo", "time", "valid", "length"),
        summary="A policy asked by a code of the future that holds what was decided and nothing of what chance did.",
        claim="Asked for the best it earns what it promises, and more than a policy that is asked by the return.",
    )
    aliases = {"future-vae": {"beta": 0.0}}
    about = {"future-vae": "A policy asked by a code of the future, which may also hold what chance decides."}
    scaffold = ("future", "posterior_head", "energy")
    presets = {
        "tiny": {"width": 8, "layers": 1, "hidden": 8, "latents": 3, "batch": 8, "steps": 3},
        "quick": {**QUICK, **{f"energy_{name}": QUICK[name] for name in QUICK if "optim" in name}, "latents": 4},
    }

    @dataclass(frozen=True)
    class Config(SequenceOptions):
        """Options of the neural method.

        Attributes:
            latents: Numbers in z.
            beta: Weight of the information about rewards and next states.
            kl: Weight of KL(q || p), mean over the numbers of z, on the encoder.
            candidates: Codes that are drawn from the prior to choose one.
            energy_steps: Ascents of f in each step.
            energy_optim: How f moves.
            quirks: Of the released program: "released_sign" descends -I(f) on encoder and f alike, "joint_value" lets
                the value's loss move the encoder.
        """

        latents: int = told(32, by="code")
        beta: float = told(1.0, by="code")
        kl: float = told(1.0, by="code")
        candidates: int = told(100, by="code")
        energy_steps: int = told(1, by="ours")
        energy_optim: Optim = told(replace(ADAMW, lr=5e-4), by="ours")
        quirks: frozenset[str] = told(frozenset(), by="ours")

        counts = (*SequenceOptions.counts, "latents", "candidates", "energy_steps")

        def __post_init__(self) -> None:
            super().__post_init__()
            if unknown := self.quirks - {*QUIRKS}:
                raise ConfigError("quirks among " + ", ".join(QUIRKS), got=", ".join(sorted(unknown)), where="quirks")

    def __init__(self, config: Dichotomy.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        w, h, z = config.width, config.hidden, config.latents
        self.tau = slice(self.past - 1, self.past + self.ahead - 1)
        self.future, self.posterior_head = self.reader(), nn.Linear(w, 2 * z)
        self.history, self.policy_head = self.reader(), mlp((w + z, h, h, self.numbers["action"]))
        self.side, self.prior_head, self.value_head = self.reader(), nn.Linear(w, 2 * z), mlp((w + z, h, h, 1))
        self.energy = Energy(self.reader(), w + z, self.numbers["state"] + 2, h, w)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("controllable", "vec", (self.config.latents,), carries=("action",), free_of=("luck",)),)

    def stages(self) -> Sequence[Stage]:
        c = self.config
        encoder = [self.future, self.posterior_head, self.history, self.policy_head]
        side = Update("side", self.side_loss, lambda: [self.side, self.prior_head, self.value_head], c.optim)
        if "released_sign" in c.quirks:
            return [self.stage(Update("imitate", self.released_loss, lambda: [*encoder, self.energy], c.optim), side)]
        energy = Update("energy", self.energy_loss, lambda: [self.energy], c.energy_optim, times=c.energy_steps)
        return [self.stage(energy, Update("imitate", self.loss, lambda: encoder, c.optim), side)]

    def energy_loss(self, batch: Batch, at: At) -> Terms:
        """What f descends: -I(f), of codes that stay as they are."""
        z, _ = self._code(batch, at)
        return {"told": -self.information(batch, z.detach(), at)}

    def loss(self, batch: Batch, at: At) -> Terms:
        """What encoder and policy descend."""
        return self._imitation(batch, at, sign=1.0)

    def released_loss(self, batch: Batch, at: At) -> Terms:
        """What the released program descends on encoder, policy and f."""
        return self._imitation(batch, at, sign=-1.0)

    def side_loss(self, batch: Batch, at: At) -> Terms:
        """What value and prior descend, which move nothing else."""
        z, q = self._code(batch, at)
        context, prior = self.expected(at.once("steps", lambda: self.numbers_of(batch)))
        held = q[0].detach(), q[1].detach()
        return {"value": self._value_loss(batch, context, z.detach()), "prior": kl(*held, *prior).mean(1)}

    def _imitation(self, batch: Batch, at: At, sign: float) -> Terms:
        c, now = self.config, self.tau
        z, q = self._code(batch, at)
        steps = at.once("steps", lambda: self.numbers_of(batch))
        read = self.history(some(steps, slice(now.stop)), before(steps["reward"])[:, : now.stop])[:, now, STATE]
        output = self.policy_head(_beside(read, z))
        told = self.information(batch, z, at)
        with torch.no_grad():
            context, prior = self.expected(steps)
        at.note(information=told.mean())
        terms: dict[str, Tensor | tuple[float, Tensor]] = {
            "action": self.action_loss(output, batch, now).sum(1),
            "information": (sign * c.beta, told),
            "kl": (c.kl, kl(*q, *prior).mean(1)),
        }
        if "joint_value" in c.quirks:
            terms["value"] = self._value_loss(batch, context, z)
        return terms

    def _value_loss(self, batch: Batch, context: Tensor, z: Tensor) -> Float[Tensor, " batch"]:
        value = self.value_head(torch.cat([context, z], -1))[:, 0]
        error: Tensor = value - self.scaled(batch["togo"][:, self.past - 1])
        return error.square()

    def information(self, batch: Batch, z: Float[Tensor, "batch latents"], at: At) -> Float[Tensor, " batch"]:
        """I(f) of each window, summed over the steps of its future; other windows give the outcomes to compare with."""
        steps, now = at.once("steps", lambda: self.numbers_of(batch)), self.tau
        queries, keys = self.energy(steps, z, now)
        valid = batch["valid"][:, now]
        keys, real = at.world.gather(keys), at.world.gather(valid)
        scores = torch.einsum("bkd,ckd->kbc", queries, keys) / keys.shape[-1] ** 0.5
        return contrast(scores, real.T, at.world.rank * len(z)).sum(0)

    # ---------------------------------------------------------------------------------------------------- the networks

    def posterior_of(self, batch: Batch) -> Gaussian:
        """Mean and log variance of q(z | tau)."""
        steps = some(self.numbers_of(batch), self.tau)
        mu, logvar = self.posterior_head(last(self.future(steps, steps["reward"]), steps["valid"])).chunk(2, -1)
        return mu, logvar

    def expected(self, steps: dict[str, Tensor]) -> tuple[Tensor, Gaussian]:
        """What value and prior read of the history, and mean and log variance of p(z | h)."""
        context = self._present(self.side, steps)
        mu, logvar = self.prior_head(context).chunk(2, -1)
        return context, (mu, logvar)

    def _present(self, reader: nn.Module, steps: dict[str, Tensor]) -> Float[Tensor, "batch width"]:
        """What is known at the present state, before its action."""
        read: Tensor = reader(some(steps, slice(self.past)), before(steps["reward"])[:, : self.past])
        return read[:, -1, STATE]

    def _code(self, batch: Batch, at: At) -> tuple[Tensor, Gaussian]:
        """The code of each window, drawn once for all updates of a step."""

        def draw() -> tuple[Tensor, Gaussian]:
            mu, logvar = self.posterior_of(batch)
            return sample(mu, logvar, at.randn(mu.shape)), (mu, logvar)

        drawn: tuple[Tensor, Gaussian] = at.once("code", draw)
        return drawn

    # ---------------------------------------------------------------------------------------------------- what it does

    def encode(self, batch: Batch) -> Parts:
        return Parts(controllable=self.posterior_of(batch)[0])

    def posterior(self, batch: Batch) -> tuple[Parts, Parts]:
        """Mean and log variance of each code."""
        mu, logvar = self.posterior_of(batch)
        return Parts(controllable=mu), Parts(controllable=logvar)

    def choose(self, history: Batch, ask: Float[Tensor, " batch"] | None, generator: torch.Generator) -> Choice:
        steps = self.numbers_of(history)
        context, (mu, logvar) = self.expected(steps)
        shape = (len(mu), self.config.candidates, mu.shape[1])
        noise = torch.randn(shape, generator=generator).to(mu.device)
        codes = sample(mu[:, None], logvar[:, None], noise)
        values = self.value_head(_beside(context[:, None].expand(*shape[:2], -1), codes))[..., 0]
        values = values * self.togo_scale + self.togo_mean
        wish = values if ask is None else -(values - ask[:, None]).abs()
        best = wish.argmax(1, keepdim=True)
        z = codes.gather(1, best[..., None].expand(-1, 1, shape[2]))[:, 0]
        output = self.policy_head(torch.cat([self._present(self.history, steps), z], -1))
        return Choice(self.drawn(output, generator), values.gather(1, best)[:, 0])


class Energy(nn.Module):
    """f(r, s', z, h, a): the inner product of two perceptrons, one of z, history and action, one of the outcome.

    Args:
        reader: Reads history and action.
        query: Numbers of what it reads and z.
        outcome: Numbers of reward, next state and end.
        hidden: Width of the hidden layers.
        width: Numbers of the inner product.
    """

    def __init__(self, reader: Reader, query: int, outcome: int, hidden: int, width: int) -> None:
        super().__init__()
        self.reader = reader
        self.query, self.key = mlp((query, hidden, hidden, width)), mlp((outcome, hidden, hidden, width))

    def forward(
        self, steps: dict[str, Tensor], z: Float[Tensor, "batch latents"], now: slice
    ) -> tuple[Float[Tensor, "batch k width"], Float[Tensor, "batch k width"]]:
        """Queries and keys of the steps `now`."""
        read = self.reader(some(steps, slice(now.stop)), before(steps["reward"])[:, : now.stop])[:, now, ACTION]
        after = slice(now.start + 1, now.stop + 1)
        goes_on = steps["valid"][:, after, None]
        outcome = torch.cat([steps["reward"][:, now, None], steps["state"][:, after] * goes_on, goes_on], -1)
        return self.query(_beside(read, z)), self.key(outcome)


def _beside(read: Float[Tensor, "batch k width"], z: Tensor) -> Float[Tensor, "batch k both"]:
    """Each step's reading with the code of its window (B, Z), or with its own (B, K, Z)."""
    z = z[:, None].expand(-1, read.shape[1], -1) if z.ndim == 2 else z
    return torch.cat([read, z], -1)
