"""Archives made to harm, through the front door of a real process: refused, at little cost, while others are served."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.formats.test_archives import (
    BROKEN_SDISTS,
    BROKEN_WHEELS,
    METADATA,
    SDIST,
    WHEEL,
    growing_bomb,
    many_entries,
    overlapping,
    raw_member,
    regular,
    sdist,
    wheel,
)
from tests.support.distributions import make_wheel
from tests.support.server import CheddarProcess, ask, basic, upload_form


def repeated(start: bytes, block: bytes, times: int) -> bytes:
    """A gzip file of C{start}, and C{block} so many times: made without packing it so often."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    packer.compress(block)
    packer.flush(zlib.Z_FULL_FLUSH)
    # What is packed behind a full flush refers to nothing before it.
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + once * times + packer.flush()


def ten_gigabytes() -> bytes:
    """A file of 10 GiB of zeros, in 10 MB."""
    return repeated(raw_member(b"demo-1.0/zeros", tarfile.REGTYPE, 2**33 - 1), bytes(1024**2), 10 * 1024)


def a_million_members() -> bytes:
    """As many files as fit into 512 MB of headers."""
    return repeated(b"", raw_member(b"demo-1.0/a", tarfile.REGTYPE, 0) * 1000, 1000)


def pax_header_of_a_gigabyte() -> bytes:
    """An extended header that is as long as it says."""
    return repeated(raw_member(b"x", tarfile.XHDTYPE, 2**30), b"9" * 1024**2, 1024)


def nested(depth: int = 5) -> bytes:
    """Archives in archives, as 42.zip has them: nobody opens the inner ones, and there is no METADATA outside."""
    data = bytes(1_000_000)
    for level in range(depth):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(16):
                archive.writestr(f"{level}-{number}.zip", data)
        data = target.getvalue()
    return data


def quine() -> bytes:
    """A wheel whose METADATA is, by its directory, the whole archive: unpacking it gives itself, for ever."""
    data = bytearray(wheel(compression=zipfile.ZIP_STORED))
    start = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", start + 4)
    struct.pack_into("<I", data, second + 42, 0)
    struct.pack_into("<2I", data, second + 20, len(data), len(data))
    return bytes(data)


#: What costs most, by what it is called and the name it is uploaded under.
COSTLY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "10 GiB of zeros": (SDIST, ten_gigabytes),
    "400 MB of zeros": (SDIST, growing_bomb),
    "a million members": (SDIST, a_million_members),
    "a pax header of 1 GiB": (SDIST, pax_header_of_a_gigabyte),
    "100,001 entries": (WHEEL, many_entries),
    "overlapping entries": (WHEEL, lambda: overlapping(10_000_000)),
    "archives in archives": (WHEEL, nested),
    "quine": (WHEEL, quine),
    "a PKG-INFO of 100 MB": (SDIST, lambda: sdist(regular("demo-1.0/PKG-INFO", METADATA + b"x" * 100_000_000))),
    "a METADATA of headers": (WHEEL, lambda: _wheel_of(METADATA.replace(b"\n\n", b"\n" + b"A: b\n" * 800_000 + b"\n"))),
    "a METADATA of kinds": (WHEEL, lambda: _wheel_of(b"".join(b"A-%d: b\n" % n for n in range(300_000)) + METADATA)),
    "gzip in gzip": (SDIST, lambda: gzip.compress(gzip.compress(bytes(10_000_000)))),
}


def _wheel_of(metadata: bytes) -> bytes:
    content = io.BytesIO(make_wheel("demo", "1.0")[1])
    target = io.BytesIO()
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, metadata if member.filename.endswith("/METADATA") else old.read(member))
    return target.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CheddarProcess]:
    """A process with a user, and local projects alone."""
    process = CheddarProcess(tmp_path / "data", options=("--index-url", ""))
    process.add_user()
    yield process.start()
    process.stop()


class Watch(threading.Thread):
    """
    Asks whether the process lives, over and over.

    @ivar took: the seconds that each answer took.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.took: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        """See the class."""
        while not self.over.wait(0.02):
            begun = time.monotonic()
            assert ask(self._port, "GET", "/health/live").status == 200
            self.took.append(time.monotonic() - begun)


@pytest.mark.deadline(300)
def test_hostile_archives_cost_little(server: CheddarProcess) -> None:
    """
    A 400 that says what is wrong, in less than 10 seconds and 64 MiB for each; meanwhile C{/health/live} answers in
    100 ms (three times that on a busy machine); and nothing is left of any of them.
    """
    login = basic()

    def upload(filename: str, content: bytes) -> tuple[int, str, float]:
        body, content_type = upload_form(filename, content)
        begun = time.monotonic()
        answer = ask(
            *(server.port, "POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": login}), timeout=60
        )
        return answer.status, answer.reason, time.monotonic() - begun

    def tree() -> list[str]:
        return sorted(str(path) for path in server.data_dir.rglob("*") if not path.name.startswith("cheddar.sqlite"))

    assert upload(*make_wheel("fine", "1.0"))[0] == 200, "the control"
    assert upload(*make_wheel("large", "1.0", size=20_000_000))[0] == 200, "what an honest upload costs"
    before, memory = tree(), server.memory()
    watch = Watch(server.port)
    watch.start()
    for name, (filename, make) in COSTLY.items():
        status, reason, seconds = upload(filename, make())
        assert status == 400, (name, status, reason)
        assert seconds < 30, (name, seconds)
    watch.over.set()
    watch.join()
    took = sorted(watch.took)
    assert len(took) > 50
    assert took[len(took) * 95 // 100] < 0.3, took[-20:]
    assert server.memory() - memory < 64 * 1024**2
    for corpus, filename in ((BROKEN_WHEELS, WHEEL), (BROKEN_SDISTS, SDIST)):
        for name, make in corpus.items():
            status, reason, seconds = upload(filename, make())
            assert status == 400, (name, status, reason)
            assert seconds < 30, (name, seconds)
    assert tree() == before
    assert server.memory() - memory < 64 * 1024**2
    assert "Traceback" not in server.log.read_text()
