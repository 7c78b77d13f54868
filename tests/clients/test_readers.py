"""Libraries that read the Simple API for scripts: every page of every index, in both formats, says the same to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.model import File, Selector, User
from cheddar.settings import Settings
from tests.support.clients import output, run
from tests.support.distributions import make_sdist, make_wheel, sha256
from tests.support.redis import RedisServer
from tests.support.server import JSON, PASSWORD, USER, CheddarHere
from tests.support.upstream import EvilUpstream

SCRIPTS = Path(__file__).parent / "scripts"
READERS = {"pypi-simple": "read_with_pypi_simple.py", "mousebender": "read_with_mousebender.py"}

#: What each reader learns from JSON alone: what HTML has no words for, and what the reader does not look for there.
ONLY_IN_JSON = {
    "pypi-simple": {"size", "upload-time", "versions"},
    "mousebender": {"size", "upload-time", "versions", "provenance", "status", "reason"},
}

REASON = 'Zürich \N{CHEESE WEDGE} "broken" <b>it\'s</b> &amp; worse'
STAMP = datetime(2024, 1, 2, 3, 4, 5, 678901, timezone.utc)
PROVENANCE = "https://index.example/integrity?a=1&b=2"
BOUNDS = "<4,>=3.8,!=3.9.*"
MANY = 1000

#: What is read, by index: each project's files.
Expected = Mapping[str, Mapping[str, frozenset[str]]]

#: The versions of a project that has one of everything.
ODD_VERSIONS = ("1!2.0", "1.0.post1.dev2", "2.0+cpu.1", "3.0rc1", "0.1a1.dev3", "10.0")


@pytest.fixture
def settings(tmp_path: Path, upstream: EvilUpstream) -> Settings:
    """Everything below the test's own directory."""
    return Settings(data_dir=tmp_path / "data", index_url=upstream.url)


