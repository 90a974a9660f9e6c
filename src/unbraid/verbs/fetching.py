"""Published data sets onto this machine."""

from __future__ import annotations

from pathlib import Path

from unbraid.core.errors import ConfigError
from unbraid.training.progress import Progress


def fetch_data(spec: str, folder: Path | None, progress: Progress) -> list[str]:
    """Download the files of a published set, or check those that are there.

    Args:
        spec: Its name, with options as `open_data` takes them.
        folder: Where to; None puts them where `open_data` looks for them.
        progress: Told how far each file is.

    Returns:
        A line on each file, and one on the licence.

    Raises:
        DataError: No connection, no room, or a file other than the published one.
    """
    from unbraid.data.catalog import published_set
    from unbraid.data.official.fetch import fetch
    from unbraid.data.official.places import home

    entry, named, _ = published_set(spec)
    if folder is not None and named is not None:
        raise ConfigError("one folder", got=f"{named} and {folder}", fix="leave --folder out", where=spec)
    found = fetch(entry, folder or named or home(entry.name), progress)
    return [*(f.line() for f in found), f"licence: {entry.licence}; see {entry.page}"]
