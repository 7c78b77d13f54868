"""Files in folders: whole or not there, whatever happens."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.python.threadpool import ThreadPool
from zope.interface.verify import verifyObject

from cheddar.errors import DigestMismatch, Invalid, NoRoom, NotFound, TooLarge
from cheddar.interfaces import IFileStorage, IFileView, IFileWriter, IStoredFile
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.storage.spool import BEGINNING
from tests.support.consumers import Taker
from tests.support.disks import largest_file

KEY = "releases/flask/0123456789abcdef/flask-1.0-py3-none-any.whl"
CONTENT = bytes(range(256)) * 4000  # about 1 MB, no two neighbouring blocks alike to a reader off by one


async def put(storage: Any, key: str = KEY, content: bytes = CONTENT) -> Any:
    writer = await storage.create()
    writer.write(content)
    return await writer.commit(key, {})


async def sent(stored: Any, first: int = 0, last: int | None = None) -> bytes:
    taker = Taker()
    await stored.send(taker, first, last)
    assert taker.producer is None
    return bytes(taker.taken)


def partial_files(root: Path) -> list[str]:
    return [
        path.name for path in (root / ".incoming").rglob("*") if path.is_file() and path.name not in ("gate", "lock")
    ]


async def test_what_was_stored_comes_back(storage: Any, root: Path) -> None:
    """A stored file has the bytes it was given, under a path a person recognises, and all its digests."""
    writer = await storage.create(("sha256", "md5", "blake2b_256", "no-such-algorithm"))
    for offset in range(0, len(CONTENT), 10_000):
        writer.write(CONTENT[offset : offset + 10_000])
    assert writer.size == len(CONTENT)
    digests = await writer.finish()
    assert digests == {
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "md5": hashlib.md5(CONTENT).hexdigest(),
        "blake2b_256": hashlib.blake2b(CONTENT, digest_size=32).hexdigest(),
    }
    with pytest.raises(NotFound):
        await storage.open(KEY)
    stored = await writer.commit(KEY, digests)
    verifyObject(IStoredFile, stored)
    verifyObject(IFileWriter, writer)
    verifyObject(IFileStorage, storage)
    assert (stored.size, stored.digests) == (len(CONTENT), digests)
    assert (root / KEY).read_bytes() == CONTENT
    assert root.stat().st_mode & 0o777 == 0o700
    assert await sent(stored) == CONTENT
    again = await storage.open(KEY)
    assert again.size == len(CONTENT)
    assert await sent(again) == CONTENT
    assert partial_files(root) == []


@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 0), (1, 1), (0, 131_071), (131_071, 131_072), (5, 900_000), (len(CONTENT) - 1, None), (100, 10**9)],
)
async def test_any_range_can_be_sent(storage: Any, first: int, last: int | None) -> None:
    """The bytes from the first to the last are sent, both included; a last one beyond the end is the end."""
    await put(storage)
    assert await sent(await storage.open(KEY), first, last) == CONTENT[first : None if last is None else last + 1]


async def test_an_empty_file_is_a_file(storage: Any) -> None:
    """A file without bytes is stored, found, and sent as nothing."""
    await put(storage, content=b"")
    stored = await storage.open(KEY)
    assert (stored.size, await sent(stored)) == (0, b"")


async def test_wrong_bytes_are_not_stored(storage: Any, root: Path) -> None:
    """Bytes that have not the digest they must have never become visible, and nothing of them is left."""
    right = hashlib.sha256(CONTENT).hexdigest()
    for content in (CONTENT[:-1] + b"x", CONTENT):
        writer = await storage.create()
        writer.write(content)
        if content == CONTENT:
            await writer.commit(KEY, {"sha256": right, "md5": "not computed"})
        else:
            with pytest.raises(DigestMismatch, match="sha256"):
                await writer.commit(KEY, {"sha256": right})
            assert not (root / "releases").exists()
        assert partial_files(root) == []
    assert (root / KEY).read_bytes() == CONTENT


async def test_abort_leaves_nothing(storage: Any, root: Path) -> None:
    """A file that is given up is gone at once, twice is no harm, and after a commit it is no harm either."""
    writer = await storage.create()
    writer.write(CONTENT)
    await writer.finish()
    assert len(partial_files(root)) == 1
    await writer.abort()
    await writer.abort()
    assert partial_files(root) == []
    with pytest.raises(NoRoom):
        await (await aborted(storage)).finish()
    kept = await storage.create()
    kept.write(CONTENT)
    await kept.commit(KEY, {})
    await kept.abort()
    assert (root / KEY).read_bytes() == CONTENT


async def aborted(storage: Any) -> Any:
    writer = await storage.create()
    await writer.abort()
    return writer


async def test_a_fast_giver_is_asked_to_wait(storage: Any) -> None:
    """Who gives bytes faster than the disk takes them is asked to pause: memory stays flat."""
    writer = await storage.create()
    block = b"x" * (1024 * 1024)
    answers = [writer.write(block) for _ in range(8)]
    assert answers[0] is None
    assert answers[-1] is not None
    await answers[-1]
    assert writer._unwritten <= 1024 * 1024
    assert await writer.finish() == {"sha256": hashlib.sha256(block * 8).hexdigest()}
    await writer.abort()


async def test_the_beginning_does_not_wait_for_the_disk(storage: Any, root: Path, pool: ThreadPool) -> None:
    """
    The first bytes can be read as soon as they are given, before they are written and when the file was given up; what
    follows is written, and read from there.
    """
    writer = await storage.create()
    edges: list[int] = []
    writer.notify(edges.append)
    view = writer.view()
    busy = threading.Event()
    for _ in range(4):
        pool.callInThread(busy.wait)
    content = random.Random(3).randbytes(3 * BEGINNING)
    writer.write(content[:1000])
    assert edges == [1000]
    assert await view.read(0, 2000) == content[:1000]
    assert await view.read(1000, 10) == b""
    writer.write(content[1000 : BEGINNING + 500])
    assert edges == [1000, BEGINNING]
    assert await view.read(900, 200) == content[900:1100]
    assert await view.read(BEGINNING - 100, 200) == content[BEGINNING - 100 : BEGINNING]
    assert await view.read(BEGINNING, 100) == b"", "not written yet"
    assert partial_files(root) == []
    busy.set()
    writer.write(content[BEGINNING + 500 :])
    assert await writer.finish() == {"sha256": hashlib.sha256(content).hexdigest()}
    assert edges[-1] == len(content)
    assert len(partial_files(root)) == 1
    assert await view.read(BEGINNING - 100, 200) == content[BEGINNING - 100 : BEGINNING]
    assert await view.read(BEGINNING, 2 * BEGINNING) == content[BEGINNING:]
    late = writer.view()
    await writer.abort()
    assert partial_files(root) == []
    for reader in (view, late):
        assert await reader.read(0, 100) == content[:100]
        assert await reader.read(2 * BEGINNING, BEGINNING) == content[2 * BEGINNING :]
        reader.close()
    with pytest.raises(NoRoom):
        writer.view()


async def test_a_file_that_is_never_made(storage: Any, root: Path) -> None:
    """One that is given up at its beginning was never on the disk; who reads it keeps what there was."""
    writer = await storage.create()
    view = writer.view()
    writer.write(CONTENT[:1000])
    await writer._work.idle()
    assert partial_files(root) == []
    await writer.abort()
    assert await view.read(0, 2000) == CONTENT[:1000]
    assert await view.read(1000, 1) == b""
    view.close()
    view.close()
    with pytest.raises(NoRoom, match="given up"):
        await writer.finish()


async def test_the_rest_cannot_be_written(storage: Any, root: Path) -> None:
    """Where the disk is full for what was gathered last, the file fails, and goes on to fail."""
    writer = await storage.create()
    writer.write(CONTENT[:1000])
    with largest_file(100), pytest.raises(NoRoom, match="File too large") as caught:
        await writer.finish()
    assert not caught.value.at_all
    with pytest.raises(NoRoom, match="File too large"):
        await writer.finish()
    with pytest.raises(NoRoom, match="File too large"):
        writer.write(b"x")
    await writer.abort()
    assert partial_files(root) == []


async def test_a_growing_file_can_be_read(storage: Any) -> None:
    """Readers are told how far a file has come, and read that far while it grows; the end of it does not hurt them."""
    writer = await storage.create()
    edges: list[int] = []
    writer.notify(edges.append)
    view = writer.view()
    verifyObject(IFileView, view)
    assert await view.read(0, 10) == b""
    writer.write(CONTENT)
    await writer.finish()
    assert edges[-1] == len(CONTENT)
    assert await view.read(256, 512) == CONTENT[256:768]
    with writer.reader() as reader:
        assert reader.read() == CONTENT
    await writer.abort()
    assert await view.read(0, 3) == CONTENT[:3]
    view.close()
    view.close()


async def test_a_deleted_file_is_sent_to_its_end(storage: Any, root: Path) -> None:
    """Deleting a file does not disturb who is being sent it; whoever asks afterwards does not find it."""
    stored = await put(storage)
    taker = Taker(pause_after=1)
    sending = stored.send(taker, 0, None)
    while not taker.taken:
        await storage.names()
    await storage.delete(KEY)
    await storage.delete(KEY)
    with pytest.raises(NotFound):
        await storage.open(KEY)
    with pytest.raises(NotFound):
        await stored.send(Taker(), 0, None)
    assert len(taker.taken) < len(CONTENT)
    taker.resume()
    await sending
    assert taker.taken == CONTENT
    assert (root / "releases").is_dir()
    assert list((root / "releases").iterdir()) == []


async def test_delete_leaves_neighbours(storage: Any) -> None:
    """Only the file that is meant goes, and with it only folders that are empty."""
    other = f"{KEY}.metadata"
    await put(storage)
    await put(storage, other, b"Name: flask")
    await storage.delete(KEY)
    assert [name for name, _, _ in await storage.names()] == [other]


async def test_a_file_can_be_replaced(storage: Any, root: Path) -> None:
    """A commit takes the place of what was there; who holds the old file is told rather than given other bytes."""
    old = await put(storage)
    await put(storage, content=b"new")
    assert (root / KEY).read_bytes() == b"new"
    assert await sent(await storage.open(KEY)) == b"new"
    with pytest.raises(Exception, match="replaced"):
        await sent(old)


async def test_read_and_inspect(storage: Any) -> None:
    """Small files are read whole, over the limit not at all; any file can be looked into."""
    await put(storage)
    assert await storage.read(KEY, len(CONTENT)) == CONTENT
    with pytest.raises(TooLarge):
        await storage.read(KEY, len(CONTENT) - 1)
    with await storage.inspect(KEY) as file:
        file.seek(-10, os.SEEK_END)
        assert file.read() == CONTENT[-10:]
    for asking in (storage.read("releases/no/such", 10), storage.inspect("releases/no/such")):
        with pytest.raises(NotFound):
            await asking


async def test_names(storage: Any, root: Path) -> None:
    """Every file is named, with size and time; partial files, links and strange names are not."""
    await put(storage)
    await put(storage, "pre-releases/flat-1.0a1.tar.gz", b"12345")
    (root / "releases" / "link.whl").symlink_to(root / KEY)
    (root / "releases" / ".hidden").write_bytes(b"x")
    (root / "stray.txt").write_bytes(b"x")
    writer = await storage.create()
    listed = await storage.names()
    assert [(name, size) for name, size, _ in listed] == [
        ("pre-releases/flat-1.0a1.tar.gz", 5),
        (KEY, len(CONTENT)),
    ]
    for name, _, changed in listed:
        assert changed.timestamp() == pytest.approx((root / name).stat().st_mtime, abs=1e-5)
    for name, size, _ in listed:
        assert (await storage.open(name)).size == size
    await writer.abort()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "releases",
        "releases/",
        "/releases/a",
        "releases//a",
        "releases/../a",
        "../a/b",
        "releases/./a",
        "releases/a/..",
        ".incoming/gate",
        "releases/a\0b",
        "releases/a\nb",
        "releases/a b",
        "releases/é",
        "releases/-a",
        "releases/" + "a" * 300,
        "/".join("a" * 9),
        "releases\\..\\a",
    ],
)
async def test_keys_that_lead_astray(storage: Any, root: Path, key: str) -> None:
    """No key reaches outside the storage or into its partial files: it is neither read, written nor deleted."""
    (root.parent / "a").write_bytes(b"outside")
    for ask in (storage.open(key), storage.read(key, 100), storage.inspect(key)):
        with pytest.raises(NotFound):
            await ask
    with pytest.raises(Invalid):
        await put(storage, key)
    with pytest.raises(Invalid):
        await storage.delete(key)
    assert (root.parent / "a").read_bytes() == b"outside"
    assert sorted(path.name for path in root.iterdir()) == [".incoming"]


async def test_links_are_not_followed(storage: Any, root: Path, tmp_path: Path) -> None:
    """A symbolic link below the root is no way out: nothing is read, written or deleted through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    await put(storage, "releases/here/secret", b"not secret")
    assert await storage.read("releases/here/secret", 100) == b"not secret"
    (root / "releases" / "there").symlink_to(outside)
    (root / "releases" / "secret").symlink_to(outside / "secret")
    for key in ("releases/there/secret", "releases/secret"):
        with pytest.raises(NotFound):
            await storage.open(key)
        with pytest.raises(NotFound):
            await storage.read(key, 100)
    with pytest.raises(NoRoom):
        await put(storage, "releases/there/new")
    await storage.delete("releases/there/secret")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert await storage.names() == tuple(entry for entry in await storage.names() if "here" in entry[0])


