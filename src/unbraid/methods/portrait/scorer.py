"""What is known of each attribute of an item: by a given network, or by factors of the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, nearest
from unbraid.core.given import Frozen


class Scorer(nn.Module):
    """The columns of a given network that score some attributes.

    The network gives a column for each score, and one for each class of an attribute that has several. Where it has
    `names`, it tells which attributes these are, and by `classes` how many of its columns are whose; otherwise it gives
    those of the attributes that are asked for, in their order.

    Args:
        net: The network.
        names: The attributes; all that the network names where empty.
        classes: Of each, 1 for a score; as the network says where empty.

    Attributes:
        names: The attributes.
        classes: Of each.

    Raises:
        ConfigError: The network does not score an attribute, or has other classes.
    """

    def __init__(self, net: nn.Module, names: Sequence[str], classes: Sequence[int]) -> None:
        super().__init__()
        self.net = Frozen(net)
        told: tuple[str, ...] = tuple(getattr(net, "names", ()))
        columns: tuple[int, ...] = tuple(getattr(net, "classes", ())) or (1,) * len(told)
        self.names = tuple(names) or told
        self.chosen: list[int] | None = None
        self.classes = tuple(classes) or (1,) * len(self.names)
        if not told:
            return
        for name in self.names:
            if name not in told:
                fix = nearest(name, told)
                raise ConfigError("an attribute that is scored", got=f"'{name}'", fix=fix, where="attributes")
        own = tuple(columns[told.index(name)] for name in self.names)
        if classes and own != self.classes:
            got = ", ".join(map(str, self.classes))
            raise ConfigError(f"{', '.join(map(str, own))} as the scorer has", got=got, where="classes")
        self.classes = own
        starts = [sum(columns[:k]) for k in range(len(columns))]
        self.chosen = [starts[k] + c for k in (told.index(name) for name in self.names) for c in range(columns[k])]

    def forward(self, items: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch outputs"]:
        """A column for each score and class."""
        scores: Tensor = self.net(items)
        return scores if self.chosen is None else scores[:, self.chosen]


def from_factors(
    factors: Float[Tensor, "batch k"], known: Tensor, columns: Sequence[int], classes: Sequence[int]
) -> Float[Tensor, "batch outputs"]:
    """The same from columns of factors, NaN where not known; the codes of factors with classes become logits."""
    values = torch.where(known, factors, torch.nan)[:, list(columns)]
    found = [v[:, None] if n == 1 else class_logits(v, n) for v, n in zip(values.T, classes, strict=True)]
    return torch.cat(found, 1)


def class_logits(codes: Float[Tensor, " batch"], classes: int) -> Float[Tensor, "batch classes"]:
    """0 for the class that an item has, and less for the others."""
    if bool((codes >= classes).any()):
        raise ConfigError("as many classes as the factor has", got=str(classes), where="classes")
    everyone = torch.arange(classes, device=codes.device)
    return torch.where(codes[:, None].isnan(), torch.nan, -30.0 * (codes[:, None] != everyone).float())
