"""The voice's operators, losses and blocks against the authors'."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from unbraid.losses.adversarial import least_squares
from unbraid.losses.stft import multi_resolution_stft
from unbraid.methods.voice.frames import mean_of
from unbraid.nets.wave import CepstralFilter, DownBlock, FiLM, UpBlock
from unbraid.ops.audio import loudness
from unbraid.ops.harmonic import harmonics, impulse_responses, ltv_filter, ltv_frames
from unbraid.ops.knn import knn
from unbraid.ops.matching import matched

SLUG = "07-neucosvc"
INPUTS = ("fs", "hop", "fft", "n_harmonics", "hop_sizes", "p__win")
Arrays = Mapping[str, np.ndarray]


def check(name: str, arrays: Arrays) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    return CASES[name](arrays)


def _close(arrays: Arrays, tolerance: float = 1e-5, **ours: Tensor) -> set[str]:
    for key, value in ours.items():
        found = value.detach().numpy()
        np.testing.assert_allclose(found, arrays[key], rtol=tolerance, atol=tolerance, err_msg=key)
    return set(ours)


def _harmonics(arrays: Arrays) -> set[str]:
    f0 = torch.tensor(arrays["f0"])[..., 0]
    made = harmonics(f0, int(arrays["fs"]), int(arrays["hop"]), int(arrays["n_harmonics"]))
    return {"f0"} | _close(arrays, 1e-3, harmonic=made[:, None])


def _loudness(arrays: Arrays) -> set[str]:
    x = torch.tensor(arrays["x"])
    hop = round(len(x) / (len(arrays["loudness"]) - 1))
    return {"x"} | _close(arrays, 1e-4, loudness=loudness(x[None], 100 * hop, hop)[0])


def _ltv_filter(arrays: Arrays) -> set[str]:
    x, z, hop, fft = torch.tensor(arrays["x"]), torch.tensor(arrays["z"])[:, 0], int(arrays["hop"]), int(arrays["fft"])
    convs = sorted(key for key in arrays if key.endswith("conv1d__weight"))
    weights = [torch.tensor(arrays[key]) for key in convs]
    width, features, _ = weights[0].shape
    groups = width // weights[1].shape[1]
    net = CepstralFilter(features, hop, width, len(weights[-1]), len(weights) - 2, groups, fft)
    for conv, key in zip(net.convs, convs, strict=True):
        with torch.no_grad():
            conv.weight = torch.tensor(arrays[key])
            conv.bias.copy_(torch.tensor(arrays[key.replace("weight", "bias")]))
    taps = torch.tensor(arrays["impulse"])
    seen = _close(arrays, p__quef_norm=net.distances)
    seen |= _close(arrays, ccep=net.cepstra(x) / net.distances)
    seen |= _close(arrays, impulse=impulse_responses(torch.tensor(arrays["ccep"]), fft))
    seen |= _close(arrays, convolved=ltv_frames(z, taps, hop))
    _close(arrays, y=ltv_filter(z, taps, hop)[:, None])
    seen |= _close(arrays, y=net(x, z)[:, None])
    return seen | {"x", "z"} | {key for key in arrays if key.startswith("p__conv")}


def _losses(arrays: Arrays) -> set[str]:
    x, y = torch.tensor(arrays["x"], requires_grad=True), torch.tensor(arrays["y"])
    terms = multi_resolution_stft(x, y, arrays["fft_sizes"].tolist())
    [gradient] = torch.autograd.grad(terms.convergence + terms.magnitude, [x])
    fake, real = torch.tensor(arrays["d_fake"]).unbind(0), torch.tensor(arrays["d_real"]).unbind(0)
    seen = _close(arrays, 1e-4, sc_loss=terms.convergence, mag_loss=terms.magnitude, grad_x=gradient)
    seen |= _close(arrays, 1e-4, gen_adv=least_squares(fake, 1.0), dis_fake=least_squares(fake, 0.0))
    seen |= _close(arrays, 1e-4, dis_real=least_squares(real, 1.0))
    return seen | {"x", "y", "fft_sizes", "d_fake", "d_real"}


def _unet_blocks(arrays: Arrays) -> set[str]:
    x, scale, shift, xd = (torch.tensor(arrays[key]) for key in ("x", "scale", "shift", "xd"))
    after, before, _ = arrays["u__first_block_residual_branch__1__conv1d__weight"].shape
    up = UpBlock(before, after, scale.shape[2] // x.shape[2])
    first, second = "u__first_block_main_branch__", "u__second_block_main_branch__"
    seen = _load(up.first, f"{first}upsampling__2__conv1d", arrays)
    seen |= _load(up.residual, "u__first_block_residual_branch__1__conv1d", arrays)
    for conv, key in zip(
        up.modulated, (f"{first}modulation", f"{second}modulation_0", f"{second}modulation_1"), strict=True
    ):
        seen |= _load(conv, f"{key}__convolution__conv1d", arrays)
    width, narrow, _ = arrays["d__residual_branch__0__conv1d__weight"].shape
    down = DownBlock(narrow, width, xd.shape[2] // arrays["down_out"].shape[2])
    seen |= _load(down.residual, "d__residual_branch__0__conv1d", arrays)
    for i, conv in enumerate(down.main, 1):
        seen |= _load(conv, f"d__main_branch__{i}__convolution__conv1d", arrays)
    film = FiLM(*arrays["f__scale_conv__conv1d__weight"].shape[1::-1])
    for conv, key in ((film.signal, "signal_conv__0"), (film.scale, "scale_conv"), (film.shift, "shift_conv")):
        seen |= _load(conv, f"f__{key}__conv1d", arrays)
    film_scale, film_shift = film(xd)
    seen |= _close(arrays, up_out=up(x, scale, shift), down_out=down(xd), film_scale=film_scale, film_shift=film_shift)
    return seen | {"x", "scale", "shift", "xd"}


def _load(conv: nn.Module, key: str, arrays: Arrays) -> set[str]:
    conv.load_state_dict({name: torch.tensor(arrays[f"{key}__{name}"]) for name in ("weight", "bias")})
    return {f"{key}__weight", f"{key}__bias"}


def _knn_match(arrays: Arrays) -> set[str]:
    source, reference = torch.tensor(arrays["source_layers"]), torch.tensor(arrays["reference_layers"])
    entry, k = int(arrays["synthesis_layer"]), arrays["indices"].shape[1]
    last = range(len(source) - 5, len(source))
    query, keys = mean_of(source, last), mean_of(reference, last)
    distance, order = knn(query, keys, len(keys))
    ours = distance.new_empty(distance.shape).scatter_(1, order, distance)
    seen = _close(arrays, query=query, matching=keys, converted=matched(query, keys, reference[entry], k))
    seen |= _close(arrays, 1e-4, dist=ours)
    np.testing.assert_array_equal(knn(query, keys, k)[1].numpy(), arrays["indices"], err_msg="indices")
    return seen | {"source_layers", "reference_layers", "synthesis_layer", "indices"}


CASES: Mapping[str, Callable[[Arrays], set[str]]] = {
    "knn_match": _knn_match,
    "harmonic_generator": _harmonics,
    "loudness": _loudness,
    "ltv_filter": _ltv_filter,
    "losses": _losses,
    "unet_blocks": _unet_blocks,
}