async def test_a_pipe_is_no_file(storage: Any, root: Path) -> None:
    """Something that is not a plain file is not found, and nobody waits for it."""
    (root / "releases").mkdir()
    os.mkfifo(root / "releases" / "pipe")
    with pytest.raises(NotFound):
        await storage.open("releases/pipe")


async def test_a_full_disk_is_said(storage: Any, root: Path) -> None:
    """Where the disk takes no more, the giver hears NoRoom, nothing is kept, and later writes work again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = await storage.create()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
    try:
        for _ in range(8):
            pause = writer.write(b"x" * 1024 * 1024)
        await pause
        with pytest.raises(NoRoom, match="make room"):
            writer.write(b"x")
        with pytest.raises(NoRoom):
            await writer.commit(KEY, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await writer.abort()
    assert partial_files(root) == []
    assert not (root / "releases").exists()
    await put(storage)
    assert (root / KEY).read_bytes() == CONTENT


async def test_check_says_whether_files_can_be_written(storage: Any, root: Path) -> None:
    """Readiness is true: it fails when the folder cannot be written."""
    await storage.check()
    assert partial_files(root) == []
    root.rename(root.with_name("moved"))
    with pytest.raises(NoRoom):
        await storage.check()
    root.with_name("moved").rename(root)
    await storage.check()


async def test_a_root_that_cannot_be_made(reactor: Any, pool: ThreadPool, tmp_path: Path) -> None:
    """A start on a root that cannot be a folder fails with a message."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoRoom):
        await FilesystemStorage(tmp_path / "file" / "root", reactor, pool).start()


