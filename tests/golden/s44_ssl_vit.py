"""The losses of self-supervised methods, MAE's pieces and Sinkhorn's assignments against published code."""

import runpy
from pathlib import Path

import numpy as np
import torch

from unbraid.core.method import Alone
from unbraid.losses.distil import across_views, entropy, masked_patches, sharpened, unused
from unbraid.losses.masked import masked_square, normalised
from unbraid.nets.heads import Centre
from unbraid.nets.vit import image_of, patches_of, sincos2d
from unbraid.ops.transport import sinkhorn
from unbraid.views.mask import shuffled

SLUG = "44-ssl-vit"

_SHARED = runpy.run_path(str(Path(__file__).with_name("_joint_losses.py")))
dino, joint, same = _SHARED["dino"], _SHARED["joint"], _SHARED["same"]
ALONE = Alone()


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    kinds = {"z1": _joint, "student_patch": _ibot, "anchors": _msn, "patches": _mae}
    kind = next(key for key in kinds if key in arrays)
    return kinds[kind]({key: torch.tensor(value) for key, value in arrays.items()})


def _joint(a: dict[str, torch.Tensor]) -> set[str]:
    return joint(a) | dino(a) | _swav(a)


def _swav(a: dict[str, torch.Tensor]) -> set[str]:
    scores = [a["swav_scores1"], a["swav_scores2"]]
    assigned = [sinkhorn(s, 0.05, 3) for s in scores]
    ours = {f"swav_assign{i}": q for i, q in enumerate(assigned, 1)}
    ours["swav_loss"] = across_views(assigned, scores).mean()
    return same(ours, a) | {"swav_scores1", "swav_scores2"}


def _ibot(a: dict[str, torch.Tensor]) -> set[str]:
    crops = len(a["mask"])
    whole, patch = Centre(a["teacher_cls"].shape[1]), Centre(a["teacher_cls"].shape[1])
    temperatures = {"teacher_temp": float(a["teacher_temp"]), "teacher_temp_patch": float(a["teacher_temp_patch"])}
    targets = whole(a["teacher_cls"], temperatures["teacher_temp"]).chunk(crops)
    local = a["student_local_cls"].chunk(len(a["student_local_cls"]) * crops // len(a["student_cls"]))
    loss_cls = across_views(targets, [*a["student_cls"].chunk(crops), *local]).mean()
    of_patches = patch(a["teacher_patch"], temperatures["teacher_temp_patch"]).chunk(crops)
    views = zip(of_patches, a["student_patch"].chunk(crops), a["mask"], strict=True)
    loss_patch = torch.stack([masked_patches(t, s, m.flatten(1)).mean() for t, s, m in views]).mean()
    whole.follow(a["teacher_cls"].mean(0))
    patch.follow(a["teacher_patch"].mean((0, 1)))
    ours = {"loss_cls": loss_cls, "loss_patch": loss_patch, "loss": loss_cls + loss_patch}
    ours |= {"center": whole.mean[None], "center2": patch.mean[None, None], **temperatures}
    inputs = {"student_cls", "student_patch", "teacher_cls", "teacher_patch", "student_local_cls", "mask"}
    return same(ours, a) | inputs


def _msn(a: dict[str, torch.Tensor]) -> set[str]:
    normal = torch.nn.functional.normalize
    tau, sharp = float(a["tau"]), float(a["T"])
    prototypes = normal(a["prototypes"], dim=1)
    p, seen = ((normal(a[n], dim=1) @ prototypes.mT / tau).softmax(1) for n in ("anchors", "targets_feat"))
    views = len(p) // len(seen)
    compared = {"anchors", "targets_feat", "prototypes", "tau", "T"}
    for transport in (0, 1):
        target = sharpened(seen, sharp)
        target = sinkhorn(target.log(), 1.0, 3) if transport else target
        target = target.repeat(views, 1)
        ours = {
            "targets": target,
            "loss": -(target * p.log()).sum(1).mean(),
            "memax": unused(p, ALONE),
            "entropy": entropy(p).mean(),
        }
        compared |= same({f"{name}_sk{transport}": value for name, value in ours.items()}, a)
    return compared


def _mae(a: dict[str, torch.Tensor]) -> set[str]:
    images, tokens = a["images"], a["tokens"]
    patch = round((a["patches"].shape[2] / images.shape[1]) ** 0.5)
    grid = (images.shape[2] // patch, images.shape[3] // patch)
    target, kept = a["patches"], a["kept_tokens"].shape[1]
    found = shuffled(a["noise"], 1 - kept / tokens.shape[1])
    mask = a["mask"].bool()
    ours = {
        "patches": patches_of(images, patch),
        "unpatchified": image_of(target, grid, patch),
        "kept_tokens": tokens.gather(1, found.keep[..., None].expand(-1, -1, tokens.shape[2])),
        "mask": found.mask,
        "ids_restore": found.restore,
        "loss_raw": masked_square(a["pred"], target, mask, ALONE),
        "loss_norm_pix": masked_square(a["pred"], normalised(target), mask, ALONE),
    }
    for name in (n for n in a if n.startswith("pos_embed_")):
        width = a[name].shape[2]
        side = round((a[name].shape[1] - 1) ** 0.5)
        table = sincos2d((side, side), width, columns_first=True)
        ours[name] = torch.cat([table.new_zeros(1, width), table])[None]
    return same(ours, a) | {"images", "tokens", "noise", "pred"}
