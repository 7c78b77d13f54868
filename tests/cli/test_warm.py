"""`cheddar warm`, in either store: what it fetches, and what it says of what it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.threads import deferToThread
from twisted.python import usage

from cheddar.errors import CheddarError, Invalid
from cheddar.index.made_metadata import DELAY
from cheddar.model import File
from cheddar.service import open_store
from cheddar.settings import Settings
from tests.cli.commands import attempt, execute
from tests.support.distributions import make_sdist, make_wheel, sha256
from tests.support.server import JSON, CheddarHere
from tests.support.upstream import EvilUpstream

LINUX = ("--python", "3.11", "--platform", "manylinux_2_28_x86_64")


def tagged(name: str, version: str, tags: str) -> tuple[str, bytes]:
    """A wheel for one Python on one platform."""
    filename, content = make_wheel(name, version, extra=[("tags", tags.encode())])
    return filename.replace("py3-none-any", tags), content


FILES = (
    ("pure", *make_wheel("pure", "1.0")),
    ("pure", *make_wheel("pure", "2.0rc1")),
    ("native", *tagged("native", "1.0", "cp311-cp311-manylinux_2_17_x86_64")),
    ("native", *tagged("native", "1.0", "cp312-cp312-manylinux_2_17_x86_64")),
    ("native", *tagged("native", "1.0", "cp311-cp311-win_amd64")),
    ("native", *make_sdist("native", "1.0")),
    ("source", *make_sdist("source", "0.9")),
    ("windows", *tagged("windows", "1.0", "cp311-cp311-win_amd64")),
)
CONTENTS = {filename: content for _, filename, content in FILES}


@pytest_twisted.async_yield_fixture
async def evil(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream with something of each kind."""
    upstream = EvilUpstream(reactor)
    for project, filename, content in FILES:
        upstream.add_file(project, filename, content)
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
def warmed(settings: Settings, evil: EvilUpstream) -> Settings:
    """Settings with that upstream."""
    return evolve(settings, index_url=evil.url)


def kept(settings: Settings) -> dict[str, bytes]:
    """The files that are in the cache, by name, core metadata apart; nothing is half there."""
    folder = settings.remote_dir
    files = [path for path in folder.rglob("*") if path.is_file() and ".incoming" not in path.parts]
    partial = [path for path in (folder / ".incoming").rglob("*") if path.is_file()]
    assert [path for path in partial if path.name not in ("gate", "lock")] == []
    return {path.name: path.read_bytes() for path in files if not path.name.endswith(".metadata")}


def with_metadata(settings: Settings) -> set[str]:
    """The names of the files whose core metadata is in the cache."""
    return {path.name.removesuffix(".metadata") for path in settings.remote_dir.rglob("*.whl.metadata")}


def requirements(tmp_path: Path, *lines: str) -> str:
    """The path of such a file."""
    path = tmp_path / "requirements.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


