"""The losses of joint-embedding methods against solo-learn's, run on a processor alone."""

import torch

from unbraid.core.method import Alone
from unbraid.losses.contrastive import against, nt_xent, pairs
from unbraid.losses.distil import across_views, relational
from unbraid.losses.joint import cross_correlation, off_diagonal, spread, twice_cosine
from unbraid.nets.heads import Centre
from unbraid.nets.norm import BatchStandardise

ALONE = Alone()
INPUTS = {"z1", "z2", "p1", "p2", "queue"}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> set[str]:
    """Compare numbers by name; the names."""
    for name, value in ours.items():
        got, wanted = torch.as_tensor(value).float(), theirs[name].float()
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    return set(ours)


def joint(a: dict[str, torch.Tensor]) -> set[str]:
    """Compare the losses of two views that a case has."""
    z1, z2, p1, queue = a["z1"], a["z2"], a["p1"], a["queue"]
    distance = (z1 - z2).square().mean()
    (short1, shared1), (short2, shared2) = spread(z1, ALONE), spread(z2, ALONE)
    c = cross_correlation(*(BatchStandardise()(z, ALONE) for z in (z1, z2)), ALONE)
    ours = {
        "simclr_t0.2": nt_xent(z1, z2, 0.2, ALONE).mean(),
        "mocov3_p1_z2_t0.2": 2 * 0.2 * pairs(p1, z2, 0.2, ALONE).mean(),
        "byol_p1_z2": 2 + twice_cosine(p1, z2).mean(),
        "simsiam_p1_z2": twice_cosine(p1, z2).mean() / 2,
        "nnclr_t0.2": pairs(z1, a["p2"], 0.2, ALONE).mean(),
        "mocov2_t0.2": against(z1, z2, queue, 0.2).mean(),
        "ressl": relational(z1, z2, queue).mean(),
        "vicreg_sim": distance,
        "vicreg_var": short1 + short2,
        "vicreg_cov": shared1 + shared2,
        "vicreg_25_25_1": 25 * distance + 25 * (short1 + short2) + shared1 + shared2,
        "barlow_solo": 0.025 * ((c.diagonal() - 1).square().sum() + 0.005 * off_diagonal(c).square().sum()),
    }
    return same({name: value for name, value in ours.items() if name in a}, a) | INPUTS


def dino(a: dict[str, torch.Tensor]) -> set[str]:
    """Compare DINO's loss of two calls, and its centre after them."""
    student, teacher = a["dino_student"].chunk(2), a["dino_teacher"]
    centre = Centre(teacher.shape[1])
    ours = {}
    for name, temperature in (("dino_loss_call1", 0.04), ("dino_loss_call2_epoch20", 0.07)):
        ours[name] = across_views(centre(teacher, temperature).chunk(2), student).mean()
        centre.follow(teacher.mean(0))
    return same(ours | {"dino_center": centre.mean[None]}, a) | {"dino_student", "dino_teacher"}
