"""Picture files as data URIs, with what they say about themselves."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

_KINDS = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_LARGEST = 8 * 2**20  # bytes; a page of many such pictures would no longer open quickly


@dataclass(frozen=True)
class Plate:
    """One picture of a page.

    Attributes:
        name: File name.
        source: Data URI; empty where the file is too large to embed.
        alt: What it shows, for those who cannot see it.
        width: Width at which it is meant to be seen, in CSS pixels.
        height: Height, likewise.
        moves: Whether it is an animation.
    """

    name: str
    source: str
    alt: str
    width: int
    height: int
    moves: bool


def plates(folder: Path) -> list[Plate]:
    """The pictures of a folder by name; none where there is no folder. Unreadable ones are left out."""
    if not folder.is_dir():
        return []
    found = sorted((p for p in folder.iterdir() if p.suffix.lower() in _KINDS), key=lambda p: (p.suffix, p.name))
    return [plate for path in found if not path.name.startswith(".") and (plate := _plate(path))]


def _plate(path: Path) -> Plate | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            (width, height), info = picture.size, dict(picture.info)
            moves = bool(getattr(picture, "is_animated", False))
        data = path.read_bytes()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    described = info.get("Description") or info.get("comment") or path.stem.replace("-", " ").replace("_", " ")
    alt = described.decode("utf-8", "replace") if isinstance(described, bytes) else str(described)
    kind = _KINDS[path.suffix.lower()]
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}" if len(data) <= _LARGEST else ""
    # Pictures that describe themselves are ours, and drawn at twice the size they are meant to be seen at.
    scale = 2 if "Description" in info or "comment" in info else 1
    return Plate(path.name, source, alt, -(-width // scale), -(-height // scale), moves)
