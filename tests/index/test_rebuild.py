"""Rebuild: the rows come back from the files, and the first Cheddar's files are taken over."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.python.threadpool import ThreadPool

from cheddar.index.rebuild import Rebuild, RebuildReport
from cheddar.interfaces import IStore
from cheddar.model import File, Selector
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.store.sqlite import SQLiteStore
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel, sha256

OLD = 1_400_000_000
NEW = 1_700_000_000


@frozen
class Place:
    """A folder of files, and a store that knows nothing of them yet."""

    root: Path
    store: IStore
    rebuild: Rebuild

    def put(self, key: str, content: bytes, changed_at: int = OLD) -> None:
        """Lay a file down, as another Cheddar left it."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (changed_at, changed_at))

    async def run(self) -> RebuildReport:
        return await self.rebuild.run(lambda done, total: None)

    async def files(self, project: str) -> dict[str, File]:
        found = await self.store.projects.project(project)
        return {file.filename: file for file in found.files} if found else {}


@pytest_twisted.async_yield_fixture
async def place(reactor: Any, tmp_path: Path) -> AsyncIterator[Place]:
    pool = ThreadPool(0, 2)
    pool.start()
    store = SQLiteStore(tmp_path / "cheddar.sqlite", 50, reactor, reactor)
    storage = FilesystemStorage(tmp_path / "local", reactor, pool)
    await store.start()
    await storage.start()
    yield Place(tmp_path / "local", store, Rebuild(storage, store.projects, reactor, pool))
    await storage.stop()
    await store.stop()
    pool.stop()


async def test_the_first_cheddars_flat_folders_are_taken_over(place: Place) -> None:
    """Files directly below releases/ and pre-releases/ are listed where they lie, with all that a page needs."""
    sdist_name, sdist = make_sdist("My.Demo", "1.10", requires_python=">=3.8")
    wheel_name, wheel = make_wheel("my-demo", "2.0rc1", requires_python=">=3.9")
    place.put(f"releases/{sdist_name}", sdist)
    place.put(f"pre-releases/{wheel_name}", wheel, NEW)
    progress: list[tuple[int, int]] = []
    report = await place.rebuild.run(lambda done, total: progress.append((done, total)))
    assert report == RebuildReport(files=2, rows=2, unreadable=(), duplicates=(), vanished=())
    assert progress == [(0, 2), (1, 2), (2, 2)]
    assert (await place.store.projects.listed()).names == ("my-demo",)
    files = await place.files("my-demo")
    assert files[sdist_name] == File(
        sdist_name,
        "1.10",
        size=len(sdist),
        digests={"sha256": sha256(sdist)},
        upload_time=datetime.fromtimestamp(OLD, timezone.utc),
        requires_python=">=3.8",
        key=f"releases/{sdist_name}",
    )
    metadata = core_metadata_of(wheel)
    assert files[wheel_name].version == "2.0rc1"
    assert files[wheel_name].core_metadata == {"sha256": sha256(metadata)}
    assert files[wheel_name].upload_time == datetime.fromtimestamp(NEW, timezone.utc)
    assert (place.root / "pre-releases" / f"{wheel_name}.metadata").read_bytes() == metadata
    assert (place.root / "releases" / sdist_name).read_bytes() == sdist


async def test_cheddars_own_folders_are_read_and_a_second_run_changes_nothing(place: Place) -> None:
    """Safe to run twice: the sidecars that the first run wrote are no files, and no row changes."""
    for version in ("1.0", "1.1"):
        name, content = make_wheel("demo", version)
        place.put(f"releases/demo/0{version[-1]}ab/{name}", content)
    first = await place.run()
    rows, names = await place.files("demo"), sorted(map(str, place.root.rglob("*")))
    assert (first.files, first.rows) == (2, 2)
    assert await place.run() == first
    assert await place.files("demo") == rows
    assert sorted(map(str, place.root.rglob("*"))) == names


