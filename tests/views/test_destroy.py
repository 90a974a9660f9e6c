import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.views.destroy import occlude, patch_shuffle, pixel_shuffle


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_shuffled_patches_are_the_images_own_each_in_its_own_order(batch, channels, side, height, width):
    x = torch.rand(batch, channels, side * height, side * width)
    order = torch.rand(batch, side**2).argsort(1)
    seen = patch_shuffle(x, order)
    for image, moved, permutation in zip(x, seen, order, strict=True):
        for place, source in enumerate(permutation.tolist()):
            new, old = (divmod(n, side) for n in (place, source))
            a, b = (
                t[:, r * height : (r + 1) * height, c * width : (c + 1) * width]
                for t, (r, c) in ((moved, new), (image, old))
            )
            assert torch.equal(a, b)
    back = patch_shuffle(seen, order.argsort(1))
    assert torch.equal(back, x)


def test_sizes_that_patches_do_not_divide_are_kept_and_blended():
    x = torch.rand(2, 3, 15, 18)
    order = torch.arange(16).expand(2, 16)
    seen = patch_shuffle(x, order)
    assert seen.shape == x.shape
    assert not torch.equal(seen, x)
    torch.testing.assert_close(patch_shuffle(torch.ones(2, 3, 15, 18), order), torch.ones(2, 3, 15, 18))


def test_shuffled_pixels_keep_every_colour_together():
    x = torch.rand(2, 3, 4, 5)
    order = torch.randperm(20)
    seen = pixel_shuffle(x, order)
    assert torch.equal(seen.flatten(2), x.flatten(2)[:, :, order])
    assert torch.equal(pixel_shuffle(seen, order.argsort()), x)


def test_the_middle_is_covered_by_the_mean_colour_and_the_image_stays():
    x = torch.rand(2, 3, 8, 12)
    kept = x.clone()
    seen = occlude(x)
    torch.testing.assert_close(seen[:, :, 2:6, 3:9], x.mean((2, 3), keepdim=True).expand(2, 3, 4, 6))
    outside = torch.ones(8, 12, dtype=torch.bool)
    outside[2:6, 3:9] = False
    assert torch.equal(seen[..., outside], x[..., outside])
    assert torch.equal(x, kept)