async def test_what_a_file_names_is_fetched_once(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """
    Pages, the wheels that fit, sdists where none does, and core metadata; a second run asks upstream for nothing, and a
    server on the same data, cut off, serves all of it.
    """
    path = requirements(tmp_path, "pure", "native==1.*", "source", "windows; sys_platform == 'win32'")
    said = await execute(reactor, warmed, "warm", path, *LINUX)
    expected = {"pure-1.0-py3-none-any.whl", "native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "source-0.9.tar.gz"}
    size = sum(len(CONTENTS[name]) for name in expected)
    assert said == f"3 files fetched ({size / 10**6:.1f} MB), 0 here already, 0 could not be had.\n"
    assert kept(warmed) == {name: CONTENTS[name] for name in expected}
    assert with_metadata(warmed) == {name for name in expected if name.endswith(".whl")}
    assert evil.hits["GET /simple/windows/"] == 0
    asked = len(evil.requests)
    assert asked == 3 + 3 + 2
    assert await execute(reactor, warmed, "warm", path, *LINUX) == (
        "0 files fetched (0.0 MB), 3 here already, 0 could not be had.\n"
    )
    assert len(evil.requests) == asked
    await evil.stop()
    server = await CheddarHere(evolve(warmed, offline=True), reactor).start()
    try:
        for name in expected:
            project = name.partition("-")[0]
            page = (await server.ask("GET", f"/simple/{project}/", headers={"Accept": JSON})).json()
            (entry,) = (file for file in page["files"] if file["filename"] == name)
            answer = await server.ask("GET", urljoin(f"/simple/{project}/", entry["url"]))
            assert (answer.status, answer.body) == (200, CONTENTS[name])
        # The control: of what was not warmed there is nothing.
        assert (await server.ask("GET", "/simple/windows/")).status == 503
    finally:
        await server.stop()


async def test_each_target_gets_its_files(reactor: Any, warmed: Settings, tmp_path: Path) -> None:
    """Each Python on each platform; --sdist adds the sdist, --all-platforms takes every wheel of the release."""
    path = requirements(tmp_path, "native")
    named = {name for name in CONTENTS if name.startswith("native")}
    targets = ("--python", "3.11", "--python", "3.12", "--platform", "manylinux_2_17_x86_64")
    await execute(reactor, warmed, "warm", *targets, path)
    linux = {f"native-1.0-cp3{minor}-cp3{minor}-manylinux_2_17_x86_64.whl" for minor in (11, 12)}
    assert set(kept(warmed)) == linux
    await execute(reactor, warmed, "warm", path, "--all-platforms")
    assert set(kept(warmed)) == named - {"native-1.0.tar.gz"}
    await execute(reactor, warmed, "warm", path, "--sdist", *LINUX)
    assert set(kept(warmed)) == named


async def test_what_cannot_be_had_is_told_and_stops_nothing(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """A line for each, with its reason; all else is fetched, and the command fails in the end."""
    broken = make_wheel("broken", "1.0")
    evil.add_file("broken", *broken)
    evil.misbehave(f"/files/{broken[0]}", flip=10)
    path = requirements(
        tmp_path,
        *("pure", "windows", "nowhere", "native>=2", "-e .", "git+https://forge.example/x", "broken"),
        f"source --hash=sha256:{'0' * 64}",
    )
    printed, error = await attempt(reactor, warmed, "warm", path, *LINUX)
    lines = printed.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        "broken-1.0-py3-none-any.whl",
        "git+https://forge.example/x",
        "native>=2",
        "nowhere",
        "source",
        "windows",
    ]
    reasons = (
        "Upstream sent wrong bytes",
        "cannot be had from an index",
        "upstream lists no such version",
        "There is no project nowhere",
        "no file has one of the digests",
        "no wheel fits Python 3.11 on manylinux_2_28_x86_64, and there is no sdist",
    )
    assert [reason for reason, line in zip(reasons, lines, strict=False) if reason not in line] == []
    assert lines[-1].startswith("1 file fetched (")
    assert lines[-1].endswith("0 here already, 1 not from an index but at hand (--editable .), 6 could not be had.")
    assert isinstance(error, CheddarError)
    assert str(error) == "6 things could not be had."
    assert set(kept(warmed)) == {"pure-1.0-py3-none-any.whl"}


def uv_lock(tmp_path: Path, registry: str, **digests: str) -> str:
    """The path of a lock of these files."""
    path = tmp_path / "uv.lock"
    packages = [
        f'[[package]]\nname = "{name.partition("-")[0]}"\nversion = "1.0"\nsource = {{ registry = "{registry}" }}\n'
        f'wheels = [{{ url = "{registry}/{name}", hash = "sha256:{digest}" }}]\n'
        for name, digest in digests.items()
    ]
    edges = ", ".join(f'{{ name = "{name.partition("-")[0]}" }}' for name in digests)
    root = f'[[package]]\nname = "app"\nversion = "1"\nsource = {{ virtual = "." }}\ndependencies = [{edges}]\n'
    path.write_text('version = 1\nrequires-python = ">=3.9"\n' + root + "".join(packages))
    return str(path)


async def test_a_lock_is_kept_to_the_letter(reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path) -> None:
    """The release that it names, though there is a newer one; bytes that are others than it says are not fetched."""
    evil.add_file("pure", *make_wheel("pure", "9.0"))
    good, other = "pure-1.0-py3-none-any.whl", "native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    unlisted = "source-0.9-py3-none-any.whl"
    path = uv_lock(tmp_path, evil.url, **{good: sha256(CONTENTS[good]), other: "1" * 64, unlisted: "2" * 64})
    printed, error = await attempt(reactor, warmed, "warm", path, *LINUX)
    assert printed.splitlines()[:-1] == [
        f"{other}: its SHA-256 is {'1' * 64} in the lock, and {sha256(CONTENTS[other])} here",
        f"{unlisted}: upstream does not list it, or what it lists is withheld",
    ]
    assert error is not None
    assert set(kept(warmed)) == {good}
    assert evil.hits[f"GET /files/{other}"] == 0


async def test_what_is_of_another_index_is_left_to_it(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """Upstream is not asked for it, unless the command is told that this Cheddar stands for that index too."""
    name = "pure-1.0-py3-none-any.whl"
    registry = "https://me:secret@private.example/simple"
    path = uv_lock(tmp_path, registry, **{name: sha256(CONTENTS[name])})
    printed, error = await attempt(reactor, warmed, "warm", path, *LINUX)
    assert "pure 1.0: it is from another index" in printed
    assert error is not None
    assert evil.requests == []
    near_misses = ("--registry", "https://private.example/sim", "--registry", "https://private.exam")
    assert (await attempt(reactor, warmed, "warm", path, *LINUX, *near_misses))[1] is not None
    await execute(reactor, warmed, "warm", path, *LINUX, "--registry", "https://private.example/simple/")
    assert set(kept(warmed)) == {name}


async def test_local_names_are_never_asked_of_upstream(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """Those that are taken, and those that are reserved; others in the same file are."""
    warmed = evolve(warmed, reserved_names=("source",))
    store = open_store(warmed, reactor)
    await store.start()
    try:
        local = File("pure-9.tar.gz", "9", size=1, digests={"sha256": "9" * 64}, key="releases/pure/9/x")
        await store.projects.add_file("pure", "pure", local, True)
    finally:
        await store.stop()
    said = await execute(reactor, warmed, "warm", requirements(tmp_path, "Pure", "source", "native"), *LINUX)
    assert said.endswith("2 names of the local index, nothing to do (pure, source), 0 could not be had.\n")
    assert (evil.hits["GET /simple/pure/"], evil.hits["GET /simple/source/"]) == (0, 0)
    assert evil.hits["GET /simple/native/"] == 1


async def test_core_metadata_is_made_where_upstream_has_none(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """Of the wheel that was fetched, and of no other: not a byte more is asked for than is wanted."""
    for version in ("1.0", "1.1"):
        evil.add_file("bare", *make_wheel("bare", version), core_metadata=None)
    # Long enough for the server to begin with what nobody has asked for.
    evil.misbehave("/files/bare-1.1-py3-none-any.whl", delay=DELAY + 0.5, times=1)
    await execute(reactor, warmed, "warm", requirements(tmp_path, "bare==1.1"), *LINUX)
    assert with_metadata(warmed) == {"bare-1.1-py3-none-any.whl"}
    assert [(seen.path, seen.headers.get("range")) for seen in evil.requests] == [
        ("/simple/bare/", None),
        ("/files/bare-1.1-py3-none-any.whl", None),
    ]
    await execute(reactor, warmed, "warm", requirements(tmp_path, "bare==1.1"), *LINUX)
    assert len(evil.requests) == 2


async def test_what_is_wanted_is_not_evicted_for_what_is_wanted(reactor: Any, warmed: Settings, tmp_path: Path) -> None:
    """What is here counts as used now; where the cache is too small for all of it, that is told."""
    one, other = "pure-1.0-py3-none-any.whl", "source-0.9.tar.gz"
    await execute(reactor, warmed, "warm", requirements(tmp_path, "pure"), *LINUX)
    (path,) = warmed.remote_dir.rglob(one)
    os.utime(path, (1e9, 1e9))
    # The control: what nobody names grows old.
    await execute(reactor, warmed, "warm", requirements(tmp_path, "source"), *LINUX)
    assert path.stat().st_mtime == 1e9
    path_of_both = requirements(tmp_path, "pure", "source")
    await execute(reactor, warmed, "warm", path_of_both, *LINUX)
    assert path.stat().st_mtime > time.time() - 300
    size = len(CONTENTS[one]) + len(CONTENTS[other])
    roomy = evolve(warmed, remote_cache_size=1 << 20)
    assert "2 here already, 0 could not" in await execute(reactor, roomy, "warm", path_of_both, *LINUX)
    small = evolve(warmed, remote_cache_size=size - 1)
    printed, error = await attempt(reactor, small, "warm", path_of_both, *LINUX)
    assert printed.startswith(f"REMOTE_CACHE_SIZE: it is {size - 1} bytes, and these files have {size}: ")
    assert error is not None


async def test_a_dry_run_fetches_listings_alone(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """It says what would be fetched; as JSON for programs."""
    path = requirements(tmp_path, "pure", "nowhere")
    said, _ = await attempt(reactor, warmed, "warm", path, "--dry-run", *LINUX)
    size = len(CONTENTS["pure-1.0-py3-none-any.whl"])
    assert said.splitlines()[1:] == [
        "pure-1.0-py3-none-any.whl: would be fetched",
        f"1 file to be fetched ({size / 10**6:.1f} MB), 0 here already, 1 could not be had.",
    ]
    assert kept(warmed) == {}
    assert {seen.path for seen in evil.requests} == {"/simple/pure/", "/simple/nowhere/"}
    told, error = await attempt(reactor, warmed, "warm", path, "--json", *LINUX)
    assert error is not None
    assert json.loads(told) == {
        "fetched": [{"project": "pure", "filename": "pure-1.0-py3-none-any.whl", "size": size}],
        "present": [],
        "local": [],
        "at_hand": [],
        "missing": [
            {"what": "nowhere", "why": "There is no project nowhere here. Check the spelling."},
        ],
        "received": size,
        "dry_run": False,
    }
    assert set(kept(warmed)) == {"pure-1.0-py3-none-any.whl"}


async def test_an_sdist_that_is_not_wanted(reactor: Any, warmed: Settings, tmp_path: Path) -> None:
    """With --no-sdist what has no wheel cannot be had."""
    printed, error = await attempt(reactor, warmed, "warm", requirements(tmp_path, "source"), "--no-sdist", *LINUX)
    assert printed.startswith("source: no wheel fits Python 3.11 on manylinux_2_28_x86_64, and sdists are not wanted")
    assert error is not None
    assert kept(warmed) == {}


async def test_nothing_is_begun_that_cannot_be_done(
    reactor: Any, warmed: Settings, evil: EvilUpstream, tmp_path: Path
) -> None:
    """OFFLINE, no upstream, a cache that cannot be written, and files that cannot be read."""
    path = requirements(tmp_path, "pure")
    with pytest.raises(Invalid, match="OFFLINE is set"):
        await execute(reactor, evolve(warmed, offline=True), "warm", path)
    with pytest.raises(Invalid, match="no upstream"):
        await execute(reactor, evolve(warmed, index_url=""), "warm", path)
    with pytest.raises(Invalid, match="there/is/none cannot be read: No such file"):
        await execute(reactor, warmed, "warm", "there/is/none")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CheddarError, match="file"):
        await execute(reactor, evolve(warmed, remote_cache_dir=tmp_path / "file" / "cache"), "warm", path)
    for wrong in (["warm"], ["warm", path, "--sdist", "--no-sdist"], ["warm", path, "--all-platforms", *LINUX]):
        with pytest.raises(usage.UsageError):
            await execute(reactor, warmed, *wrong)
    assert evil.requests == []


@pytest.mark.deadline(60)
async def test_a_bar_is_drawn_for_who_looks(reactor: Any, evil: EvilUpstream, tmp_path: Path) -> None:
    """On a terminal; in a log there are the failures and the summary alone. The exit status tells success."""
    path = requirements(tmp_path, "pure", "nowhere")
    command = [str(Path(sys.executable).parent / "cheddar"), "--data-dir", "var", "warm", path]
    environ = {**os.environ, "CHEDDAR_INDEX_URL": evil.url}

    def run(stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
            timeout=50,
        )

    terminal, other_end = os.openpty()
    try:
        looked_at = await deferToThread(run, other_end)
        drawn = os.read(terminal, 10_000).decode()
    finally:
        os.close(terminal)
        os.close(other_end)
    assert looked_at.returncode == 1
    assert "100%  2 of 2 projects\r\n" in drawn
    assert "100%  1 of 1 files, 0 MB\r\n" in drawn
    requirements(tmp_path, "pure")
    logged = await deferToThread(run, subprocess.PIPE)
    assert (logged.returncode, logged.stderr) == (0, "")
    assert logged.stdout == "0 files fetched (0.0 MB), 1 here already, 0 could not be had.\n"
