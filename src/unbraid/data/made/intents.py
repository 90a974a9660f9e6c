"""`intents`: users who take what they are interested in, and now and then what everybody takes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.data.factors import Factor, FactorTable
from unbraid.data.interactions import Interactions, Side

_TRAIN, _HELD, _NOISE, _SPREAD = 8, 6, 3, 0.7


class Intents(Interactions):
    """Interactions with known reasons: each item serves one intent, each user has two.

    Items have a log-normal popularity (spread 0.7). Of the items of their intents, users take 14 by popularity, 8 of
    them to learn from and 6 held out, and 3 more of all items by popularity alone; of these, those of other intents
    are noise.

    Args:
        users: Number of users.
        items: Number of items.
        intents: Number of intents, at least 3.
        seed: Which of the many worlds.

    Attributes:
        noise: Whether each interaction is one of no intent of its user; as `take` numbers them.

    >>> world = Intents(users=50, items=80, intents=4)
    >>> world.factors[0].labels, [f.name for f in world.audited.factors], len(world.held)
    (('true', 'noise'), ['kind', 'degree', 'intent'], 300)
    """

    def __init__(self, users: int = 500, items: int = 400, intents: int = 8, seed: int = 0) -> None:
        if intents < 3 or users < 1 or items < 4 * intents:
            got = f"{users} users, {items} items, {intents} intents"
            raise DataError("users, 3 intents or more, and 4 items or more for each", got=got, where="intents")
        chance = torch.Generator().manual_seed(seed)
        intent = torch.randperm(items, generator=chance) % intents
        appeal = _SPREAD * torch.randn(items, generator=chance)
        mine = torch.rand((users, intents), generator=chance).argsort(1)[:, :2]
        fits = (intent == mine[:, :, None]).any(1)
        taken = _draw(appeal, fits, _TRAIN + _HELD, chance)
        order = torch.rand(taken.shape, generator=chance).masked_fill(taken < 0, -1.0).argsort(1, descending=True)
        taken = taken.gather(1, order)  # drawn in the order of their appeal, by which nothing shall be held out
        free = torch.ones_like(fits)
        rows = torch.arange(users)[:, None].expand_as(taken)
        free[rows[taken >= 0], taken[taken >= 0]] = False
        train = torch.cat([_pairs(taken[:, :_TRAIN]), _pairs(_draw(appeal, free, _NOISE, chance))])
        astray = ~fits[train[:, 0], train[:, 1]]
        known = FactorTable([Factor("intent", "categorical", _names(intents))], intent[:, None].double().numpy())
        noise = FactorTable([Factor("noise", "categorical", ("true", "noise"))], astray[:, None].double().numpy())
        super().__init__(
            f"intents:users={users},items={items},intents={intents},seed={seed}",
            train,
            _pairs(taken[:, _TRAIN:]),
            Side.plain(users),
            Side([str(i) for i in range(items)], known),
            roles={"topic": "intent"},
            table=noise,
        )

    @property
    def noise(self) -> Bool[Tensor, " pairs"]:
        """Whether an interaction is of no intent of its user."""
        return self._codes[:, 0] > 0


def _draw(
    appeal: Float[Tensor, " items"], fits: Bool[Tensor, "users items"], count: int, chance: torch.Generator
) -> Int[Tensor, "users count"]:
    """Items that fit, drawn by the exponential of their appeal without repetition; -1 where there are no more."""
    gumbel = -torch.empty(fits.shape).exponential_(generator=chance).log()
    keys, drawn = (appeal + gumbel).masked_fill(~fits, -torch.inf).topk(min(count, len(appeal)), dim=1)
    return drawn.masked_fill(keys == -torch.inf, -1)


def _pairs(drawn: Int[Tensor, "users count"]) -> Int[Tensor, "pairs 2"]:
    rows = torch.arange(len(drawn))[:, None].expand_as(drawn)
    return torch.stack([rows[drawn >= 0], drawn[drawn >= 0]], 1)


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"intent {i}" for i in range(count))
