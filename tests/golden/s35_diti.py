"""DiTi's map of steps to numbers, loss, gradients and guided DDIM against the authors' functions."""

import numpy as np
import torch
from torch import nn

from unbraid.core.config import override
from unbraid.core.fields import Field, Fields
from unbraid.core.given import Given
from unbraid.core.method import At
from unbraid.methods.latent.diti import DiTi
from unbraid.nets.denoiser import Half
from unbraid.ops.allotment import Allotment
from unbraid.ops.diffusion import Noise, linear_betas

SLUG = "35-diti"
STAGES = {"masks": (50, 100, 300, 500, 1000), "loss": (300, 600, 1000)}
"""One past the last step of each stage, of 1,000; how many numbers each has is seen in its last end."""


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    bounds = STAGES["loss" if "x0" in arrays else "masks"]
    maps = {kind: _map(kind, arrays, bounds) for kind in ("staged", "balanced")}
    compared = set()
    for kind, allotment in maps.items():
        ours = {"t_to_idx": allotment.group.numpy(), "mask_end": allotment.ends, "new_start": allotment.starts}
        for key, value in ours.items():
            np.testing.assert_array_equal(value, arrays[f"{kind}_{key}"], err_msg=f"{kind}_{key}")
            compared.add(f"{kind}_{key}")
    return compared | (_losses(arrays, maps, bounds) if "x0" in arrays else set())


def _map(kind: str, arrays: dict[str, np.ndarray], bounds: tuple[int, ...]) -> Allotment:
    group, ends = arrays[f"{kind}_t_to_idx"], arrays[f"{kind}_mask_end"]
    steps, groups = len(group), len(ends)
    if kind == "balanced":
        return Allotment.balanced(steps, groups, int(ends[-1]))
    scaled = [bound * steps // 1000 for bound in bounds]
    first = np.searchsorted(group, np.arange(groups))
    filled = [int(ends[first < bound][-1]) for bound in scaled]
    return Allotment.staged(steps, groups, scaled, np.diff([0, *filled]).tolist())


class Linear(nn.Module):
    """The reference's denoiser: eps = x Q, g = z P."""

    def __init__(self, q: torch.Tensor, p: torch.Tensor, noise: Noise) -> None:
        super().__init__()
        self.q, self.p, self.noise = nn.Parameter(q), p, noise

    def first(self, x: torch.Tensor, t: torch.Tensor) -> Half:
        return Half(x, t, x, (), x.flatten(1))

    def rest(self, half: Half) -> torch.Tensor:
        return (half.x.flatten(1) @ self.q).reshape(half.x.shape)

    def shift(self, code: int) -> nn.Module:
        return Guide(self.p)


class Guide(nn.Module):
    def __init__(self, p: torch.Tensor) -> None:
        super().__init__()
        self.p = nn.Parameter(p)

    def forward(self, half: Half, z: torch.Tensor) -> torch.Tensor:
        return (z @ self.p).reshape(half.x.shape)


class Drawn(At):
    """Steps and noise of the reference."""

    def __init__(self, t: torch.Tensor, noise: torch.Tensor) -> None:
        super().__init__()
        self.t, self.eps = t, noise

    def randint(self, high, shape):
        return self.t

    def randn(self, shape):
        return self.eps


def method_of(kind: str, t: dict[str, torch.Tensor], steps: int, allotment: Allotment, mode: str) -> DiTi:
    """DiTi around the reference's linear maps."""
    bounds = [bound * steps // 1000 for bound in STAGES["loss"]]
    ends = [allotment.ends[int(allotment.group[b - 1])] for b in bounds]
    changes = {"groups": len(allotment.ends), "code": t["E"].shape[1], "noises": steps, "mode": mode, "map": kind}
    changes |= {"bounds": tuple(bounds), "shares": tuple(np.diff([0, *ends]).tolist()), "drawn": 10, "encoder": 4}
    shape = tuple(t["x0"].shape[1:])
    net = Linear(t["Q"], t["P"], Noise.of(linear_betas(steps)))
    fields = Fields(x=Field((shape[0], 8, 8), unit=True))  # the encoder, which is replaced, takes no fewer pixels
    net.q = nn.Parameter(torch.zeros(shape[0] * 64, shape[0] * 64))
    method = DiTi(override(DiTi.Config(), changes), fields, Given(denoiser=net))
    net.q = nn.Parameter(t["Q"])
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(*t["E"].shape, bias=False))
    encoder[1].weight = nn.Parameter(t["E"].T.clone())
    method.core.encoder = encoder
    return method


def _losses(arrays: dict[str, np.ndarray], maps: dict[str, Allotment], bounds: tuple[int, ...]) -> set[str]:
    t = {key: torch.tensor(value) for key, value in arrays.items()}
    steps = len(t["alphas_cumprod"])
    ours: dict[str, torch.Tensor] = {}
    batch = {"x": (t["x0"] + 1) / 2}
    for kind, allotment in maps.items():
        for mode in ("base", "stop_grad"):
            method = method_of(kind, t, steps, allotment, mode)
            loss = method.loss(batch, Drawn(t["t"], t["noise"]))[mode].mean()
            z = method.core.encoder(t["x0"])
            half, frozen = method._frozen(method.noise.q(t["x0"], t["t"], t["noise"]), t["t"])
            g = method.core.shift(half, method.condition(z, t["t"], mode))
            (slope,) = torch.autograd.grad(loss, [method.core.encoder[1].weight])
            ours |= {
                f"{kind}_{mode}_loss": loss,
                f"{kind}_{mode}_loss_elements": method.errors(t["noise"], frozen, g, t["t"]),
                f"{kind}_{mode}_grad_E": slope.T,
            }
    method = method_of("balanced", t, steps, maps["balanced"], "base")
    ours |= {
        "shift_coef": method.shift,
        "weight": method.weight,
        "alphas_cumprod": method.noise.kept.float(),
        "ddim10_balanced_masks": 2 * method.draw(t["ddim_z"], t["ddim_xT"]) - 1,
    }
    method.until.fill_(1)
    stride = steps // 10
    forward = method.noise.move(method.guided(t["ddim_z"]), t["ddim_xT"], stride, 2 * stride, bound=1.0)
    ours["guided_step_100_to_200"] = forward
    for key, value in ours.items():
        tolerance = 1e-4 if key.startswith(("ddim", "guided")) else 1e-5
        got = value.detach().numpy()
        np.testing.assert_allclose(got, arrays[key], rtol=tolerance, atol=tolerance, err_msg=key)
    return {*ours, "x0", "E", "P", "Q", "t", "noise", "ddim_z", "ddim_xT"}
