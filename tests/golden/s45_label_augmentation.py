"""Label augmentation's transformations, logits and losses against the released code."""

import numpy as np
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.methods.joint.label_augmentation import LabelAugmentation
from unbraid.views.copies import TRANSFORMS, expand

SLUG = "45-label-augmentation"
NAMES = {
    "rotation": "rotation",
    "rotation2": "rotation2",
    "color_perm": "colours6",
    "color_perm3": "colours3",
    "rot_color_perm6": "rotation2-colours3",
    "rot_color_perm12": "rotation-colours3",
    "rot_color_perm24": "rotation-colours6",
}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    return _losses(arrays) if "W_joint" in arrays else _transforms(arrays)


def _transforms(arrays: dict[str, np.ndarray]) -> set[str]:
    images = torch.tensor(arrays["images"])
    for theirs in set(arrays) - {"images"}:
        np.testing.assert_array_equal(expand(images, TRANSFORMS[NAMES[theirs]]), arrays[theirs], err_msg=theirs)
    return set(arrays)


def _losses(arrays: dict[str, np.ndarray]) -> set[str]:
    x, y = torch.tensor(arrays["images"]), torch.tensor(arrays["labels"])
    method = _method(arrays)
    z = method.encoder(expand(x, method.transforms))
    joint = method.joint(z)
    found = {
        "joint_logits": joint.flatten(1),
        "joint_labels": method.joint_labels(y),
        "single_logits": method.single(joint),
        "agg_logits": method.aggregate(joint),
        "sd_single_logits": method.distilled(z[:: method.count]),
        "loss_sla": _total(method.labelled(z, y)),
    }
    for key, changes in {
        "loss_sla_large": {"large": True},
        "loss_sla_sd_T1": {},
        "loss_sla_sd_T1_large": {"large": True},
        "loss_sla_sd_T4": {"temperature": 4.0},
    }.items():
        other = _method(arrays, **changes)
        terms = other.labelled(z, y)
        found[key] = _total({**terms, **other.distillation(z, y)} if "sd" in key else terms)
    for key, value in found.items():
        ours = value.detach().numpy()
        np.testing.assert_allclose(ours, arrays[key], rtol=1e-6, atol=1e-6, err_msg=key)
    return {*found, "images", "labels", "W_joint", "b_joint", "W_single", "b_single"}


def _method(arrays: dict[str, np.ndarray], **changes: object) -> LabelAugmentation:
    """The method with the case's linear heads, on pixels."""
    shape, classes = arrays["images"].shape[1:], len(arrays["W_single"])
    fields = Fields(x=Field(shape, unit=True), label=Field((), "int64", classes=classes))
    tiny = {**LabelAugmentation.presets["tiny"], "distil": True, **changes}
    method = LabelAugmentation(override(LabelAugmentation.Config(), tiny), fields)
    method.encoder = nn.Flatten()
    for head, suffix in (("head", "joint"), ("distilled", "single")):
        layer = nn.Linear(*arrays[f"W_{suffix}"].shape[::-1])
        layer.weight.data, layer.bias.data = (torch.tensor(arrays[f"{k}_{suffix}"]) for k in "Wb")
        setattr(method, head, layer)
    return method


def _total(terms: dict[str, tuple[float, torch.Tensor]]) -> torch.Tensor:
    return sum(weight * raw.mean() for weight, raw in terms.values())
