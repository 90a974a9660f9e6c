import math

import torch

from unbraid.ops.pose import about, apart, inverse, moved, multiply, relative, rotate, signed, still


def poses(n, seed=0):
    raw = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([raw[:, :3], signed(torch.nn.functional.normalize(raw[:, 3:], dim=1))], 1)


def matrix(pose):
    """The pose as a matrix, by the textbook's formula."""
    w, x, y, z = pose[3:].tolist()
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    rows = [[*turn[i], float(pose[i])] for i in range(3)]
    return torch.tensor([*rows, [0, 0, 0, 1]], dtype=torch.float64)


def test_a_motion_is_the_other_pose_in_the_frame_of_the_one():
    for here, there in zip(poses(5), poses(5, 1), strict=True):
        motion = relative(here[None], there[None])[0]
        torch.testing.assert_close(matrix(motion), torch.linalg.inv(matrix(here)) @ matrix(there))
        torch.testing.assert_close(moved(here, motion), there)


def test_quaternions_turn_as_matrices_do_and_back():
    pose, v = poses(4), torch.randn(4, 3, dtype=torch.float64)
    turned = torch.stack([matrix(p)[:3, :3] @ x for p, x in zip(pose, v, strict=True)])
    torch.testing.assert_close(rotate(pose[:, 3:], v), turned)
    torch.testing.assert_close(rotate(inverse(pose[:, 3:]), turned), v)
    one = multiply(pose[:, 3:], inverse(pose[:, 3:]))
    torch.testing.assert_close(one, still(4).double()[:, 3:])


def test_a_quaternion_and_its_negative_are_one_motion():
    here, there = poses(6), poses(6, 1)
    flipped = torch.cat([there[:, :3], -there[:, 3:]], 1)
    torch.testing.assert_close(relative(here, flipped), relative(here, there))
    assert (relative(here, there)[:, 3] >= 0).all()
    half = torch.tensor([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0]])
    assert torch.equal(signed(half), -half)
    assert torch.equal(signed(-half), -half)


def test_standing_still_changes_nothing():
    here = poses(3)
    torch.testing.assert_close(moved(here, still(3).double()), here)
    torch.testing.assert_close(relative(here, here), still(3).double())


def test_how_far_two_poses_are_apart():
    one = still(1)
    other = torch.cat([torch.tensor([[3.0, 4.0, 0.0]]), about(1, torch.tensor([math.radians(30)]))], 1)
    angle, way = apart(one, other)
    torch.testing.assert_close(angle, torch.tensor([30.0]))
    torch.testing.assert_close(way, torch.tensor([5.0]))
    assert apart(other, other)[0].abs() < 1e-3