async def test_a_file_that_is_still_being_copied(place: Place) -> None:
    """A row says of a file what its bytes were when they were read, not what the folder said before."""
    name, content = make_wheel("demo", "1.0")
    place.put(f"releases/{name}", content[:100])

    def copied(done: int, total: int) -> None:
        if not done:
            place.put(f"releases/{name}", content)

    assert (await place.rebuild.run(copied)).rows == 1
    (file,) = (await place.files("demo")).values()
    assert (file.size, file.digests) == (len(content), {"sha256": sha256(content)})


async def test_provenance_is_found_again(place: Place) -> None:
    """What lies beside a file with .provenance is no file: it is the file's again, where it is such an object."""
    name, content = make_wheel("demo", "1.0")
    other, other_content = make_wheel("demo", "2.0")
    document = b'{"version":1,"attestation_bundles":[{"publisher":{"kind":"A"},"attestations":[{}]}]}'
    place.put(f"releases/demo/00/{name}", content)
    place.put(f"releases/demo/00/{name}.provenance", document)
    place.put(f"releases/{other}", other_content)
    place.put(f"releases/{other}.provenance", b"{}")
    report = await place.run()
    assert (report.files, report.rows) == (2, 2)
    assert report.unreadable == ((f"releases/{other}.provenance", "it is not of version 1"),)
    files = await place.files("demo")
    assert files[name].provenance == f"releases/demo/00/{name}.provenance"
    assert files[other].provenance is None
    # One that has gone is not listed any longer.
    (place.root / f"releases/demo/00/{name}.provenance").unlink()
    await place.run()
    assert (await place.files("demo"))[name].provenance is None


async def test_what_only_the_store_knows_stays(place: Place) -> None:
    """A yank mark, who uploaded, and when: a rebuild of a living store loses none of it."""
    name, content = make_wheel("demo", "1.0")
    key = f"releases/demo/00/{name}"
    place.put(key, content)
    uploaded_at = datetime(2020, 1, 1, tzinfo=timezone.utc)
    row = File(name, "1.0", 1, {"sha256": "0" * 64}, uploaded_at, key=key, uploaded_by="alice")
    await place.store.projects.add_file("demo", "Demo", row, True)
    await place.store.projects.set_yanked("demo", Selector("1.0"), "broken")
    await place.run()
    file = (await place.files("demo"))[name]
    assert (file.yanked, file.uploaded_by, file.upload_time) == ("broken", "alice", uploaded_at)
    # The control: what the file knows better was put right.
    assert (file.size, file.digests) == (len(content), {"sha256": sha256(content)})


async def test_of_two_files_of_one_name_the_newest_counts(place: Place) -> None:
    """Other bytes: the newest is listed. The same bytes: the one that is listed already, else the first. None goes."""
    name, old = make_wheel("demo", "1.0")
    _, new = make_wheel("demo", "1.0", extra=[("demo/more.py", b"")])
    place.put(f"releases/{name}", old, OLD)
    place.put(f"releases/demo/aa/{name}", new, NEW)
    report = await place.run()
    assert (report.files, report.rows) == (2, 1)
    assert report.duplicates == (
        (f"releases/{name}", f"is older than, and differs from, releases/demo/aa/{name}, which is listed"),
    )
    assert (await place.files("demo"))[name].digests == {"sha256": sha256(new)}

    same_name, same = make_sdist("same", "1.0")
    place.put(f"releases/{same_name}", same, OLD)
    place.put(f"releases/same/bb/{same_name}", same, NEW)
    report = await place.run()
    assert (f"releases/same/bb/{same_name}", f"has the same bytes as releases/{same_name}, which is listed") in (
        report.duplicates
    )
    # A newer copy does not take the row from the listed one.
    place.put(f"releases/a-copy/{same_name}", same, NEW + 1)
    await place.run()
    assert (await place.files("same"))[same_name].key == f"releases/{same_name}"
    assert (place.root / "releases" / name).read_bytes() == old


