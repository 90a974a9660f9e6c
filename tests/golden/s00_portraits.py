"""The renderer of heads against images, labels, depth and landmarks that were stored."""

import numpy as np
import torch

from unbraid.data.made.heads import NAMES, landmarks, render, rotation

SLUG = "00-portraits"
INPUTS = {"factors", "size", "supersample", "half"}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file."""
    if "factors" not in arrays:
        (names,) = arrays.values()
        assert [str(n) for n in names] == list(NAMES)
        return set(arrays)
    x, half = torch.tensor(arrays["factors"]), float(arrays.get("half", 0.8))
    seen = render(x, int(arrays["size"]), int(arrays["supersample"]), half)
    np.testing.assert_allclose(rotation(x), arrays["rotation"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(landmarks(x, half), arrays["landmarks"], rtol=0, atol=1e-5)
    same = seen.label.numpy() == arrays["label"]
    close = np.abs(seen.depth.numpy() - arrays["depth"]) < 1e-4
    assert same.mean() >= 0.995, f"labels differ at {1 - same.mean():.2%}"
    assert close.mean() >= 0.995, f"depths differ at {1 - close.mean():.2%}"
    assert np.abs(seen.image.numpy() - arrays["image"]).mean() < 2e-3
    return set(arrays)
