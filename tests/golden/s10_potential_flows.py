"""One step of the authors' wave potentials: losses, moved codes and gradients."""

import numpy as np
import torch

from unbraid.core.method import Alone
from unbraid.losses.potential import rollout
from unbraid.nets.potential import Potentials
from unbraid.ops.derivatives import jvp, slope

SLUG = "10-potential-flows"
LAYERS = {
    "layer_x": "place",
    "layer_time": "time",
    "layer_time2": "time2",
    "layer_fusion": "mix",
    "layer_out": "read",
}
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def potentials(arrays: dict[str, np.ndarray]) -> Potentials:
    """Ours with the weights of theirs."""
    count, width = int(arrays["num_potentials"]), arrays["z"].shape[1]
    net = Potentials(count, width)
    state = {"speed": torch.tensor(arrays["sd_c"])[:, 0]}
    for theirs, ours in LAYERS.items():
        for kind in ("weight", "bias"):
            rows = [arrays[f"sd_MLP_SET.{k}.{theirs}.{kind}"] for k in range(count)]
            state[f"{ours}.{kind}"] = torch.tensor(np.stack(rows))
    net.load_state_dict(state)
    return net


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    net, which, t0 = potentials(arrays), int(arrays["index"]), int(arrays["t0"])
    weight, bias = (torch.tensor(arrays[n]) for n in ("gen_W", "gen_b"))
    z, half = torch.tensor(arrays["z"]), int(arrays["num_timesteps"]) // 2

    def generator(codes: torch.Tensor) -> torch.Tensor:
        return (codes @ weight.T + bias).tanh()

    def potential(codes: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return net(codes, t, which)

    rolled = rollout(potential, net.speed[which], z, half, Alone())
    first, second, push = rolled.path[t0 + 1], rolled.path[t0 + 2], rolled.moves[t0 + 1]
    variation = jvp(generator, first, push)[1].square().mean()
    loss = rolled.initial.mean() + rolled.residual.mean() - variation
    speed, place = torch.autograd.grad(loss, [net.speed, net.place.weight], retain_graph=True)
    ours = {
        "loss": loss,
        "loss_ic": rolled.initial.mean(),
        "energy": potential(rolled.path[t0], torch.tensor([float(t0)]))[None, :, None],
        "latent1": first,
        "latent2": second,
        "grad_c": speed[:, None],
        "grad_layer_x": place[which],
        **_at_the_start(potential, generator, net.speed[which], z, t0),
    }
    for key, value in ours.items():
        np.testing.assert_allclose(value.detach().numpy(), arrays[key], **CLOSE, err_msg=key)
    weights = {key for key in arrays if key.startswith("sd_")}
    return {"gen_W", "gen_b", "z", "t0", "index", "num_potentials", "num_timesteps"} | weights | set(ours)


def _at_the_start(potential, generator, speed, z, t0):
    """What was looked at with the codes still where they started."""
    z = z.clone().requires_grad_()
    value = potential(z, torch.tensor([float(t0)]))
    move = slope(value, z)
    moved = z + move
    push = slope(potential(moved, torch.tensor([float(t0 + 1)])), moved)
    later = rollout(lambda codes, t: potential(codes, t + t0), speed, z, 1, Alone())
    return {
        "u_at_t0_on_z": value[None, :, None],
        "u_z_at_t0_on_z": move,
        "u_z1_on_z": push,
        "jvp_at_t0_on_z": jvp(generator, moved, push)[1].square().mean(),
        "pde_at_t0_on_z": later.residual.mean(),
    }
