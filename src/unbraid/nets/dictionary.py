"""Sparse autoencoders of activations: many features, each with a vector, few of which are active at once."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from unbraid.ops.sparse import chosen, combine, dense, tangent

Kind = Literal["relu", "topk", "gated"]


class Coded(NamedTuple):
    """What an autoencoder makes of a batch.

    Attributes:
        reconstruction: (B, D).
        uses: (W,): in how many items each feature was active.
        price: (B,): what sparsity is made of; zero where the code is sparse by construction.
        auxiliary: (B, D): a second reconstruction that must come close, too; None where there is none.
    """

    reconstruction: Float[Tensor, "batch dim"]
    uses: Int[Tensor, " width"]
    price: Float[Tensor, " batch"]
    auxiliary: Float[Tensor, "batch dim"] | None = None


class Dictionary(nn.Module):
    """Features with a reading direction (`encoder`) and a vector of length one (`decoder`) each.

    The reconstruction is `code @ decoder + centre`, and the code reads `x - centre`. Decoder rows begin at random, the
    encoder as their copy, biases as zeros.

    Args:
        dim: Width D of an activation.
        width: Features W.
        project: Whether what would only change a row's length is taken from the decoder's gradient.
    """

    def __init__(self, dim: int, width: int, *, project: bool = True) -> None:
        super().__init__()
        rows = torch.empty(width, dim)
        nn.init.kaiming_uniform_(rows)
        self.decoder = nn.Parameter(normalize(rows, dim=1))
        self.encoder = nn.Parameter(self.decoder.detach().clone())
        self.bias = nn.Parameter(torch.zeros(width))
        self.centre = nn.Parameter(torch.zeros(dim))
        self.project = project

    def code(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        """The value of every feature."""
        raise NotImplementedError(f"{type(self).__name__}.code")

    def forward(self, x: Float[Tensor, "batch dim"]) -> Coded:
        """What training needs of a batch."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def decode(self, code: Float[Tensor, "batch width"]) -> Float[Tensor, "batch dim"]:
        """The activation of a code."""
        return code @ self.rows() + self.centre

    def rows(self) -> Float[Tensor, "width dim"]:
        """The features' vectors."""
        return tangent(self.decoder) if self.project else self.decoder

    def pre(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        """What every feature reads, before anything decides whether it is active."""
        return torch.addmm(self.bias, x - self.centre, self.encoder.T)

    @torch.no_grad()
    def unit(self) -> None:
        """Bring the decoder's rows back to length one."""
        self.decoder.copy_(normalize(self.decoder, dim=1))

    @torch.no_grad()
    def replant(
        self, dead: Bool[Tensor, " width"], x: Float[Tensor, "dead dim"], share: float = 0.2
    ) -> tuple[nn.Parameter, ...]:
        """Point dead features at some inputs.

        Decoder rows become the normalised inputs, encoder rows the same at `share` of the living features' mean
        length, biases zero.

        Returns:
            The parameters whose rows `dead` were changed.
        """
        alive = self.encoder[~dead]
        length = alive.norm(dim=1).mean() if len(alive) else self.encoder.norm(dim=1).mean()
        directions = normalize(x, dim=1)
        self.decoder[dead] = directions
        self.encoder[dead] = share * length * directions
        self.bias[dead] = 0.0
        return self.decoder, self.encoder, self.bias


class ReLUDictionary(Dictionary):
    """A feature is active where what it reads is above zero; the price is the sum of the values.

    >>> net = ReLUDictionary(4, 16)
    >>> net.code(torch.zeros(2, 4)).shape, bool((net.code(torch.randn(3, 4)) >= 0).all())
    (torch.Size([2, 16]), True)
    """

    def code(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        return self.pre(x).relu()

    def forward(self, x: Float[Tensor, "batch dim"]) -> Coded:
        code = self.code(x)
        return Coded(self.decode(code), (code.detach() > 0).sum(0), code.sum(1))


class TopKDictionary(Dictionary):
    """The k features that read most are active in every item, whatever the sign; the zeros of a code are never made.

    Args:
        dim: Width D of an activation.
        width: Features W.
        k: Active features of an item.
        project: Whether what would only change a row's length is taken from the decoder's gradient.

    >>> net = TopKDictionary(4, 16, k=3)
    >>> (net.code(torch.randn(5, 4)) != 0).sum(1).tolist()
    [3, 3, 3, 3, 3]
    """

    def __init__(self, dim: int, width: int, k: int, *, project: bool = True) -> None:
        super().__init__(dim, width, project=project)
        self.k = k

    def code(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        values, where = chosen(x - self.centre, self.encoder, self.bias, self.k)
        return dense(where, values, len(self.decoder))

    def forward(self, x: Float[Tensor, "batch dim"]) -> Coded:
        values, where = chosen(x - self.centre, self.encoder, self.bias, self.k)
        uses = torch.bincount(where.flatten(), minlength=len(self.decoder))
        return Coded(combine(where, values, self.rows()) + self.centre, uses, x.new_zeros(len(x)))


class GatedDictionary(Dictionary):
    """One reading decides whether a feature is active, another, along the same direction, how much (Rajamanoharan et
    al., 2024, section 3.2).

    The price is the sum of the gate's positive readings, which must also reconstruct by themselves, with a decoder
    that does not learn from it: so the gate learns which features are there, and the price does not shrink values.

    >>> net = GatedDictionary(4, 16)
    >>> coded = net(torch.randn(3, 4))
    >>> coded.reconstruction.shape, coded.price.shape, coded.auxiliary.shape
    (torch.Size([3, 4]), torch.Size([3]), torch.Size([3, 4]))
    """

    def __init__(self, dim: int, width: int, *, project: bool = True) -> None:
        super().__init__(dim, width, project=project)
        self.log_gain = nn.Parameter(torch.zeros(width))
        self.magnitude_bias = nn.Parameter(torch.zeros(width))

    def code(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        return self._values(self.pre(x))

    def forward(self, x: Float[Tensor, "batch dim"]) -> Coded:
        gate = self.pre(x)
        code, open_ = self._values(gate), gate.relu()
        auxiliary = open_ @ self.decoder.detach() + self.centre.detach()
        return Coded(self.decode(code), (code.detach() > 0).sum(0), open_.sum(1), auxiliary)

    def _values(self, gate: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        magnitude = (gate - self.bias) * self.log_gain.exp() + self.magnitude_bias
        return (gate > 0) * magnitude.relu()

    @torch.no_grad()
    def replant(
        self, dead: Bool[Tensor, " width"], x: Float[Tensor, "dead dim"], share: float = 0.2
    ) -> tuple[nn.Parameter, ...]:
        changed = super().replant(dead, x, share)
        self.log_gain[dead] = 0.0
        self.magnitude_bias[dead] = 0.0
        return (*changed, self.log_gain, self.magnitude_bias)


def dictionary_of(kind: Kind, dim: int, width: int, k: int, *, project: bool = True) -> Dictionary:
    """The autoencoder of a name."""
    if kind == "topk":
        return TopKDictionary(dim, width, k, project=project)
    return {"relu": ReLUDictionary, "gated": GatedDictionary}[kind](dim, width, project=project)
