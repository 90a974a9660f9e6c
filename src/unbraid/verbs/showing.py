"""What data there are, as text."""

from __future__ import annotations


def list_data() -> str:
    """The data sets that can be opened by name, and those below `UNBRAID_DATA`."""
    from unbraid.data.catalog import sources

    lines = []
    for source in sources():
        lines.append(f"{source.name:<10} {source.summary}")
        lines += [f"{'':<10}   {name}: {text}" for name, text in source.options.items()]
    lines.append("PATH       .npz, .npy, .csv, .parquet, IDX files, or a folder of images or sounds of yours")
    return "\n".join(lines)


def show_data(name: str, pattern: str | None = None) -> str:
    """Items, shape, hash and factors of a data set."""
    from unbraid.data.catalog import open_data

    data = open_data(name, pattern=pattern)
    lines = [f"{data.name}: {len(data):,} items", f"x: {tuple(data.fields['x'].shape)}"]
    lines[1] += ", values in [0, 1]" if data.fields["x"].unit else ""
    for factor in data.factors:
        values = ", ".join(factor.labels[:8]) + (", ..." if factor.size > 8 else "")
        lines.append(f"factor {factor.name}: {factor.kind}, {factor.size or 'any'} values  {values}")
    if not data.factors:
        lines.append("no factors: it can be trained on, not audited")
    return "\n".join([*lines, f"hash: {data.hash}"])
