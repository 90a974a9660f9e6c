"""DiST's networks, whole and in parts, against the authors'."""

import re

import numpy as np
import torch

from unbraid.nets.dist import DiST, Sizes

SLUG = "26-dist"
OURS = (
    (r"^proj$", "out"),
    (r"^aggregated_cls_token$", "clip_token"),
    (r"^aggregated_spatial_cls_token$", "frame_token"),
    (r"^temporal_stem\.", "stem."),
    (r"^input_linears\.", "inputs."),
    (r"^integration2temporal_nets\.(\d+)\.linear_fuse\.", r"to_temporal.\1.fuse."),
    (r"^temporal2integration_nets\.(\d+)\.linear_fuse\.", r"to_integration.\1.fuse."),
    (r"^temporal2integration_nets\.(\d+)\.cls_token$", r"to_integration.\1.cls"),
    (r"^temporal_nets\.(\d+)\.temporal_net\.c_fc1\.", r"temporal.\1.time."),
    (r"^temporal_nets\.(\d+)\.temporal_net\.c_fc2\.", r"temporal.\1.space."),
    (r"^temporal_nets\.(\d+)\.ln\.", r"temporal.\1.norm."),
    (r"^integration_nets\.(\d+)\.ffn\.c_fc\.", r"integration.\1.ffn.0."),
    (r"^integration_nets\.(\d+)\.ffn\.c_proj\.", r"integration.\1.ffn.2."),
    (r"^integration_nets\.(\d+)\.temporal_ffn\.c_fc1\.", r"integration.\1.down."),
    (r"^integration_nets\.(\d+)\.temporal_ffn\.c_fc2\.", r"integration.\1.time."),
    (r"^integration_nets\.(\d+)\.temporal_ffn\.c_proj\.", r"integration.\1.up."),
    (r"^integration_nets\.(\d+)\.ln\.", r"integration.\1.norm."),
    (r"^integration_nets\.(\d+)\.ln_temporal\.", r"integration.\1.time_norm."),
    (r"^adapooling_nets\.(\d+)\.positional_embedding$", r"pooling.\1.positions"),
    (r"^adapooling_nets\.(\d+)\.spatial_transformer\.attn\.", r"pooling.\1.space.attention."),
    (r"^adapooling_nets\.(\d+)\.spatial_transformer\.ln_1\.", r"pooling.\1.space.norm."),
    (r"^adapooling_nets\.(\d+)\.output_map_spatial_cls_token\.c_fc\.", r"pooling.\1.space.mlp.0."),
    (r"^adapooling_nets\.(\d+)\.output_map_spatial_cls_token\.c_proj\.", r"pooling.\1.space.mlp.2."),
    (r"^adapooling_nets\.(\d+)\.ln_out_spat_cls_token\.", r"pooling.\1.space.mlp_norm."),
    (r"^adapooling_nets\.(\d+)\.temporal_transformer\.attn\.", r"pooling.\1.time.attention."),
    (r"^adapooling_nets\.(\d+)\.temporal_transformer\.ln_1\.", r"pooling.\1.time.norm."),
    (r"^adapooling_nets\.(\d+)\.output_map_cls_token\.c_fc\.", r"pooling.\1.time.mlp.0."),
    (r"^adapooling_nets\.(\d+)\.output_map_cls_token\.c_proj\.", r"pooling.\1.time.mlp.2."),
    (r"^adapooling_nets\.(\d+)\.ln_out_temp_cls_token\.", r"pooling.\1.time.mlp_norm."),
    (r"^proj_spatial_cls_token\.", "cls."),
    (r"^ln_post\.", "norm."),
)
STORED = "P8/"


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file."""
    net = _net(arrays)
    inputs = {key for key in arrays if key.startswith((STORED, "mid_i8_"))}
    inputs |= {"images_i8", "num_frames", "alpha", "selected_layers", "tn_in", "in_in"}
    ours = _parts(net, arrays)
    with torch.no_grad():
        made = net(_images(arrays), _layers(arrays)).integrated @ net.out
    np.testing.assert_allclose(made.numpy(), arrays["output"], rtol=0, atol=2e-4, err_msg="output")
    for key, value in ours.items():
        np.testing.assert_allclose(value.numpy(), arrays[key], rtol=0, atol=1e-5, err_msg=key)
    return inputs | set(ours) | {"output"}


def _net(arrays: dict[str, np.ndarray]) -> DiST:
    weights = {key.removeprefix(STORED): value for key, value in arrays.items() if key.startswith(STORED)}
    stem, fuse = weights["temporal_stem.weight"], weights["temporal2integration_nets.0.linear_fuse.weight"]
    hidden = weights["temporal_nets.0.temporal_net.c_fc1.weight"].shape[0]
    width = fuse.shape[0]
    sizes = Sizes(
        tokens=weights["proj_spatial_cls_token.weight"].shape[1],
        layers=len(arrays["selected_layers"]),
        patch=stem.shape[3],
        width=width,
        temporal=stem.shape[0],
        out=weights["proj"].shape[1],
        frames=int(arrays["num_frames"]) // int(arrays["alpha"]),
        alpha=int(arrays["alpha"]),
        pooling=sum("positional_embedding" in key for key in weights),
        heads=max(1, width // 64),
        kernel=stem.shape[2],
        ratio=hidden / stem.shape[0],
        ffn=weights["integration_nets.0.ffn.c_fc.weight"].shape[0] / width,
        temporal_ffn=weights["integration_nets.0.temporal_ffn.c_fc1.weight"].shape[0] / width,
        channels=stem.shape[1],
    )
    net = DiST(sizes).eval()
    own = dict(net.named_parameters())
    read = {_renamed(key): _weight(key, value) for key, value in weights.items()}
    net.load_state_dict({key: value.reshape(own[key].shape) for key, value in read.items()})
    return net


def _renamed(key: str) -> str:
    return next(re.sub(theirs, ours, key) for theirs, ours in OURS if re.match(theirs, key))


def _weight(key: str, q: np.ndarray) -> torch.Tensor:
    """Stored in 1/128 and vectors in 1/64, scales of layer norms less 1."""
    scale = re.search(r"(^|\.)ln[^.]*\.weight$", key) is not None
    return torch.tensor(q, dtype=torch.float32) / (128 if q.ndim > 1 else 64) + float(scale)


def _images(arrays: dict[str, np.ndarray]) -> torch.Tensor:
    images = torch.tensor(arrays["images_i8"], dtype=torch.float32) / 32
    return images.unflatten(0, (-1, int(arrays["num_frames"])))


def _layers(arrays: dict[str, np.ndarray]) -> list[torch.Tensor]:
    frames = int(arrays["num_frames"]) // int(arrays["alpha"])
    read = (arrays[f"mid_i8_{k}"] for k in arrays["selected_layers"].tolist())
    return [_tokens(torch.tensor(mid, dtype=torch.float32) / 32, frames) for mid in read]


def _tokens(x: torch.Tensor, frames: int) -> torch.Tensor:
    """(l, b T, d) -> (b, T, l, d)."""
    return x.transpose(0, 1).unflatten(0, (-1, frames))


def _parts(net: DiST, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    v, m = torch.tensor(arrays["tn_in"]), _tokens(torch.tensor(arrays["in_in"]), net.frames)

    def theirs(tokens: torch.Tensor) -> torch.Tensor:
        return tokens.flatten(0, 1).transpose(0, 1)

    with torch.no_grad():
        return {
            "tn_out": net.temporal[0](v),
            "t2i_out": theirs(net.to_integration[0](v)),
            "in_out": theirs(net.integration[0](m)),
            "i2t_out": net.to_temporal[0](m, v.shape[-2:]),
        }
