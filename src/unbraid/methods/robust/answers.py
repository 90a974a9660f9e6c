"""What a network that is not ours must answer to be a classifier."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.fields import Fields


def logits_of(output: object) -> Float[Tensor, "batch classes"]:
    """What a classifier says, whether as a tensor or, as the library transformers does, within an object."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(output).__name__
        raise ConfigError("a classifier that returns logits (batch, classes)", got=got, where="classifier")
    return logits


def own(net: nn.Module) -> nn.Module:
    """A copy in eval mode, its weights laid out in memory as those of a network that is loaded, to give its bits."""
    copied = copy.deepcopy(net).eval()
    for parameter in copied.parameters():
        parameter.data = parameter.data.contiguous()
    return copied


def classes_of(classify: Callable[[Tensor], object], fields: Fields) -> int:
    """How many classes a classifier tells apart, by asking it about two blank items.

    Raises:
        DataError: It does not take such items.
        ConfigError: It is no classifier, or not one of the labels that the data have.
    """
    try:
        with torch.no_grad():
            classes = logits_of(classify(torch.zeros(2, *fields["x"].shape))).shape[1]
    except RuntimeError as error:
        got = f"items of shape {fields['x'].shape} ({str(error).splitlines()[0]})"
        raise DataError("items that the classifier takes", got=got, where="field 'x'") from None
    label = fields["label"].classes if "label" in fields else None
    if label is not None and label != classes:
        raise ConfigError(f"a classifier of {label} classes, as the labels have", got=f"{classes}", where="classifier")
    if classes < 2:
        raise ConfigError("a classifier of two or more classes", got=str(classes), where="classifier")
    return classes
