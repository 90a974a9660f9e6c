"""Steer a run: pictures and arrays of one part changed and the rest kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError
from unbraid.verbs.trained import Trained, load

if TYPE_CHECKING:
    from unbraid.audit import Audit
    from unbraid.steer.edit import Grid


def steer(
    folder: Path, verb: str, parts: Sequence[str], items: Sequence[int], out: Path | None, **options: Any
) -> Path:
    """Steer items of a run's data and write pictures and arrays.

    Args:
        folder: The run.
        verb: "traverse", "interpolate", "swap" or "replace".
        parts: Parts or columns to steer; all columns of the families where empty, for a traverse.
        items: Positions in the data set.
        out: A `.png`, `.gif` or `.npz` file; one in the run's `pictures` where None.
        options: steps, beyond, value; and flow, a run of flows through this run's codes.

    Returns:
        The file written.
    """
    trained = load(folder)
    if options.get("flow") is not None:
        if verb != "traverse":
            raise ConfigError("traverse, where there is a flow", got=verb, where="--flow")
        trained = _flowing(trained, Path(options["flow"]))
    grid = _grid(trained, verb, parts, items, options)
    path = out or _free(folder / "pictures", verb)
    if path.suffix not in (".png", ".gif", ".npz"):
        raise ConfigError("a file ending in .png, .gif or .npz", got=f"'{path.name}'", where="--out")
    from unbraid.audit import Audit
    from unbraid.steer import pictures as paint

    known = folder / "audit.json"
    tracks = tracked(Audit.from_json(known.read_text(encoding="utf-8")) if known.exists() else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        return paint.write_npz(path, grid)
    return paint.write_png(path, grid, tracks) if path.suffix == ".png" else paint.write_gif(path, grid, tracks)


def _flowing(trained: Trained, folder: Path) -> Trained:
    """The run's data, with the method of a run of flows through the run's own codes.

    Raises:
        ConfigError: The other run is no such thing.
    """
    from unbraid.core.given import weights_hash
    from unbraid.steer.edit import Rolls

    other = load(folder)
    if not isinstance(other.method, Rolls):
        raise ConfigError("a run of flows", got=f"one of '{other.method.card.name}'", where=f"--flow {folder}")
    hashes = {source.get("hash") for source in other.run.facts.get("given", {}).values()}
    if weights_hash(trained.method) not in hashes:
        fix = f"train it with --given generator={trained.run.folder}"
        raise ConfigError("flows through this run's codes", got="others", fix=fix, where=f"--flow {folder}")
    return Trained(other.method, trained.data, trained.run)


def _grid(trained: Trained, verb: str, parts: Sequence[str], items: Sequence[int], options: Mapping[str, Any]) -> Grid:
    import torch

    from unbraid.steer import edit

    needed = 2 if verb in ("interpolate", "swap") else 1
    if len(items) != needed:
        raise ConfigError(f"{needed} item{'s' * (needed - 1)} for {verb}", got=str(len(items)), fix="name positions")
    for item in items:
        if not 0 <= item < len(trained.data.audited):
            raise ConfigError(f"items 0..{len(trained.data.audited) - 1}", got=str(item))
    if verb != "traverse" and not parts:
        known = ", ".join(s.name for s in trained.method.parts())
        raise ConfigError("--part", got="none", fix=f"name a part or a column of {known}")
    codes = trained.encode(trained.sample(2000))
    chosen = [trained.encode(torch.tensor([i])) for i in items]
    steps = {"steps": options["steps"]} if options.get("steps") else {}
    beyond = float(options.get("beyond") or 0.0)
    if verb == "traverse":
        return edit.traverse(trained.method, chosen[0], codes, list(parts) or None, beyond=beyond, **steps)
    if verb == "interpolate":
        return edit.interpolate(trained.method, chosen[0], chosen[1], list(parts), codes=codes, **steps)
    if verb == "swap":
        return edit.swap(trained.method, chosen[0], chosen[1], list(parts))
    if options.get("value") is None:
        raise ConfigError("--value for replace", got="none")
    return edit.replace(trained.method, chosen[0], parts[0], float(options["value"]), codes, beyond=beyond)


def _free(folder: Path, stem: str) -> Path:
    names = (f"{stem}.png" if i == 1 else f"{stem}-{i}.png" for i in range(1, 10_000))
    return next(path for name in names if not (path := folder / name).exists())


def pictures(trained: Trained, found: Audit | None, *, items: int = 10, rows: int = 12) -> list[Path]:
    """Reconstructions of a run that decodes, and traversals or swaps, into its folder `pictures`.

    Parts that are single numbers are traversed; where there are none, each part is swapped between pairs of items.
    """
    from unbraid.core.method import Decodes
    from unbraid.steer import pictures as paint
    from unbraid.steer.edit import Rolls, swap, traverse

    method, data = trained.method, trained.data.audited
    if not isinstance(method, Decodes) or "x" not in data.fields:
        return []
    codes = trained.encode(trained.sample(2000))
    import torch

    with torch.no_grad():
        decoded = method.decode(codes.rows(slice(items)))
    if "x" not in data.fields or tuple(decoded.shape[1:]) != data.fields["x"].shape:
        return []  # what it decodes to is no observation: activations of a network that was given
    folder = trained.run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    x = data.take(trained.sample(items))["x"]
    unit = data.fields["x"].unit
    made = [paint.write_reconstructions(folder / "reconstructions.png", x, decoded, unit=unit)]
    tracks = tracked(found)
    specs = [spec for spec in method.parts() if spec.of is None]
    columns = any(spec.kind in ("fam", "sca") or (spec.classes and not spec.shape) for spec in specs)
    if not columns and not isinstance(method, Rolls):
        half = min(items, codes.size) // 2
        one, other = codes.rows(slice(half)), codes.rows(slice(half, 2 * half))
        for spec in specs if half else ():
            path = folder / f"swap-{spec.name}.png"
            made.append(paint.write_png(path, swap(method, one, other, spec.name), rows=rows))
        return made
    grid = traverse(method, codes.rows(slice(1)), codes)
    made.append(paint.write_png(folder / "traversals.png", grid, tracks, rows=rows))
    moving = traverse(method, codes.rows(slice(1)), codes, steps=16)
    made.append(paint.write_gif(folder / "traversals.gif", moving, tracks, rows=rows))
    return made


def tracked(found: Audit | None, floor: float = 0.1) -> dict[str, str]:
    """Column -> the factor that it knows best, where it knows at least a share `floor` of its entropy."""
    best: dict[str, tuple[float, str]] = {}
    for row in found.rows if found else ():
        if row.column is None or row.share is None or row.share < floor:
            continue
        name = f"{row.part}[{row.column}]"
        best[name] = max(best.get(name, (0.0, "")), (row.share, row.factor))
    return {name: factor for name, (_, factor) in best.items()}