@pytest_twisted.async_yield_fixture
async def upstream(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def cheddar(request: Any, reactor: Any, settings: Settings, tmp_path: Path) -> AsyncIterator[CheddarHere]:
    """A running Cheddar with one user."""
    redis = None
    if request.param == "redis":
        (tmp_path / "redis").mkdir()
        redis = RedisServer(tmp_path / "redis")
        redis.start()
        settings = attrs.evolve(settings, redis_url=redis.url)
    server = await CheddarHere(settings, reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()
    if redis is not None:
        redis.kill()


async def publish(cheddar: CheddarHere) -> dict[str, frozenset[str]]:
    """Projects of all kinds. @return: their files."""
    names: dict[str, set[str]] = {}

    async def upload(project: str, filename: str, content: bytes) -> None:
        answer = await cheddar.upload(filename, content)
        assert answer.status == 200, answer
        names.setdefault(project, set()).add(filename)

    for version in ODD_VERSIONS:
        for make in (make_wheel, make_sdist):
            await upload("odd-versions", *make("Odd.Versions", version, requires_python=BOUNDS))
    for version in ("1.0", "2.0", "3.0"):
        await upload("yanked", *make_wheel("yanked", version))
    for status in ("archived", "deprecated"):
        await upload(status, *make_wheel(status, "1.0"))
    store = cheddar.service.store.projects
    await store.set_yanked("yanked", Selector("1.0"), REASON)
    await store.set_yanked("yanked", Selector("2.0"), "")
    await store.set_status("archived", "archived", REASON)
    await store.set_status("deprecated", "deprecated", None)
    for number in range(MANY):
        # Rows are enough for a page.
        file = File(
            filename=f"many-{number}.0.tar.gz",
            version=f"{number}.0",
            size=number,
            digests={"sha256": sha256(b"%d" % number)},
            upload_time=STAMP,
            key=f"releases/many/{number}",
        )
        await store.add_file("many", "many", file, True)
        names.setdefault("many", set()).add(file.filename)
    return {project: frozenset(files) for project, files in names.items()}


async def offer(upstream: EvilUpstream, cheddar: CheddarHere) -> dict[str, frozenset[str]]:
    """The like upstream, and what only upstreams have; each is asked for once, and so listed. @return: the files."""
    for version in ODD_VERSIONS:
        for filename, content in (make_wheel("Fine", version), make_sdist("Fine", version)):
            upstream.add_file("fine", filename, content, requires_python=BOUNDS, upload_time=STAMP)
    for filename in (
        "odd-2004d.tar.gz", "odd-1.0-py2.7.egg", "odd-1.0.win32-py2.7.exe", "odd-1.0.zip", "odd-1.0-1.noarch.rpm",
        "odd-1.0-variants.json", "odd-1.0-2abc-py2.py3-none-manylinux1_x86_64.manylinux2010_x86_64.whl",
    ):  # fmt: skip
        upstream.add_file("odd", filename, make_wheel("odd", "1.0")[1])
    for number, more in enumerate(
        (
            {"yanked": REASON},
            {"yanked": True},
            {"provenance": PROVENANCE},
            {"core_metadata": True},
            {"hashes": {"md5": "0" * 32}},
            {"hashes": {"sha256": "1" * 64, "blake2b_256": "2" * 64}},
            {"upload_time": None},
        )
    ):
        upstream.add_file("marked", *make_wheel("marked", f"{number}.0"), **more)
    upstream.add_file("bare", *make_sdist("bare", "1.0"), hashes={}, size=None, upload_time=None)
    upstream.projects["empty"] = []
    for number in range(MANY):
        upstream.add_file("huge", *make_sdist("huge", f"{number}.0"))
    names = {name: frozenset(file.filename for file in files) for name, files in upstream.projects.items()}
    for status in ("active", "archived", "deprecated"):
        page = {
            "meta": {"api-version": "1.4"},
            "name": f"upstream-{status}",
            "project-status": {"status": status, "reason": REASON},
            "versions": ["1.0", "2.0"],
            "files": [{"filename": f"upstream_{status}-1.0.tar.gz", "url": "/x", "hashes": {}, "size": 7}],
        }
        headers = {"Content-Type": JSON}
        upstream.misbehave(f"/simple/upstream-{status}/", status=200, body=json.dumps(page).encode(), headers=headers)
        names[f"upstream-{status}"] = frozenset({f"upstream_{status}-1.0.tar.gz"})
    for name in names:
        answer = await cheddar.ask("GET", f"/simple/{name}/", headers={"Accept": JSON})
        assert answer.status == 200, answer
        assert {file["filename"] for file in answer.json()["files"]} == names[name]
    return names


@pytest.mark.deadline(150)
@pytest.mark.client("reads every page of every index, and learns the same from either format")
@pytest.mark.parametrize("client", sorted(READERS))
async def test_every_page_is_read(cheddar: CheddarHere, upstream: EvilUpstream, tmp_path: Path, client: str) -> None:
    """All projects with all their files, without a warning; each yank, bound, digest and address in both formats."""
    local, remote = await publish(cheddar), await offer(upstream, cheddar)
    expected = {"local/": local, "remote/": remote, "": {**local, **remote}}
    root = f"http://localhost:{cheddar.port}/"
    addresses = [f"{root}{index}simple/" for index in expected]
    done = await deferToThread(
        run, client, "-W", "error", str(SCRIPTS / READERS[client]), *addresses, home=tmp_path / "home", program="python"
    )
    assert (done.returncode, done.stderr) == (0, ""), output(done)[-3000:]
    found = json.loads(done.stdout)
    for index, address in zip(expected, addresses, strict=True):
        from_json, from_html, from_text = found[address].values()
        assert {name: frozenset(project["files"]) for name, project in from_json.items()} == expected[index]
        assert from_html == from_text
        assert list(from_html) == list(from_json)
        for name, project in from_json.items():
            assert as_in_html(project, client) == as_in_html(from_html[name], client), name
        check_what_was_said(from_json, root)


def as_in_html(project: dict[str, Any], client: str) -> dict[str, Any]:
    """What of a project both formats can say: of a file's digests HTML gives one, the best."""
    unsaid = ONLY_IN_JSON[client]
    files = {
        filename: {
            **{key: value for key, value in file.items() if key not in unsaid},
            "digests": {name: file["digests"][name] for name in ("sha256", "md5") if name in file["digests"]},
        }
        for filename, file in project["files"].items()
    }
    return {**{key: value for key, value in project.items() if key not in unsaid}, "files": files}


def check_what_was_said(projects: Mapping[str, Any], root: str) -> None:
    """What was put there is what was read: both formats may not leave out the same."""
    for name, project in projects.items():
        assert all(file["url"].startswith(root) for file in project["files"].values()), name
    if "yanked" in projects:
        yanked = {filename: file["yanked"] for filename, file in projects["yanked"]["files"].items()}
        assert yanked == {
            f"yanked-{number}.0-py3-none-any.whl": said for number, said in ((1, REASON), (2, ""), (3, None))
        }
        assert (projects["archived"]["status"], projects["archived"]["reason"]) == ("archived", REASON)
        assert (projects["deprecated"]["status"], projects["deprecated"]["reason"]) == ("deprecated", None)
        odd = projects["odd-versions"]
        assert set(odd["versions"]) == set(ODD_VERSIONS)
        assert {file["requires-python"] for file in odd["files"].values()} == {BOUNDS}
        assert all(file["core-metadata"] for filename, file in odd["files"].items() if filename.endswith(".whl"))
    if "marked" in projects:
        marked = list(projects["marked"]["files"].values())
        assert [file["yanked"] for file in marked] == [REASON, "", None, None, None, None, None]
        assert [bool(file["provenance"]) for file in marked] == [False, False, True, False, False, False, False]
        assert [file["core-metadata"] == {} for file in marked] == [False, False, False, True, False, False, False]
        assert [sorted(file["digests"]) for file in marked[4:6]] == [["md5"], ["blake2b_256", "sha256"]]
        assert marked[6]["upload-time"] is None
        assert projects["bare"]["files"]["bare-1.0.tar.gz"]["digests"] == {}
        assert projects["upstream-archived"]["status"] == "archived"
        assert projects["upstream-archived"]["versions"] == ["1.0", "2.0"]
        assert projects["fine"]["files"]["fine-10.0.tar.gz"]["upload-time"].startswith("2024-01-02T03:04:05.678901")