async def test_steps_of_a_commit(reactor: Any, pool: ThreadPool, root: Path) -> None:
    """A file is synced before it is visible, and its folder after: off the reactor's thread."""
    steps: list[tuple[str, bool]] = []

    def checkpoint(step: str) -> None:
        assert threading.current_thread() is not threading.main_thread()
        steps.append((step, (root / KEY).exists()))

    storage = FilesystemStorage(root, reactor, pool, checkpoint)
    await storage.start()
    await put(storage)
    await storage.stop()
    assert steps == [("spooled", False), ("synced", False), ("renamed", True), ("folder-synced", True)]
    assert list((root / ".incoming").iterdir()) == [root / ".incoming" / "gate"]


async def test_commits_and_deletes_at_once(storage: Any, root: Path) -> None:
    """A commit is not hurt by a delete that empties its folder at the same moment."""
    over = threading.Event()

    def keep_deleting() -> None:
        # What a delete does to folders that it emptied, as fast as can be.
        while not over.wait(0.0001):
            try:
                os.rmdir(root / "releases" / "flask")
            except OSError:
                continue

    deleting = threading.Thread(target=keep_deleting)
    deleting.start()
    try:
        for _ in range(50):
            await put(storage, "releases/flask/file", b"y")
            assert await storage.read("releases/flask/file", 10) == b"y"
            await storage.delete("releases/flask/file")
    finally:
        over.set()
        deleting.join()


