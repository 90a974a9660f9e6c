"""Whether a converted recording still says what it said, and who it sounds like: probes trained on real ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SPREAD = 1e-6


@dataclass(frozen=True)
class RidgeClassifier:
    """A linear classifier by least squares to the classes' indicators.

    Attributes:
        mean: Of the numbers it was trained on.
        scale: Their spread.
        weights: From the standardised numbers and a one to a value of each class.
    """

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    weights: Float[Tensor, "d1 classes"]

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int, penalty: float = 1.0) -> RidgeClassifier:
        """The weights that are nearest to the indicators, their squares weighed by `penalty` times the items.

        >>> x = torch.tensor([[0.0], [0.1], [1.0], [1.1]])
        >>> RidgeClassifier.fit(x, torch.tensor([0, 0, 1, 1]), 2, 0.1).predict(torch.tensor([[0.2], [2.0]])).tolist()
        [0, 1]
        """
        x = x.double()
        mean, scale = x.mean(0), x.std(0, correction=0) + _SPREAD
        z = torch.nn.functional.pad((x - mean) / scale, (0, 1), value=1.0)
        ridge = penalty * len(x) * torch.ones(z.shape[1], dtype=z.dtype, device=z.device)
        ridge[-1] = 0.0
        goal = torch.nn.functional.one_hot(y, classes).double()
        weights = torch.linalg.solve(z.T @ z + ridge.diag(), z.T @ goal)
        return cls(mean, scale, weights)

    def predict(self, x: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The class of the greatest value."""
        z = (x.double() - self.mean) / self.scale
        return (torch.nn.functional.pad(z, (0, 1), value=1.0) @ self.weights).argmax(1)


def same_length(frames: Float[Tensor, "n f m"], valid: Bool[Tensor, "n f"], count: int) -> Float[Tensor, "n count m"]:
    """The real frames of each item, which come first, brought to one number by straight lines between them.

    >>> frames = torch.arange(4.0)[None, :, None]
    >>> same_length(frames, torch.tensor([[True, True, True, False]]), 5)[0, :, 0].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    last = valid.sum(1, keepdim=True) - 1
    at = torch.linspace(0, 1, count, device=frames.device) * last
    low = at.floor().long()
    high = (low + 1).minimum(last)
    share = (at - low)[..., None]
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[rows, low] * (1 - share) + frames[rows, high] * share


@dataclass(frozen=True)
class GaussianVoices:
    """A normal distribution of each speaker's frames: unlike a linear probe, it knows how they spread.

    Attributes:
        mean: Of each speaker's frames.
        root: Their covariance's lower root.
    """

    mean: Float[Tensor, "s m"]
    root: Float[Tensor, "s m m"]

    @classmethod
    def fit(
        cls, frames: Float[Tensor, "n f m"], valid: Bool[Tensor, "n f"], speaker: Int[Tensor, " n"], ridge: float = 0.01
    ) -> GaussianVoices:
        """The distributions of the real frames of each speaker, `ridge` added to every variance."""
        means, roots = [], []
        for number in range(int(speaker.max()) + 1):
            mine = speaker == number
            x = frames[mine][valid[mine]].double()
            x = x if len(x) else frames[valid].double()
            means.append(x.mean(0))
            covariance = (x - means[-1]).T @ (x - means[-1]) / len(x)
            eye = torch.eye(len(covariance), dtype=x.dtype, device=x.device)
            roots.append(torch.linalg.cholesky(covariance + ridge * eye))
        return cls(torch.stack(means), torch.stack(roots))

    def predict(self, frames: Float[Tensor, "n f m"], valid: Bool[Tensor, "n f"]) -> Int[Tensor, " n"]:
        """The speaker under whom all real frames of an item together are likeliest.

        >>> generator = torch.Generator().manual_seed(0)
        >>> wide, narrow = (scale * torch.randn(1, 200, 2, generator=generator) for scale in (2.0, 0.5))
        >>> frames, valid = torch.cat([wide, narrow]), torch.ones(2, 200, dtype=torch.bool)
        >>> GaussianVoices.fit(frames, valid, torch.tensor([0, 1])).predict(frames, valid).tolist()
        [0, 1]
        """
        scores = []
        for mean, root in zip(self.mean, self.root, strict=True):
            away = torch.linalg.solve_triangular(root, (frames.double() - mean).mT, upper=False)
            likely = -0.5 * away.square().sum(1) - root.diagonal().log().sum()
            scores.append((likely * valid).sum(1))
        return torch.stack(scores, 1).argmax(1)


@dataclass(frozen=True)
class Judge:
    """Probes of frames: what is said, and, in two ways, who says it.

    Attributes:
        phone: Of what is said.
        speaker: Of who says it.
        voices: Of who says it, by how frames spread.
        count: Frames that every item is brought to.
    """

    phone: RidgeClassifier
    speaker: RidgeClassifier
    voices: GaussianVoices
    count: int = 16

    @classmethod
    def fit(
        cls,
        frames: Float[Tensor, "n f m"],
        valid: Bool[Tensor, "n f"],
        phone: Int[Tensor, " n"],
        speaker: Int[Tensor, " n"],
        count: int = 16,
    ) -> Judge:
        """Probes trained on real recordings."""
        x = same_length(frames, valid, count).flatten(1)
        phones, speakers = (RidgeClassifier.fit(x, y, int(y.max()) + 1) for y in (phone, speaker))
        return cls(phones, speakers, GaussianVoices.fit(frames, valid, speaker), count)

    def verdict(
        self,
        frames: Float[Tensor, "n f m"],
        valid: Bool[Tensor, "n f"],
        phone: Int[Tensor, " n"],
        source: Int[Tensor, " n"],
        target: Int[Tensor, " n"],
    ) -> dict[str, float]:
        """Shares of the items that say the same, that are the target's, and that are still the source's."""
        x = same_length(frames, valid, self.count).flatten(1)
        said, heard, spread = self.phone.predict(x), self.speaker.predict(x), self.voices.predict(frames, valid)
        found = {
            "content": said == phone,
            "target": heard == target,
            "leak": heard == source,
            "target by spread": spread == target,
            "leak by spread": spread == source,
        }
        return {name: float(hit.double().mean()) for name, hit in found.items()}
