"""Camera poses and motions: seven numbers, a translation and a unit quaternion with its real part first.

A pose says how the camera's own frame lies in the world. A motion is the next pose as seen from the present one, so
that it means the same wherever the camera stands. Of the two quaternions of a rotation the one with w >= 0 is kept.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NUMBERS = 7
"""Of a pose."""


def signed(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The one of q and -q, which turn alike, whose first number that is not 0 is positive.

    >>> signed(torch.tensor([[-0.6, 0.8, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]])).tolist()[1]
    [-0.0, 1.0, -0.0, -0.0]
    """
    first = (q != 0).to(torch.int8).argmax(-1, keepdim=True)
    return torch.where(q.gather(-1, first) < 0, -q, q)


def multiply(a: Float[Tensor, "*batch 4"], b: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Hamilton's product: first the turn b, then the turn a."""
    (aw, ax, ay, az), (bw, bx, by, bz) = a.unbind(-1), b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def inverse(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The turn back of a unit quaternion."""
    return torch.cat([q[..., :1], -q[..., 1:]], -1)


def rotate(q: Float[Tensor, "*batch 4"], v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Vectors turned by unit quaternions.

    >>> rotate(about(2, torch.tensor([torch.pi / 2])), torch.tensor([[1.0, 0.0, 0.0]])).round(decimals=6).abs().tolist()
    [[0.0, 1.0, 0.0]]
    """
    axis, w = q[..., 1:], q[..., :1]
    across = 2 * torch.linalg.cross(axis, v)
    turned: Tensor = v + w * across + torch.linalg.cross(axis, across)
    return turned


def about(axis: int, angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 4"]:
    """The right-handed turn by an angle about the axis x, y or z (0, 1, 2), its sign fixed."""
    q = torch.zeros(*angle.shape, 4, dtype=angle.dtype, device=angle.device)
    q[..., 0], q[..., 1 + axis] = (angle / 2).cos(), (angle / 2).sin()
    return signed(q)


def relative(here: Float[Tensor, "*batch 7"], there: Float[Tensor, "*batch 7"]) -> Float[Tensor, "*batch 7"]:
    """The motion from one pose to another: the other in the frame of the one.

    >>> here, there = torch.randn(2, 5, 7)
    >>> here[:, 3:] /= here[:, 3:].norm(dim=1, keepdim=True)
    >>> there[:, 3:] = signed(there[:, 3:] / there[:, 3:].norm(dim=1, keepdim=True))
    >>> torch.allclose(moved(here, relative(here, there)), there, atol=1e-5)
    True
    """
    back = inverse(here[..., 3:])
    shift = rotate(back, there[..., :3] - here[..., :3])
    return torch.cat([shift, signed(multiply(back, there[..., 3:]))], -1)


def moved(pose: Float[Tensor, "*batch 7"], motion: Float[Tensor, "*batch 7"]) -> Float[Tensor, "*batch 7"]:
    """The pose after a motion in the pose's own frame; its quaternion is brought back to length 1."""
    turn = torch.nn.functional.normalize(multiply(pose[..., 3:], motion[..., 3:]), dim=-1)
    return torch.cat([pose[..., :3] + rotate(pose[..., 3:], motion[..., :3]), signed(turn)], -1)


def still(*shape: int, device: torch.device | str = "cpu") -> Float[Tensor, "*shape 7"]:
    """The motion that moves nothing.

    >>> still(1).tolist()
    [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
    """
    motion = torch.zeros(*shape, NUMBERS, device=device)
    motion[..., 3] = 1.0
    return motion


def apart(
    one: Float[Tensor, "*batch 7"], other: Float[Tensor, "*batch 7"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """How far two poses are from each other: the angle of the turn between them in degrees, and the distance."""
    motion = relative(one, other)
    angle = 2 * torch.atan2(motion[..., 4:].norm(dim=-1), motion[..., 3].abs())
    return torch.rad2deg(angle), motion[..., :3].norm(dim=-1)