def child(*arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.storage.crash_child", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("step", ["spooled", "synced", "renamed", "folder-synced", "none"])
async def test_a_crash_at_any_step(reactor: Any, pool: ThreadPool, root: Path, step: str) -> None:
    """A process killed at any step leaves the file whole or absent, and no partial files after the next start."""
    process = child(root, KEY, 300_000, step)
    process.communicate()
    assert process.returncode == (0 if step == "none" else -signal.SIGKILL)
    assert len(partial_files(root)) == (1 if step in ("spooled", "synced") else 0)
    storage = FilesystemStorage(root, reactor, pool)
    await storage.start()
    assert partial_files(root) == []
    if step in ("spooled", "synced"):
        with pytest.raises(NotFound):
            await storage.open(KEY)
    else:
        assert await storage.read(KEY, 300_000) == b"\0" * 300_000
    await storage.stop()


async def test_processes_share_a_root(reactor: Any, pool: ThreadPool, root: Path) -> None:
    """A start sweeps the partial files of processes that died, never of one that lives."""
    process = child(root, KEY, 300_000, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    storage = FilesystemStorage(root, reactor, pool)
    await storage.start()
    assert len(partial_files(root)) == 1
    await put(storage)
    await storage.stop()
    process.kill()
    process.communicate()
    assert len(partial_files(root)) == 1
    await storage.start()
    assert partial_files(root) == []
    assert await storage.read(KEY, len(CONTENT)) == CONTENT
    await storage.stop()
