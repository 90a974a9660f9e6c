"""The networks that a user hands to a method: where each comes from, and whether it is still the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError, RunError, UnbraidError, need

if TYPE_CHECKING:
    from torch import nn

    from unbraid.core.given import Port
    from unbraid.core.method import Method
    from unbraid.data.dataset import Dataset

STANDIN = "stand-in"


@dataclass(frozen=True)
class Handed:
    """The networks of a run.

    Attributes:
        networks: By port.
        sources: Port -> where it came from and a hash of its weights, as `run.json` keeps them.
    """

    networks: Mapping[str, nn.Module]
    sources: Mapping[str, Mapping[str, str]]


def hand_over(
    cls: type[Method[Any]],
    asked: Mapping[str, str],
    data: Dataset,
    seed: int,
    recorded: Mapping[str, Mapping[str, str]] | None = None,
) -> Handed:
    """Open the networks for the ports of a method.

    A source is the folder of a finished run, `package.module:function` (called with the fields of the data, it returns
    a module), or `hf:NAME` (a name or a folder): a model of the library transformers, or an unconditional pipeline of
    diffusers, which has a `model_index.json`.

    Args:
        cls: The method class.
        asked: Port -> source.
        data: What a stand-in is trained for.
        seed: Of the stand-ins.
        recorded: What `run.json` says of an earlier start; a network that is another now is refused.

    Raises:
        ConfigError: There is no such port or source.
        RunError: The network is not the one that the run was made with.
    """
    from unbraid.core.errors import nearest
    from unbraid.core.given import stands_in, weights_hash

    ports = {port.name: port for port in cls.card.ports}
    for name in asked:
        if name not in ports:
            fix = nearest(name, ports) if ports else f"{cls.card.name} takes no networks"
            raise ConfigError("a network that the method takes", got=f"'{name}'", fix=fix, where="--given")
    networks: dict[str, nn.Module] = {}
    sources: dict[str, dict[str, str]] = {}
    for name, port in ports.items():
        source = asked.get(name, STANDIN if stands_in(port, data.fields) else "")
        if not source:
            continue
        shape_only = port.stored and recorded is not None
        networks[name] = _open(port, source, data, seed, shape_only)
        now = {"source": source} if port.stored else {"source": source, "hash": weights_hash(networks[name])}
        _same(name, now, (recorded or {}).get(name, now))
        sources[name] = now
    return Handed(networks, sources)


def _same(name: str, now: Mapping[str, str], was: Mapping[str, str]) -> None:
    if now.get("hash") != was.get("hash"):
        fix = "put back the one that the run was trained with"
        raise RunError(f"the network '{name}' with hash {was.get('hash')}", got=str(now.get("hash")), fix=fix)


def _open(port: Port, source: str, data: Dataset, seed: int, shape_only: bool) -> nn.Module:
    from unbraid.core.given import standin_of
    from unbraid.training.cache import trained_once

    if source == STANDIN:
        standin = standin_of(port)
        return standin.shape(data.fields) if shape_only else trained_once(standin, data, seed)
    if source.startswith("hf:"):
        return _pretrained(source.removeprefix("hf:"))
    if Path(source).is_dir():
        from unbraid.verbs.trained import load

        return load(source).method
    if ":" in source:
        return _made_by(source, data)
    fix = "give the folder of a finished run, package.module:function, or hf:NAME"
    raise ConfigError(port.help, got=f"'{source}'", fix=fix, where=f"--given {port.name}")


def _pretrained(name: str) -> nn.Module:
    if _is_pipeline(name):
        return _denoiser(name)
    library = need("transformers", extra="hf")
    try:
        net: nn.Module = library.AutoModel.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ConfigError("a model of transformers", got=_line(error), where=f"--given hf:{name}") from None
    return net


def _is_pipeline(name: str) -> bool:
    """Whether there is a `model_index.json`: in the folder, or among what is kept or offered under that name."""
    if Path(name).is_dir():
        return (Path(name) / "model_index.json").is_file()
    hub = need("huggingface_hub", extra="hf")
    try:
        hub.hf_hub_download(name, "model_index.json")
    except (OSError, ValueError, hub.errors.HfHubHTTPError):  # not there, no such name, or nobody to ask
        return False
    return True


def _denoiser(name: str) -> nn.Module:
    from unbraid.nets.pretrained import PretrainedUNet

    library = need("diffusers", extra="hf")
    where = f"--given hf:{name}"
    try:
        parts = library.DiffusionPipeline.load_config(name)
        if parts.get("unet", ["", ""])[1] != "UNet2DModel":
            raise ConfigError("a pipeline of a UNet2DModel", got=str(parts.get("_class_name")), where=where)
        pipeline = library.DiffusionPipeline.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ConfigError("a pipeline of diffusers with safetensors", got=_line(error), where=where) from None
    return PretrainedUNet(pipeline.unet, pipeline.scheduler)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _made_by(source: str, data: Dataset) -> nn.Module:
    import importlib

    from torch import nn

    module, _, function = source.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("package.module:function", got=str(error), where=f"--given {source}") from None
    try:
        net = make(data.fields)
    except UnbraidError:
        raise
    except Exception as error:  # whatever the user's own code may raise
        expected = "a function that takes the fields of the data and returns a module"
        got = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise ConfigError(expected, got=got, where=f"--given {source}") from error
    if not isinstance(net, nn.Module):
        raise ConfigError("a function that returns a module", got=type(net).__name__, where=f"--given {source}")
    return net
