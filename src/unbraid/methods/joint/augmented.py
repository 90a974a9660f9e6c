"""What the encoders of this wing make of their augmentations, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.core.outcome import Findings
from unbraid.metrics.augmentation import (
    eigenfunctions,
    pair_moments,
    surrogate_complexity,
    target_isometry,
    trace_gap,
    with_constant,
)

OUTSIDE = "The isometry of a factor is that of its part within the span: where most is outside, it says little."

_LEADING = 32  # functions of an encoder that are looked at, the constant among them


def leading(phi: Float[np.ndarray, "n r d"], most: int) -> Float[np.ndarray, "n r k"]:
    """The constant, and the principal components of the features, the largest first.

    >>> leading(np.array([[[0.0, 0.0], [2.0, 0.0]]]), 2).tolist()
    [[[1.0, -1.0], [1.0, 1.0]]]
    """
    phi = np.asarray(phi, dtype=np.float64)
    flat = phi.reshape(-1, phi.shape[-1])
    centred = flat - flat.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : most - 1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return with_constant((centred @ axes).reshape(*phi.shape[:2], -1))


def one_hot(labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n c"]:
    """The classes of items as columns that are centred.

    >>> one_hot(np.array([3, 5])).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    columns = (labels[:, None] == np.unique(labels)).astype(np.float64)
    return np.asarray(columns - columns.mean(0))


def encoder_terms(phi: Float[np.ndarray, "n r d"], targets: Mapping[str, Int[np.ndarray, " n"]]) -> Findings:
    """The terms of the bounds that an encoder's embeddings tell, without densities of the augmentations.

    Of its principal components, up to 31 and the constant. Eigenvalues l are those of all of them, the encoder is the
    first half: what would be enough if its variance lay where the augmentations leave things as they are.

    Args:
        phi: Embeddings of augmentations of each item.
        targets: Name -> classes of the items, -1 where unknown.
    """
    wide = leading(phi, _LEADING)
    half = wide[..., : (wide.shape[-1] + 1) // 2]
    spectrum, own = (eigenfunctions(pair_moments(part))[0].clip(0, 1) for part in (wide, half))
    complexity, gap = surrogate_complexity(wide), trace_gap(own, np.append(spectrum, 0.0))
    numbers = {
        "ratio trace": complexity.trace,
        "ratio trace per function": complexity.trace / wide.shape[-1],
        "trace gap of the leading half, at least": gap,
        "kappa^2 within the span": complexity.upper,
    }
    units = {
        "ratio trace": f"1 to {wide.shape[-1]}",
        "ratio trace per function": "0 to 1",
        "trace gap of the leading half, at least": "0 is best",
        "kappa^2 within the span": "from 1, quantile .99 of the items",
    }
    for name, labels in targets.items():
        known = labels >= 0
        found = target_isometry(wide[known], one_hot(labels[known]))
        numbers |= {f"isometry eps of {name}": found.eps, f"outside the span of {name}": found.residual}
        units |= {f"isometry eps of {name}": "0 unchanged, 1 destroyed", f"outside the span of {name}": "0 to 1"}
    arrays = {"eigenvalues, lower estimates": torch.from_numpy(spectrum)}
    note = (
        f"Augmentations: {phi.shape[1]} of each of {phi.shape[0]} items; the constant and {wide.shape[-1] - 1} "
        "principal components. Chance on the side of the network, such as masks, is not among them."
    )
    return Findings(numbers, arrays, units, [note, *([OUTSIDE] if targets else [])])
