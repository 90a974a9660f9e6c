"""What data there are, as text."""

from __future__ import annotations


def list_data() -> str:
    """The data sets that can be opened by name, and those below `UNBRAID_DATA`."""
    from unbraid.data.catalog import kinds, published, sources

    lines = []
    for source in [*sources(), *published()]:
        absent = "" if source.there else f"  [not here: unbraid data fetch {source.name}]"
        lines.append(f"{source.name:<10} {source.summary}{absent}")
        lines += [f"{'':<10}   {name}: {text}" for name, text in source.options.items()]
    for kind in kinds():
        lines.append(f"{kind.name}:PATH  {kind.summary}")
        lines += [f"{'':<10}   {name}: {text}" for name, text in kind.options.items()]
    lines.append("hf:NAME    a data set of the Hugging Face hub, or a folder that save_to_disk wrote")
    lines.append(f"{'':<10}   split: its part (default train)")
    lines.append(f"{'':<10}   config: its configuration, where it has several")
    lines.append("PATH       .npz, .npy, .csv, .parquet, IDX files, or a folder of images or sounds of yours")
    return "\n".join(lines)


def show_data(name: str, pattern: str | None = None) -> str:
    """Items, shape, hash and factors of a data set."""
    from unbraid.data.catalog import open_data

    if _is_absent(name):
        return _describe(name)
    data = open_data(name, pattern=pattern)
    lines = [f"{data.name}: {len(data):,} items"]
    for field, about in data.fields.items():
        if field not in ("index", "factors", "known"):
            told = [", values in [0, 1]" if about.unit else "", f", {about.classes} values" if about.classes else ""]
            lines.append(f"{field}: {about.shape or 'one ' + about.dtype}{''.join(told)}")
    if data.audited is not data:
        lines.append(f"audited: {len(data.audited):,} {data.audited.name}")
    for factor in data.audited.factors:
        values = ", ".join(factor.labels[:8]) + (", ..." if factor.size > 8 else "")
        lines.append(f"factor {factor.name}: {factor.kind}, {factor.size or 'any'} values  {values}")
    if not data.audited.factors:
        lines.append("no factors: it can be trained on, not audited")
    return "\n".join([*lines, f"hash: {data.hash}"])


def _is_absent(name: str) -> bool:
    """Whether it is a published set whose files are yet to be fetched."""
    from unbraid.data.catalog import published, published_set
    from unbraid.data.official.places import is_there

    if name.partition(":")[0] not in {source.name for source in published()}:
        return False
    entry, folder, _ = published_set(name)
    return not is_there(entry, folder)


def _describe(name: str) -> str:
    """A published set, without its files."""
    from unbraid.data.catalog import published_set
    from unbraid.data.official.places import home

    entry, folder, _ = published_set(name)
    lines = [f"{entry.spec}: {entry.rows:,} items, not here: run `unbraid data fetch {entry.spec}`", entry.summary]
    lines += [f"licence: {entry.licence}", f"page: {entry.page}", f"folder: {folder or home(entry.name)}"]
    return "\n".join([*lines, *(f"file: {file.name}" for file in entry.files)])
