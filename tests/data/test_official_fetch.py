"""`unbraid data fetch`: over a server of our own, the whole file or none."""

import hashlib
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from unbraid.cli import run
from unbraid.core.errors import DataError
from unbraid.data.official import registry
from unbraid.data.official.fetch import fetch
from unbraid.data.official.registry import File
from unbraid.training.progress import Silent

CONTENT = bytes(range(256)) * 5000
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        self.server.asked.append(self.path)
        self.answer(self.path)
        self.close_connection = True

    def answer(self, path):
        if path == "/missing":
            self.send_error(404)
            return
        if path in ("/moved", "/outside"):
            self.send_response(302)
            self.send_header("Location", "/file" if path == "/moved" else "ftp://127.0.0.1/file")
            self.end_headers()
            return
        self.send_response(200)
        if path != "/unannounced":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if path == "/short" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def entry(server, path="/file", **more):
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    return replace(registry.DSPRITES, files=(File("file.npz", url, **more),))


class Told(Silent):
    def __init__(self):
        self.heard = []

    def begin(self, what, total, done=0):
        self.heard.append((what, total))

    def advance(self, done, terms=None):
        self.heard.append(done)


@pytest.mark.parametrize("digest", [SHA, MD5])
def test_fetched_once_then_only_checked(server, tmp_path, digest):
    told, folder = Told(), tmp_path / "new" / "folder"
    wanted = entry(server, digest=digest, size=len(CONTENT))
    (first,) = fetch(wanted, folder, told)
    assert first.path.read_bytes() == CONTENT
    assert (first.new, first.digest, first.checked) == (True, digest, True)
    assert told.heard[0] == ("file.npz (MiB)", 1)
    assert told.heard[-1] == 1
    (again,) = fetch(wanted, folder, Silent())
    assert (again.new, again.digest) == (False, digest)
    assert server.asked == ["/file"]
    assert [p.name for p in folder.iterdir()] == ["file.npz"]


@pytest.mark.parametrize("path", ["/moved", "/unannounced"])
def test_where_it_moved_to_and_without_a_length(server, tmp_path, path):
    (found,) = fetch(entry(server, path, digest=SHA), tmp_path, Silent())
    assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "more", "words"),
    [
        ("/missing", {}, "got 'Not Found'"),
        ("/short", {}, "1280000 bytes, got 625.0 KiB"),
        ("/file", {"digest": "md5:" + "0" * 32}, "file.npz with md5:0000"),
        ("/file", {"size": 5}, "5 bytes, got 1280000"),
        ("/unannounced", {"size": 5}, "5 bytes, got more"),
        ("/outside", {}, "unknown url type: ftp"),
    ],
)
def test_nothing_is_left_of_what_is_not_right(server, tmp_path, path, more, words):
    with pytest.raises(DataError, match=words) as caught:
        fetch(entry(server, path, **more), tmp_path, Silent())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x", "nothing"])
def test_only_http(tmp_path, url):
    wanted = replace(registry.DSPRITES, files=(File("x", url),))
    with pytest.raises(DataError, match="https://"):
        fetch(wanted, tmp_path, Silent())


def test_no_connection_no_room_no_folder(server, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(DataError, match=r"to download x, got .*refused.*; check the connection, or put the file"):
            fetch(replace(registry.DSPRITES, files=(File("x", url),)), tmp_path, Silent())
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DataError, match="got 10 bytes; make room"):
        fetch(entry(server), tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a file").touch()
    with pytest.raises(DataError, match="a folder to download into"):
        fetch(entry(server), tmp_path / "a file" / "folder", Silent())


def test_what_is_there_but_not_the_published_file(server, tmp_path):
    (tmp_path / "file.npz").write_bytes(b"something else")
    with pytest.raises(DataError, match="remove it and fetch again"):
        fetch(entry(server, digest=SHA), tmp_path, Silent())
    assert (tmp_path / "file.npz").read_bytes() == b"something else"
    assert server.asked == []


def test_on_the_command_line(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNBRAID_DATA", str(tmp_path))
    monkeypatch.setattr(registry, "DSPRITES", entry(server))
    assert run(["data", "fetch", "dsprites"]) == 0
    out = capsys.readouterr().out
    assert f"fetched: {tmp_path}/dsprites/file.npz ({SHA}, seen; no public source states one)" in out
    assert "licence: Apache-2.0" in out
    assert run(["data", "fetch", "dsprites"]) == 0
    assert "there already" in capsys.readouterr().out
    assert run(["data", "fetch", "dsprites", "--folder", str(tmp_path / "own")]) == 0
    assert (tmp_path / "own" / "file.npz").exists()
    for mistake, words in (
        (["dsprite"], "did you mean 'dsprites'"),
        (["dsprites:folder=a", "--folder", "b"], "one folder"),
    ):
        assert run(["data", "fetch", *mistake]) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr(registry, "DSPRITES", entry(server, "/missing"))
    (tmp_path / "dsprites" / "file.npz").unlink()
    assert run(["data", "fetch", "dsprites"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_was_unpacked_by_hand_is_left_alone(server, tmp_path):
    (tmp_path / "cars").mkdir()
    wanted = entry(server)
    wanted = replace(wanted, files=(replace(wanted.files[0], instead=("data/cars", "cars")),))
    (found,) = fetch(wanted, tmp_path, Silent())
    assert "unpacked and so not checked" in found.line()
    assert server.asked == []


def test_a_folder_that_was_not_there_is_gone_again(server, tmp_path):
    with pytest.raises(DataError):
        fetch(entry(server, "/missing"), tmp_path / "new", Silent())
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(DataError):
        fetch(entry(server, "/missing"), tmp_path / "old", Silent())
    assert (tmp_path / "old").exists()
