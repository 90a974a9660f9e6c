"""Whether two items have one origin, told by the distance of their embeddings."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import DataError


def cosine_pairs(
    z: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " same"], Float[np.ndarray, " apart"]]:
    """Cosine distances, 0 to 2, of all pairs of different items: of equal labels, and of different ones.

    Args:
        z: One embedding per item.
        labels: Its origin.

    Raises:
        DataError: No label comes twice, or there is only one.

    >>> same, apart = cosine_pairs(np.array([[1.0, 0], [2, 0], [0, 1]]), np.array([0, 0, 1]))
    >>> same.tolist(), apart.tolist()
    ([0.0], [1.0, 1.0])
    """
    z, labels = np.asarray(z, dtype=np.float64), np.asarray(labels)
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    unit = z / np.where(norm > 0, norm, 1.0)
    first, second = np.triu_indices(len(z), 1)
    distance = 1.0 - (unit @ unit.T)[first, second]
    equal = labels[first] == labels[second]
    if equal.all() or not equal.any():
        got = f"{len(z)} items of {len(np.unique(labels))} labels"
        raise DataError("pairs of one label and pairs of two", got=got, where="verification")
    return distance[equal], distance[~equal]


def as_detection(same: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and answers for the metrics of `ranking`, where a pair of two origins is what is to be detected.

    >>> scores, positive = as_detection(np.array([0.1]), np.array([0.9, 1.1]))
    >>> scores.tolist(), positive.tolist()
    ([0.1, 0.9, 1.1], [False, True, True])
    """
    return np.concatenate([same, apart]), np.arange(len(same) + len(apart)) >= len(same)
