"""Download the files of a published set: complete and of the published digest, or absent."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from unbraid._version import __version__
from unbraid.core.errors import DataError
from unbraid.data.official.places import find
from unbraid.data.official.registry import File, Official
from unbraid.data.readers.check import brief, open_bytes, plain_size

_CHUNK, _MIB, _PATIENCE = 2**18, 2**20, 30.0
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.UnknownHandler,
)


class Watcher(Protocol):
    """Told how far a download is, in MiB."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """A file starts."""

    def advance(self, done: int) -> None:
        """So much of it is here."""

    def end(self) -> None:
        """It is over."""


@dataclass(frozen=True)
class Fetched:
    """A file that is there now.

    Attributes:
        path: Where.
        new: Whether it was downloaded just now.
        digest: As seen; "" for what was unpacked by hand and has none.
        checked: Whether the digest is the published one.
    """

    path: Path
    new: bool
    digest: str
    checked: bool

    def line(self) -> str:
        """What happened, for people."""
        if not self.digest:
            return f"there already, unpacked and so not checked: {self.path}"
        of = "as published" if self.checked else "seen; no public source states one"
        return f"{'fetched' if self.new else 'there already'}: {self.path} ({self.digest}, {of})"


def fetch(entry: Official, folder: Path, watcher: Watcher) -> list[Fetched]:
    """Download what is not there yet, and check what is.

    Raises:
        DataError: No connection, no room, or a file other than the published one.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError("a folder to download into", got=error.strerror or str(error), where=str(folder)) from None
    try:
        return [_fetch(file, folder, watcher) for file in entry.files]
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()


def _fetch(file: File, folder: Path, watcher: Watcher) -> Fetched:
    path, there = folder / file.name, find(file, folder)
    if there is not None and there != path:
        return Fetched(there, False, "", False)
    if there is None:
        return Fetched(path, True, _download(file, path, watcher), file.digest is not None)
    with open_bytes(path) as stream:
        digest = hashlib.file_digest(stream, _kind(file)).hexdigest()
    _check(file, path.stat().st_size, digest, str(path), "remove it and fetch again")
    return Fetched(path, False, f"{_kind(file)}:{digest}", file.digest is not None)


def _download(file: File, path: Path, watcher: Watcher) -> str:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    by_hand = f"check the connection, or put the file into {path.parent} by hand"
    try:
        with _asked(file.url) as answer, temporary.open("wb") as out:
            size, digest = _copy(file, answer, out, path, watcher)
            out.flush()
            os.fsync(out.fileno())
        _check(file, size, digest, file.url, by_hand)
        temporary.replace(path)
    except (http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        got = brief(" ".join(str(reason).split()) or type(error).__name__, 80)
        raise DataError(f"to download {file.name}", got=got, fix=by_hand, where=file.url) from None
    finally:
        temporary.unlink(missing_ok=True)
    return f"{_kind(file)}:{digest}"


def _asked(url: str) -> Any:
    """The answer to an address, wherever it has moved to on the web; files and the like are never opened."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError("an address that begins with https:// or http://", got=brief(url, 120))
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": f"unbraid/{__version__}"})
    return opener.open(request, timeout=_PATIENCE)


def _copy(file: File, answer: Any, out: IO[bytes], path: Path, watcher: Watcher) -> tuple[int, str]:
    """Size and digest of what came."""
    total = _expected(file, answer)
    free = shutil.disk_usage(path.parent).free
    if total is not None and total > free:
        raise DataError(f"{plain_size(total)} free", got=plain_size(free), fix="make room", where=str(path.parent))
    digest, done = hashlib.new(_kind(file)), 0
    watcher.begin(f"{file.name} (MiB)", max(1, (total or 0) // _MIB))
    try:
        while (total is None or done <= total) and (chunk := answer.read(_CHUNK)):
            done += len(chunk)
            digest.update(chunk)
            out.write(chunk)
            if total is not None:
                watcher.advance(done // _MIB)
    finally:
        watcher.end()
    if total is not None and done != total:
        got = "more" if done > total else plain_size(done)
        raise DataError(f"{total} bytes", got=got, fix="try again", where=file.url)
    return done, digest.hexdigest()


def _expected(file: File, answer: Any) -> int | None:
    told = answer.headers.get("Content-Length") or ""
    announced = int(told) if told.isdigit() else None
    if None not in (announced, file.size) and announced != file.size:
        got, fix = f"{announced}", "what is published there has changed"
        raise DataError(f"{file.size} bytes", got=got, fix=fix, where=file.url)
    return file.size if announced is None else announced


def _check(file: File, size: int, digest: str, where: str, fix: str) -> None:
    if file.size is not None and size != file.size:
        raise DataError(f"{file.name} of {file.size} bytes", got=str(size), fix=fix, where=where)
    if file.digest is not None and f"{_kind(file)}:{digest}" != file.digest:
        raise DataError(f"{file.name} with {file.digest}", got=digest, fix=fix, where=where)


def _kind(file: File) -> str:
    return file.digest.partition(":")[0] if file.digest is not None else "sha256"
