"""Files damaged at random, and the bounds within which a reader must answer."""

import contextlib
import re
import resource
import signal
import struct
import time
from pathlib import Path

from unbraid.core.errors import UnbraidError

SECONDS, PATIENCE, MEMORY = 5, 60, 2**30
"""What a reader may take for one file: seconds of the processor, seconds of the clock (others may be busy), and bytes
besides those that the process had before."""

_LENGTHS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
_WORDS = (
    *b"nan -inf 1e999 1e-999 0x1 1_0 --1 null true None NaN Infinity -1 1.5 1e400".split(),
    *b"\" ' , ; : [ ] { } ( ) [] {} .. / \\".split(),
    *(b"", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\x1a", b"\x80", b"\xc3", b"\xef\xbb\xbf", b"\xff\xfe"),
    *("\u00e9".encode(), "\u2028".encode(), b"[" * 2000, b"9" * 400),
    *(b"(4611686018427387904,)", b"(0,)", b"()", b"(-1,)", b"(True, 3)", b"|O", b"<M8[s]", b"<U9", b"|V8", b"<f2"),
    *b"id ids file factor: :categorical :continuous [0] _1 x factors".split(),
)


def damaged(sound, random):
    """The file with up to six things done to it; now and then mere noise, or nothing done."""
    if random.random() < 0.05:
        return random.randbytes(random.choice((0, 1, 3, 8, 40, 400)))
    content = bytearray(sound)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 6))):
        at = _place(len(content), random)
        random.choice(_DAMAGE)(content, at, random)
    return bytes(content)


def _place(length, random):
    """Somewhere in the file, more often near its ends, where headers and directories are."""
    if not length:
        return 0
    near = random.randrange(min(length, 128))
    return random.choice((near, length - 1 - near, random.randrange(length), random.randrange(length)))


def _flip(content, at, random):
    if content:
        content[at] ^= 1 << random.randrange(8)


def _set(content, at, random):
    content[at : at + 1] = bytes([random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))])


def _insert(content, at, random):
    content[at:at] = random.randbytes(random.choice((1, 2, 7, 64)))


def _word(content, at, random):
    word = random.choice(_WORDS)
    content[at : at + random.choice((0, 1, len(word)))] = word


def _delete(content, at, random):
    del content[at : at + random.choice((1, 2, 8, 100))]


def _cut(content, at, random):
    del content[at:]


def _repeat(content, at, random):
    content[at:at] = content[at : at + random.choice((1, 8, 40, 300))] * random.choice((1, 1, 2, 50))


def _move(content, at, random):
    there, length = _place(len(content), random), random.choice((1, 4, 30))
    content[at : at + length] = content[there : there + length]


def _length(content, at, random):
    """A number of the kind that headers hold: a length that is extreme, or off by one."""
    size, order = random.choice((1, 2, 4, 4, 8)), random.choice("<>")
    code = order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    old = int.from_bytes(content[at : at + size], "little" if order == "<" else "big")
    new = random.choice((*_LENGTHS, old + 1, old - 1, 2 * old))
    content[at : at + size] = struct.pack(code, new % 2 ** (8 * size))


def _number(content, at, random):
    """A number in plain text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", bytes(content)))
    if found:
        match = random.choice(found)
        new = random.choice(
            (*(str(n).encode() for n in _LENGTHS), b"-1", b"1e400", b"0.5", b"nan", b"true", b'"1"', b"[]")
        )
        content[match.start() : match.end()] = new


_DAMAGE = (_flip, _set, _insert, _word, _delete, _cut, _repeat, _move, _length, _length, _number)


_NAMES = ("id", "ids", "file", "x", "z_0", "z_1", "z[0]", "content[1]", "", " ", "factor:", "factor:s", "7", '"q""q"')
_KINDS = ("", "", "", ":categorical", ":ordinal", ":circular", ":continuous", ":odd")
_CELLS = (
    "",
    "a",
    "b",
    "a b",
    "1",
    "-2.5",
    "1e5",
    "1e999",
    "nan",
    "inf",
    "é",
    '"a,b"',
    '"line\nbreak"',
    '"',
    "0x1",
    "1_0",
)


def table(random):
    """A table of values by its grammar: a header, and rows that mostly have as many cells."""
    comma, end = random.choice(",,,;\t"), random.choice(("\n", "\n", "\r\n", "\r"))
    width, favourite = random.choice((1, 2, 3, 6)), random.sample(_CELLS, 3)
    header = [random.choice(_NAMES) + random.choice(_KINDS) for _ in range(width)]
    if random.random() < 0.5:
        header = [f"{name}{i}" for i, name in enumerate(header)]
    rows = [header]
    for _ in range(random.choice((0, 1, 2, 6, 6, 6, 40))):
        cells = favourite if random.random() < 0.9 else _CELLS
        rows.append([random.choice(cells) for _ in range(width if random.random() < 0.98 else random.randrange(9))])
    text = end.join(comma.join(row) for row in rows) + random.choice(("", end, end + end))
    return text.encode(random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


class Hang(BaseException):
    """Longer than a reader may take; no `except Exception` of a reader swallows it."""


def answer(read):
    """What a reader answers: the line of its error, or "" when it reads. Anything else fails.

    Args:
        read: Called without arguments.
    """
    with _in_time(), _in_memory():
        try:
            read()
        except UnbraidError as error:
            line = str(error)
            assert line, "an error that says nothing"
            assert "\n" not in line, line
            return line
    return ""


@contextlib.contextmanager
def _in_time():
    def stop(*_):
        raise Hang(f"more than {SECONDS} s")

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, PATIENCE))
    before, began = [signal.signal(kind, stop) for _, kind, _ in clocks], time.process_time()
    for timer, _, seconds in clocks:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (timer, kind, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(kind, handler)
    assert time.process_time() - began < SECONDS


@contextlib.contextmanager
def _in_memory():
    """Where the system says how much is mapped: allocations beyond `MEMORY` more fail."""
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(status.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, hard))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MEMORY / 1024
