"""Random views of a batch of images, against kornia's with the same distribution."""

from __future__ import annotations

import warnings
from functools import partial

import torch

from benchmarks.row import Row
from unbraid.core.method import At
from unbraid.views.image import Blur, Crop, Flip, Grey, Jitter, Solarise
from unbraid.views.view import Sometimes, compose

_APART = 0.02  # of means over a batch of two independent draws


def views_row(name: str, batch: int, size: int, kernel: int) -> Row:
    """Crop, flip, jitter (each image or batch in a random order of the four), grey, blur and solarise."""
    warnings.filterwarnings("ignore", module="kornia")
    from kornia import augmentation as kornia

    x = _pictures(batch, size)
    ours = compose(
        Crop(kernel="bilinear", antialias=False),
        Flip(),
        Sometimes(Jitter(0.4, 0.4, 0.2, 0.1), 0.8),
        Sometimes(Grey(), 0.2),
        Sometimes(Blur((0.1, 2.0), radius=kernel // 2), 0.5),
        Sometimes(Solarise(), 0.2),
    )
    theirs = kornia.AugmentationSequential(
        kornia.RandomResizedCrop((size, size), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), align_corners=False),
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        kornia.RandomGrayscale(p=0.2),
        kornia.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5),
        kornia.RandomSolarize(thresholds=(128 / 255, 128 / 255), additions=0.0, p=0.2),
        data_keys=["input"],
    )
    at = At(generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)

    @torch.no_grad()
    def peer() -> torch.Tensor:
        return theirs(x)

    return Row(name, 4, lambda: ours(x, at), peer, partial(_alike, lambda: ours(x, at), peer))


def _alike(ours, peer, first: torch.Tensor, second: torch.Tensor) -> None:
    """Level, contrast, colour and sharpness of views agree in the mean over several draws."""
    seen = [torch.stack([_measures(side()) for _ in range(8)]).mean(0) for side in (ours, peer)]
    assert first.shape == second.shape
    apart = float((seen[0] - seen[1]).abs().max())
    assert apart < _APART, f"{apart} apart: {seen}"


def _measures(x: torch.Tensor) -> torch.Tensor:
    level, contrast = x.mean(), x.std((1, 2, 3)).mean()
    colour = (x.amax(1) - x.amin(1)).mean()
    sharp = (x[..., 1:] - x[..., :-1]).abs().mean()
    return torch.stack([level, contrast, colour, sharp])


def _pictures(batch: int, size: int) -> torch.Tensor:
    """Smooth coloured noise."""
    coarse = torch.rand(batch, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").contiguous()


ROWS = {
    "image_views": partial(views_row, "image_views", 256, 32, 3),
    "image_views_224": partial(views_row, "image_views_224", 32, 224, 23),
}