async def test_what_cannot_be_read_is_said_and_left_alone(place: Place) -> None:
    """A broken archive, a foreign file, one with another's name: each is named with its reason; the rest is listed."""
    name, content = make_wheel("demo", "1.0")
    place.put(f"releases/{name}", content)
    _, other = make_sdist("other", "1.0")
    _, later = make_sdist("demo", "2.0")
    place.put("releases/demo-3.0.tar.gz", other)
    place.put("releases/demo-4.0.tar.gz", later)
    place.put("releases/cut-1.0.tar.gz", later[:100])
    place.put("releases/README.txt", b"hello")
    place.put("elsewhere/demo-9.0.tar.gz", later)
    report = await place.run()
    assert (report.files, report.rows) == (5, 1)
    reasons = dict(report.unreadable)
    assert "its project is other" in reasons["releases/demo-3.0.tar.gz"]
    assert "its version is 2.0" in reasons["releases/demo-4.0.tar.gz"]
    assert reasons["releases/cut-1.0.tar.gz"]
    assert "neither a wheel" in reasons["releases/README.txt"]
    assert len(reasons) == 4
    assert (await place.store.projects.listed()).names == ("demo",)
    assert (place.root / "releases/cut-1.0.tar.gz").read_bytes() == later[:100]


async def test_what_was_published_before_a_check_stays(place: Place) -> None:
    """Old names, a wheel whose RECORD is wrong, metadata to come: not to be published now, and here all the same."""
    name, content = make_wheel("demo", "1.0")
    changed = io.BytesIO(content)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("demo/later.py", b"")
    _, old = make_sdist("demo", "2.0")
    _, new = make_sdist("demo", "3.0", metadata_version="3.0")
    for filename, laid in ((name, changed.getvalue()), ("Demo-2.0.tar.gz", old), ("demo-3.0.tar.gz", new)):
        place.put(f"releases/{filename}", laid)
    report = await place.run()
    assert (report.rows, report.unreadable) == (3, ())
    assert set(await place.files("demo")) == {name, "Demo-2.0.tar.gz", "demo-3.0.tar.gz"}


@pytest.mark.conforms("PEP 658", "Sdists: core metadata is offered, with its hash, where it is static")
async def test_the_metadata_of_sdists(place: Place) -> None:
    """An sdist's metadata is offered after a rebuild as it was before: where it is static."""
    static, content = make_sdist("demo", "1.0", metadata_version="2.2", requires=("leaf",))
    dynamic, other = make_sdist("demo", "2.0", metadata_version="2.2", dynamic=("Requires-Dist",))
    place.put(f"releases/{static}", content)
    place.put(f"releases/{dynamic}", other)
    await place.run()
    files = await place.files("demo")
    raw = (place.root / "releases" / f"{static}.metadata").read_bytes()
    assert b"Requires-Dist: leaf" in raw
    assert files[static].core_metadata == {"sha256": sha256(raw)}
    assert files[dynamic].core_metadata is None


async def test_a_row_without_its_file_goes(place: Place) -> None:
    """What is listed is there: a row whose file has vanished is removed and said; its name stays taken."""
    kept, content = make_wheel("demo", "1.0")
    gone, gone_content = make_wheel("demo", "2.0")
    moved, moved_content = make_sdist("demo", "3.0")
    for filename, laid in ((kept, content), (gone, gone_content), (moved, moved_content)):
        place.put(f"releases/{filename}", laid)
    await place.run()
    (place.root / "releases" / gone).unlink()
    (place.root / "releases" / moved).unlink()
    place.put(f"releases/demo/cc/{moved}", moved_content)
    report = await place.run()
    assert report.vanished == (f"releases/{gone}",)
    files = await place.files("demo")
    assert set(files) == {kept, moved}
    assert files[moved].key == f"releases/demo/cc/{moved}"
    (place.root / "releases" / kept).unlink()
    (place.root / f"releases/demo/cc/{moved}").unlink()
    report = await place.run()
    assert len(report.vanished) == 2
    assert (await place.store.projects.listed()).names == ()
    assert await place.store.projects.owned_names() == ("demo",)
