"""What the peers need before they can be imported."""

from __future__ import annotations

import torch

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # operators live as long as their library does


def declare_operators() -> None:
    """Declare the operators that torchvision, as disent imports it, asks for although nobody here calls them.

    The usual wheel of torchvision has its compiled part for a CUDA torch. With a CPU torch that part does not load, and
    the import stops at the first operator of it that is missing.
    """
    if _declared:
        return
    library = torch.library.Library("torchvision", "DEF")
    for operator in _OPERATORS:
        library.define(operator)
    _declared.append(library)
