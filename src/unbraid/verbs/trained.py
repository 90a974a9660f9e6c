"""A finished run, and the codes of its data or of others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.training.runs import Run
from unbraid.verbs.request import asked_for, make, start_from

if TYPE_CHECKING:
    import torch

    from unbraid.core.method import Method
    from unbraid.core.parts import Parts
    from unbraid.data.dataset import Dataset


@dataclass(frozen=True)
class Trained:
    """A trained method with the data it was trained on.

    Attributes:
        method: In eval mode, on the CPU.
        data: The data set.
        run: Its folder and facts.
    """

    method: Method[Any]
    data: Dataset
    run: Run

    def sample(self, count: int) -> torch.Tensor:
        """Positions (n,) of at most `count` audited items, drawn without repetition by the run's seed."""
        import torch

        from unbraid.data.order import key_of, shuffled

        items = len(self.data.audited)
        return shuffled(items, key_of(int(self.run.facts["seed"]), "audit"), torch.arange(min(count, items)))

    def encode(self, indices: torch.Tensor, data: Dataset | None = None) -> Parts:
        """The parts of some items, of this run's data or of others."""
        return encode(self.method, data or self.data.audited, indices)


def load(folder: Path | str) -> Trained:
    """A finished run.

    Raises:
        RunError: The folder is no run, or training is not finished.
        DataError: Its data are not where they were.
    """
    run = Run(Path(folder))
    request = asked_for(run)
    if not (run.folder / "model.safetensors").exists():
        fix = f"go on with `unbraid train --resume {folder}`"
        raise RunError("a run that has finished training", got=f"status '{run.status}'", fix=fix, where=str(folder))
    made = make(replace(request, start=None), run.facts)
    start_from(made.method, run.folder)
    return Trained(made.method.eval(), made.data, run)


def encode(method: Method[Any], data: Dataset, indices: torch.Tensor, batch: int = 512) -> Parts:
    """The parts of some items of a data set, on the CPU."""
    import torch

    from unbraid.core.parts import Parts
    from unbraid.data.loader import batches

    device = next((t.device for t in method.tensors().values()), torch.device("cpu"))
    with torch.no_grad():
        drawn = batches(data, torch.split(indices, batch), device)
        return Parts.cat([method.encode(b).detach().to("cpu") for _, b in drawn])


def _alike(source: Dataset, trained: Trained, spec: str) -> None:
    """Refuse items that are not like those of the run.

    Raises:
        DataError: Naming what differs.
    """
    wanted, where = trained.data.audited.fields, f"--data {spec}"
    if trained.method.card.scope == "data" and source.hash != trained.data.audited.hash:
        raise DataError("the run's own data, of which the codes are made", got="others", where=where)
    for name in ("x", "wave", "token", "state", "node"):
        if name in wanted and source.fields[name] != wanted[name]:
            got = f"{source.fields[name].shape}"
            raise DataError(f"items of shape {wanted[name].shape} as in the run's data", got=got, where=where)


def embed(
    folder: Path,
    data: str,
    out: Path,
    *,
    size: int | None = None,
    pattern: str | None = None,
    limit: int | None = None,
) -> Path:
    """Write the parts of a data set, with ids and known factors.

    Args:
        folder: A finished run.
        data: What `open_data` takes; must have the fields of the run's data.
        out: A `.npz`, `.csv` or `.parquet` file.
        size: Side that images are brought to; the run's own where None.
        pattern: What the names of files in a folder tell, or None.
        limit: Most items.

    Returns:
        `out`.
    """
    import torch

    from unbraid.data.catalog import open_data
    from unbraid.data.codes import write_codes

    if out.suffix not in (".npz", ".csv", ".parquet"):
        raise ConfigError("a file ending in .npz, .csv or .parquet", got=f"'{out.name}'", where="--out")
    trained = load(folder)
    own = size if size is not None else trained.run.facts["request"].get("size")
    source = open_data(data, size=own, pattern=pattern).audited
    wanted = trained.data.audited.fields
    if "x" in wanted and source.fields["x"].shape != wanted["x"].shape and size is None and len(wanted["x"].shape) == 3:
        source = open_data(data, size=wanted["x"].shape[1], pattern=pattern) if ":" not in data else source
    _alike(source, trained, data)
    indices = torch.arange(min(limit or len(source), len(source)))
    parts = trained.encode(indices, source)
    arrays = {name: parts.matrix(name).numpy() for name in parts}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_codes(out, arrays, source.ids(indices), source.table(indices))
    return out
