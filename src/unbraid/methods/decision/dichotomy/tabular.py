"""The Dichotomy of Control with tables for networks and exact expectations for samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.card import Card, told
from unbraid.core.errors import ConfigError
from unbraid.core.fields import Batch, Fields
from unbraid.core.method import At, Optim, Stage, Terms, Update
from unbraid.core.parts import Parts, PartSpec
from unbraid.losses.control import conditional_information, table_contrast
from unbraid.methods.decision.acting import Choice
from unbraid.methods.decision.tables import TableActor, TableOptions, table

QUIRKS = ("released_sign", "joint_value")
_GOLDEN = (5**0.5 - 1) / 2


class TabularDichotomy(TableActor["TabularDichotomy.Config"]):
    """Descends E[-log pi(a|s,z)] + beta I(f), where f ascends I(f), over few states (Yang et al., 2023, eq. 4, 6).

    1. f tells return from code: ascend I(f) with the posterior q(z|s,a,R) held. 2. Posterior and policy imitate, and
    the posterior makes f's task impossible. 3. On the side, value and prior learn E[R|s,z] and p(z|s) of the codes.
    To act: of the codes that the prior finds plausible, take the one that promises most.

    Every expectation over z is exact. The released program descends the sum of all its losses on all of its tables: f
    and the posterior help each other (quirk "released_sign"), and the value, too, pulls the return into the code
    ("joint_value").

    Source:
        google-research, dichotomy_of_control, models/tabular_sdt.py.
    """

    card = Card(
        name="dichotomy-tabular",
        title="Dichotomy of Control: Separating What You Can Control from What You Cannot",
        paper="arXiv:2210.13435",
        year=2023,
        number=46,
        modality=("trajectory",),
        example="gamble-chain",
        tiny="gamble-chain:length=3,episodes=20",
        needs=("state", "action", "reward", "togo", "length"),
        summary="A policy over few states, asked by a code of the future that holds what was decided and no luck.",
        claim="Asked for the best it earns what it promises, and its code tells nothing of luck.",
    )
    scaffold = ("energy",)
    presets = {
        "tiny": {"batch": 8, "steps": 3},
        "quick": {"batch": 1000, "steps": 1500, "optim.lr": 0.02, "energy_optim.lr": 0.1},
    }

    @dataclass(frozen=True)
    class Config(TableOptions):
        """Options of the tabular method.

        Attributes:
            codes: Values of z; none takes one for each pair of action and bin.
            beta: Weight of the information about the return.
            kl: Weight of KL(q || p) on the posterior, which keeps codes in use that the prior expects.
            plausible: The least chance under the prior of a code that may be asked for.
            energy_steps: Ascents of f in each step.
            energy_optim: How f moves.
            quirks: Of the released program: "released_sign" descends -I(f) on posterior and f alike, "joint_value" lets
                the value's loss move the posterior.
        """

        codes: int | None = told(None, by="code")
        beta: float = told(1.0, by="code")
        kl: float = told(0.05, by="ours")
        plausible: float = told(0.02, by="ours")
        energy_steps: int = told(2, by="ours")
        energy_optim: Optim = told(Optim("adam", lr=5e-2), by="ours")
        quirks: frozenset[str] = told(frozenset(), by="ours")

        counts = (*TableOptions.counts, "energy_steps")

        def __post_init__(self) -> None:
            super().__post_init__()
            if unknown := self.quirks - {*QUIRKS}:
                raise ConfigError("quirks among " + ", ".join(QUIRKS), got=", ".join(sorted(unknown)), where="quirks")
            if not 0 <= self.plausible < 1:
                raise ConfigError("a chance from 0 to below 1", got=f"{self.plausible:g}", where="plausible")

    def __init__(self, config: TabularDichotomy.Config, fields: Fields) -> None:
        super().__init__(config, fields)
        s, a, r = self.states, self.actions, config.bins
        self.codes = config.codes or a * r
        self.posterior_logits = table(s, a, r, self.codes)
        self.policy_logits = table(s, self.codes, a)
        self.value_logits = table(s, self.codes, r)
        self.prior_logits = table(s, self.codes)
        self.energy = Energy(s, a, r, self.codes)

    def parts(self) -> tuple[PartSpec, ...]:
        return (PartSpec("controllable", "ids", carries=("action",), free_of=("luck",), classes=self.codes),)

    def stages(self) -> Sequence[Stage]:
        c = self.config
        side = Update("side", self.side_loss, lambda: [self.value_logits, self.prior_logits], c.optim)
        if "released_sign" in c.quirks:
            everything = (self.posterior_logits, self.policy_logits, self.energy)
            return [self.stage(Update("imitate", self.released_loss, lambda: everything, c.optim), side)]
        energy = Update("energy", self.energy_loss, lambda: [self.energy], c.energy_optim, times=c.energy_steps)
        imitate = Update("imitate", self.loss, lambda: [self.posterior_logits, self.policy_logits], c.optim)
        return [self.stage(energy, imitate, side)]

    def energy_loss(self, batch: Batch, at: At) -> Terms:
        """What f descends: -I(f), of codes that stay as they are."""
        return {"told": -self.information(batch, self.code(batch).detach())}

    def loss(self, batch: Batch, at: At) -> Terms:
        """What posterior and policy descend."""
        return self._imitation(batch, at, sign=1.0)

    def released_loss(self, batch: Batch, at: At) -> Terms:
        """What the released program descends on everything, f included."""
        return self._imitation(batch, at, sign=-1.0)

    def side_loss(self, batch: Batch, at: At) -> Terms:
        """What value and prior descend, which move nothing else."""
        state, _, bins = self.samples(batch)
        q = self.code(batch).detach()
        value = self._value(q, state, bins, self.value_logits)
        return {"value": value, "prior": self._kl(q, state, self.prior_logits)}

    def code(self, batch: Batch) -> Float[Tensor, "batch z"]:
        """q(z | s, a, R) of each item."""
        return self.posterior_logits.softmax(-1)[self.samples(batch)]

    def information(self, batch: Batch, q: Float[Tensor, "batch z"]) -> Float[Tensor, " batch"]:
        """I(f) of each item."""
        pos, neg = table_contrast(self.energy.logits, *self.samples(batch), q, self.rho)
        return pos - neg

    def _imitation(self, batch: Batch, at: At, sign: float) -> Terms:
        state, action, bins = self.samples(batch)
        q = self.code(batch)
        told = self.information(batch, q)
        at.note(information=told.mean())
        terms: dict[str, Tensor | tuple[float, Tensor]] = {
            "action": -(q * self.policy_logits.log_softmax(-1)[state, :, action]).sum(1),
            "information": (sign * self.config.beta, told),
            "kl": (self.config.kl, self._kl(q, state, self.prior_logits.detach())),
        }
        if "joint_value" in self.config.quirks:
            terms["value"] = self._value(q, state, bins, self.value_logits.detach())
        return terms

    def _value(self, q: Tensor, state: Tensor, bins: Tensor, logits: Tensor) -> Float[Tensor, " batch"]:
        return -(q * logits.log_softmax(-1)[state, :, bins]).sum(1)

    def _kl(self, q: Tensor, state: Tensor, logits: Tensor) -> Float[Tensor, " batch"]:
        return (torch.xlogy(q, q) - q * logits.log_softmax(-1)[state]).sum(1)

    # ---------------------------------------------------------------------------------------------------- what it knows

    def encode(self, batch: Batch) -> Parts:
        """A code for each item, drawn from its posterior by the item's own number.

        Nearly equal posteriors differ in their likeliest code, but hardly in a draw, which is all that the policy sees.
        """
        lot = (batch["index"].double() * _GOLDEN).frac()
        drawn = (self.code(batch).double().cumsum(1) < lot[:, None]).sum(1)
        return Parts(controllable=drawn.clamp(max=self.codes - 1))

    def leakage(self) -> float:
        """MI(z; R | s, a) of the training data, in nats: exact."""
        q = self.posterior_logits.detach().double().softmax(-1)
        return float(conditional_information(self.joint.double(), q))

    def values(self) -> Float[Tensor, "s z"]:
        """E[R | s, z]."""
        return self.value_logits.detach().softmax(-1) @ self.centre

    def chosen(self, ask: Float[Tensor, " s"] | None = None) -> tuple[Float[Tensor, "s a"], Float[Tensor, " s"]]:
        """The policy in each state, and what it promises.

        Args:
            ask: The return to go that is wanted in each state; None wants the most.
        """
        return self._chosen(torch.arange(self.states), ask)

    def choose(self, history: Batch, ask: Float[Tensor, " batch"] | None, generator: torch.Generator) -> Choice:
        policy, promised = self._chosen(history["state"][:, -1], ask)
        return Choice(torch.multinomial(policy.cpu(), 1, generator=generator)[:, 0], promised)

    def _chosen(self, state: Tensor, ask: Tensor | None) -> tuple[Tensor, Tensor]:
        values, prior = self.values()[state], self.prior_logits.detach().softmax(-1)[state]
        wish = values if ask is None else -(values - ask[:, None]).abs()
        z = wish.masked_fill(prior < self.config.plausible, -torch.inf).argmax(-1)
        policy = self.policy_logits.detach().softmax(-1)[state, z]
        return policy, values.gather(1, z[:, None])[:, 0]


class Energy(nn.Module):
    """f(s, a, R, z) as a table."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.logits = table(*sizes)
