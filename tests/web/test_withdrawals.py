"""What upstream takes back, yanks or changes, seen from the front door: pages, files and metadata, on each store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from cheddar.settings import Settings
from tests.cli.commands import execute
from tests.support.distributions import core_metadata_of, make_wheel
from tests.support.later import LaterReactor
from tests.support.redis import RedisServer, redis_server
from tests.support.server import Answer, CheddarHere
from tests.support.upstream import EvilUpstream
from tests.support.upstream_content import JSON_TYPE

__all__ = ["redis_server"]

JSON = {"Accept": JSON_TYPE}
#: Seconds that a listing is fresh.
TTL = 60

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
OTHER_TWO = make_wheel("demo", "2.0", size=5000, requires_python=">=3.4")
assert TWO[0] == OTHER_TWO[0]
assert core_metadata_of(TWO[1]) != core_metadata_of(OTHER_TWO[1])


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, upstream: EvilUpstream) -> Settings:
    """Settings for an empty store; each test runs once for each kind."""
    settings = Settings(data_dir=tmp_path / "data", index_url=upstream.url, versions_short_ttl=TTL)
    if request.param == "sqlite":
        return settings
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return attrs.evolve(settings, redis_url=server.url)


@attrs.define
class Watch:
    """
    One project, C{demo}, before and after upstream changes its mind.

    @ivar addresses: where the files of each name were first offered.
    """

    settings: Settings
    upstream: EvilUpstream
    clock: LaterReactor
    reactor: Any
    cheddar: CheddarHere = attrs.field(init=False)
    addresses: dict[str, str] = attrs.field(factory=dict)

    async def start(self, **changes: Any) -> None:
        """Start, with these settings from now on."""
        self.settings = attrs.evolve(self.settings, **changes)
        self.cheddar = await CheddarHere(self.settings, self.clock).start()

    async def restart(self, **changes: Any) -> None:
        """Stop, and start with these settings: nothing is remembered but what is stored."""
        await self.cheddar.stop()
        await self.start(**changes)

    async def ask(self, path: str, **headers: str) -> Answer:
        """One request."""
        return await self.cheddar.ask("GET", path, headers=headers)

    async def listed(self) -> dict[str, dict[str, Any]]:
        """The files of the page, by name; the page for browsers and old installers names the same."""
        answer = await self.ask("/simple/demo/", **JSON)
        assert answer.status == 200, answer.body
        files = {file["filename"]: file for file in answer.json()["files"]}
        page = (await self.ask("/simple/demo/")).body.decode()
        for name, _ in (ONE, TWO):
            assert (f">{name}</a>" in page) == (name in files)
        assert page.count("data-yanked") == sum("yanked" in file for file in files.values())
        for name, file in files.items():
            self.addresses.setdefault(name, str(file["url"]).removeprefix("../.."))
        return files

    async def see(self, *, fetch: bool = True) -> None:
        """Ask for the page for the first time, and for each file and its core metadata unless said."""
        for name in await self.listed():
            if fetch:
                content = next(file.content for file in self.upstream.projects["demo"] if file.filename == name)
                await self.offers((name, content))

    async def offers(self, *wheels: tuple[str, Any]) -> None:
        """What was first seen is offered, listed or no, at the addresses of then."""
        files = await self.listed()
        for name, content in wheels:
            assert str(files[name]["url"]).endswith(self.addresses[name])
            assert (await self.ask(self.addresses[name])).body == content
            assert (await self.ask(self.addresses[name] + ".metadata")).body == core_metadata_of(content)

    async def withholds(self, name: str, *words: str) -> None:
        """Neither the file nor its core metadata is at its address, and the answer says why."""
        for path in (self.addresses[name], self.addresses[name] + ".metadata"):
            answer = await self.ask(path)
            assert answer.status == 404
            for word in words:
                assert word in answer.body.decode()

    async def refresh(self, seconds: float = TTL + 1) -> None:
        """So much later a client asks: it gets the old page, and whoever asks next the new one."""
        self.clock.later(seconds)
        begun = self.clock.seconds()
        await self.ask("/simple/demo/")
        pages = self.cheddar.service.store.pages
        while (page := await pages.get("remote", "demo")) is None or page.checked_at < begun:
            await deferLater(self.reactor, 0.01, lambda: None)

    async def deletion(self) -> None:
        """Upstream says twice, ten minutes apart, that there is no such project."""
        self.upstream.misbehave("/simple/demo/", status=404)
        await self.refresh()
        await self.refresh(601)

    def change(self, wheel: tuple[str, bytes], **attributes: Any) -> None:
        """Upstream has these bytes under their name."""
        self.remove(wheel[0])
        self.upstream.add_file("demo", *wheel, **attributes)

    def remove(self, name: str) -> None:
        """Upstream has no file of that name."""
        self.upstream.projects["demo"][:] = [file for file in self.upstream.projects["demo"] if file.filename != name]

    def events(self) -> list[tuple[str, str]]:
        """What the audit log has, oldest first."""
        if not self.settings.audit_file.exists():
            return []
        lines = map(json.loads, self.settings.audit_file.read_text().splitlines())
        return [(line["action"].removeprefix("upstream."), line.get("filename", "")) for line in lines]

    async def counted(self, action: str) -> float:
        """What the metric says of it."""
        text = (await self.ask("/metrics")).body.decode()
        start = f'cheddar_upstream_withdrawals_total{{action="{action}"}} '
        return sum(float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start))


@pytest_twisted.async_yield_fixture
async def watch(settings: Settings, upstream: EvilUpstream, reactor: Any) -> AsyncIterator[Watch]:
    """Upstream has two releases of C{demo}. Nothing is started yet."""
    upstream.add_file("demo", *ONE)
    upstream.add_file("demo", *TWO)
    watch = Watch(settings, upstream, LaterReactor(reactor), reactor)
    yield watch
    await watch.cheddar.stop()


@pytest.mark.parametrize("on_removed", ["withhold", "mark", "keep"])
async def test_a_file_is_removed_and_restored(watch: Watch, on_removed: str) -> None:
    """Page, file and core metadata follow within one refresh, and back; noted once, whatever restarts in between."""
    await watch.start(on_removed=on_removed)
    await watch.see()
    before = await watch.counted("removed")
    watch.remove(TWO[0])
    await watch.offers(ONE, TWO)  # fresh: nobody knows yet
    await watch.refresh()
    for _ in range(2):
        files = await watch.listed()
        if on_removed == "withhold":
            assert set(files) == {ONE[0]}
            await watch.withholds(TWO[0], "Upstream has removed", "ON_REMOVED")
        else:
            await watch.offers(TWO)
            assert ("Removed by upstream" in str(files[TWO[0]].get("yanked"))) == (on_removed == "mark")
        assert "yanked" not in files[ONE[0]]
        await watch.offers(ONE)
        await watch.restart()
        await watch.refresh()
    assert watch.events() == [("removed", TWO[0])]
    assert await watch.counted("removed") == before + 1
    watch.upstream.add_file("demo", *TWO)
    await watch.refresh()
    await watch.offers(ONE, TWO)
    assert not [file for file in (await watch.listed()).values() if "yanked" in file]
    assert watch.events() == [("removed", TWO[0]), ("restored", TWO[0])]


@pytest.mark.parametrize("on_removed", ["withhold", "mark", "keep"])
async def test_a_project_is_deleted_and_restored(watch: Watch, on_removed: str) -> None:
    """
    One "not found" changes nothing, nor does a second that comes soon; one that comes ten minutes later does. It is
    noted once, however often it is said after that, and all is as before when upstream has the project again.
    """
    await watch.start(on_removed=on_removed)
    await watch.see()
    names = (await watch.ask("/simple/", **JSON)).body
    watch.upstream.misbehave("/simple/demo/", status=404)
    await watch.refresh()
    await watch.refresh(590)
    await watch.offers(ONE, TWO)
    assert watch.events() == []
    await watch.restart()
    await watch.refresh(TTL + 1)
    for seconds in (TTL + 1, 601):
        if on_removed == "withhold":
            page = await watch.ask("/simple/demo/", **JSON)
            assert page.status == 404
            assert b"Upstream has no project demo any more" in page.body
            assert (await watch.ask("/simple/", **JSON)).body != names
            await watch.withholds(ONE[0], "Upstream has removed")
            await watch.withholds(TWO[0], "Upstream has removed")
            watch.clock.later(301)
        else:
            await watch.offers(ONE, TWO)
            marks = [str(file.get("yanked")) for file in (await watch.listed()).values()]
            assert [("Removed by upstream" in mark) for mark in marks] == [on_removed == "mark"] * 2
            await watch.refresh(seconds)
        await watch.restart()
    assert watch.events() == [("deleted", "")]
    watch.upstream.behave()
    if on_removed != "withhold":
        await watch.refresh()
    await watch.offers(ONE, TWO)
    assert not [file for file in (await watch.listed()).values() if "yanked" in file]
    assert (await watch.ask("/simple/", **JSON)).body == names
    assert ("restored", "" if on_removed == "withhold" else ONE[0]) in watch.events()


async def test_a_not_found_that_was_a_mistake(watch: Watch) -> None:
    """Where upstream has the project in between, the ten minutes begin anew."""
    await watch.start()
    await watch.see()
    for _ in range(2):
        watch.upstream.misbehave("/simple/demo/", status=404)
        await watch.refresh()
        watch.upstream.behave()
        await watch.refresh(601)
        await watch.offers(ONE, TWO)
    assert watch.events() == []


@pytest.mark.parametrize("on_changed", ["pin", "withhold"])
@pytest.mark.parametrize("kept", [True, False])
async def test_a_file_is_changed_and_changed_back(watch: Watch, on_changed: str, kept: bool) -> None:
    """The bytes first seen are offered, or none; the other ones never, whether the first are here or not."""
    await watch.start(on_changed=on_changed)
    await watch.see(fetch=kept)
    before = await watch.counted("changed")
    watch.change(OTHER_TWO)
    await watch.refresh()
    for _ in range(2):
        files = await watch.listed()
        if on_changed == "withhold":
            assert set(files) == {ONE[0]}
            await watch.withholds(TWO[0], "other bytes than before", "ON_CHANGED")
        elif kept:
            await watch.offers(TWO)
        else:
            assert str(files[TWO[0]]["url"]).endswith(watch.addresses[TWO[0]])
            for path in (watch.addresses[TWO[0]], watch.addresses[TWO[0]] + ".metadata"):
                assert (await watch.ask(path)).status == 502
        await watch.offers(ONE)
        other = f"/remote/files/demo/{watch.upstream.projects['demo'][1].sha256}/{TWO[0]}"
        for path in (other, other + ".metadata"):
            answer = await watch.ask(path)
            assert answer.status == 404
            assert b"other bytes than before" in answer.body
        await watch.restart()
        await watch.refresh()
    assert watch.events() == [("changed", TWO[0])]
    assert await watch.counted("changed") == before + 1
    watch.change(TWO)
    await watch.refresh()
    await watch.offers(ONE, TWO)


def of_metadata(watch: Watch, data: bytes | None) -> None:
    """Upstream lists this as the core metadata of the same release two, and has it."""
    path = f"/files/{TWO[0]}.metadata"
    watch.upstream.behave(path)
    if data is None:
        watch.change(TWO, core_metadata=None)
        watch.upstream.misbehave(path, status=404)
    else:
        watch.change(TWO, core_metadata={"sha256": hashlib.sha256(data).hexdigest()})
        watch.upstream.misbehave(path, status=200, body=data)


FIRST = core_metadata_of(TWO[1])
OTHERS = FIRST + b"Other: yes\n"


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("later", [OTHERS, None])
async def test_core_metadata_is_changed_and_changed_back(watch: Watch, kept: bool, later: bytes | None) -> None:
    """What was first seen of the same bytes stays listed, and served, from the file itself where it was not kept."""
    await watch.start()
    await watch.see(fetch=kept)
    before = await watch.counted("changed")
    of_metadata(watch, later)
    await watch.refresh()
    for _ in range(2):
        file = (await watch.listed())[TWO[0]]
        assert file["core-metadata"] == {"sha256": hashlib.sha256(FIRST).hexdigest()}
        await watch.offers(ONE, TWO)
        of_metadata(watch, later)
        watch.upstream.misbehave("/simple/demo/", headers={"ETag": '"another"'})
        await watch.restart()
        await watch.refresh()
    told = int(later is not None)
    assert watch.events() == [("changed", TWO[0])] * told
    assert await watch.counted("changed") == before + told
    of_metadata(watch, FIRST)
    watch.upstream.behave("/simple/demo/")
    await watch.refresh()
    await watch.offers(ONE, TWO)
    of_metadata(watch, OTHERS)
    await watch.refresh()
    assert watch.events() == [("changed", TWO[0])] * (told + 1), "that is news again"
    detail = json.loads(watch.settings.audit_file.read_text().splitlines()[-1])["detail"]
    assert all(hashlib.sha256(data).hexdigest() in detail for data in (FIRST, OTHERS))
    assert "core metadata" in detail


async def test_core_metadata_that_is_nowhere(watch: Watch, reactor: Any) -> None:
    """
    Where it is neither kept, nor upstream's, nor the wheel's own, it is a 502; the wheel goes on being offered; and an
    operator can take upstream's side.
    """
    of_metadata(watch, OTHERS)
    await watch.start()
    await watch.see(fetch=False)
    address = watch.addresses[TWO[0]]
    of_metadata(watch, FIRST)
    await watch.refresh()
    answer = await watch.ask(f"{address}.metadata")
    assert (answer.status, b"wrong core metadata" in answer.body) == (502, True)
    assert (await watch.ask(address)).body == TWO[1]
    assert (await watch.ask(f"{address}.metadata")).status == 502
    await execute(reactor, watch.settings, "upstream", "forget", "demo")
    watch.clock.later(2)
    await watch.listed()
    await watch.offers(ONE, TWO)
    assert watch.events() == [("changed", TWO[0]), ("forgotten", ""), ("forgotten", TWO[0])]


@pytest.mark.parametrize("later", [TWO, OTHER_TWO])
async def test_a_digest_of_another_kind(watch: Watch, later: tuple[str, bytes]) -> None:
    """
    An upstream that lists other digests than it did is followed, but the bytes must be right by the first ones too,
    and the address of before stays good.
    """
    digest = hashlib.md5(TWO[1], usedforsecurity=False).hexdigest()
    watch.change(TWO, hashes={"md5": digest}, core_metadata=None, size=None)
    await watch.start()
    await watch.see(fetch=False)
    address = watch.addresses[TWO[0]]
    assert f"/md5-{digest}/" in address
    watch.change(later)
    await watch.refresh()
    now = (await watch.listed())[TWO[0]]
    right = watch.upstream.projects["demo"][1].sha256
    assert now["hashes"] == {"md5": digest, "sha256": right}
    for path in (address, str(now["url"]).removeprefix("../..")):
        answer = await watch.ask(path)
        assert (answer.status, answer.body == TWO[1]) == ((200, True) if later is TWO else (502, False))


@pytest.mark.parametrize("on_removed", ["withhold", "mark", "keep"])
@pytest.mark.parametrize("on_changed", ["pin", "withhold"])
async def test_a_name_that_somebody_else_takes(watch: Watch, on_removed: str, on_changed: str) -> None:
    """A project that was deleted and registered again: old names never stand for new bytes; new names are served."""
    await watch.start(on_removed=on_removed, on_changed=on_changed)
    await watch.see()
    await watch.deletion()
    await watch.restart()
    watch.upstream.behave()
    three = make_wheel("demo", "3.0")
    watch.upstream.projects["demo"].clear()
    watch.upstream.add_file("demo", *OTHER_TWO)
    watch.upstream.add_file("demo", *three)
    watch.clock.later(601)
    await watch.ask("/simple/demo/")
    await watch.refresh()
    for _ in range(2):
        files = await watch.listed()
        assert (ONE[0] in files) == (on_removed != "withhold")
        if on_changed == "pin":
            await watch.offers(TWO)
        else:
            assert TWO[0] not in files
            await watch.withholds(TWO[0], "other bytes")
        await watch.offers(three)
        other = f"/remote/files/demo/{watch.upstream.projects['demo'][0].sha256}/{TWO[0]}"
        assert (await watch.ask(other)).status == 404
        await watch.restart()
    assert watch.events()[0] == ("deleted", "")
    assert ("changed", TWO[0]) in watch.events()


async def test_a_release_is_yanked_and_no_longer(watch: Watch) -> None:
    """Its file is marked with the reason within one refresh, and still there for who has its address."""
    await watch.start()
    await watch.see()
    watch.change(TWO, yanked="broken")
    await watch.refresh()
    for _ in range(2):
        files = await watch.listed()
        assert files[TWO[0]]["yanked"] == "broken"
        assert "yanked" not in files[ONE[0]]
        await watch.offers(ONE, TWO)
        await watch.restart()
    watch.change(TWO)
    await watch.refresh()
    assert "yanked" not in (await watch.listed())[TWO[0]]
    assert watch.events() == [("yanked", TWO[0]), ("unyanked", TWO[0])]
    assert await watch.counted("yanked") >= 1


@pytest.mark.parametrize("on_removed", ["withhold", "mark", "keep"])
@pytest.mark.parametrize("lists", [False, True])
async def test_a_project_is_quarantined_and_released(watch: Watch, on_removed: str, lists: bool) -> None:
    """Nothing of it is offered, whatever ON_REMOVED says, and whether or not upstream goes on listing its files."""
    await watch.start(on_removed=on_removed)
    await watch.see()
    right = (await watch.ask("/simple/demo/", **JSON)).json()
    files = [{**file, "url": f"{watch.upstream.files_url}{file['filename']}"} for file in right["files"]]
    status = {"status": "quarantined", "reason": "malware"}
    page = {
        "meta": {"api-version": "1.4", "project-status": status["status"], "project-status-reason": status["reason"]},
        "project-status": status,
        "name": "demo",
        "versions": right["versions"],
        "files": files if lists else [],
    }
    watch.upstream.misbehave(
        "/simple/demo/", status=200, body=json.dumps(page).encode(), headers={"Content-Type": JSON_TYPE}
    )
    await watch.refresh()
    for _ in range(2):
        now = (await watch.ask("/simple/demo/", **JSON)).json()
        assert now["files"] == []
        assert now["project-status"] == status
        await watch.withholds(ONE[0], "quarantined", "malware")
        await watch.withholds(TWO[0], "quarantined", "malware")
        assert b"demo" not in (await watch.ask("/simple/", **JSON)).body
        await watch.restart()
        await watch.refresh()
    assert watch.events() == [("quarantined", "")]
    assert await watch.counted("quarantined") >= 1
    watch.upstream.behave()
    await watch.refresh()
    await watch.offers(ONE, TWO)
    assert watch.events() == [("quarantined", ""), ("released", "")]


async def test_a_stricter_setting_counts_for_what_was_kept(watch: Watch) -> None:
    """Within one refresh, even where upstream's listing has not changed since; a laxer one gives nothing back."""
    await watch.start(on_removed="keep")
    await watch.see()
    watch.remove(TWO[0])
    await watch.refresh()
    await watch.restart(on_removed="mark")
    assert "yanked" not in (await watch.listed())[TWO[0]]
    await watch.refresh()
    assert "Removed by upstream" in (await watch.listed())[TWO[0]]["yanked"]
    await watch.restart(on_removed="withhold")
    await watch.refresh()
    assert set(await watch.listed()) == {ONE[0]}
    await watch.restart(on_removed="keep")
    await watch.refresh()
    assert set(await watch.listed()) == {ONE[0]}
    # From then on, upstream is asked whether anything has changed, as ever.
    watch.upstream.requests.clear()
    await watch.refresh()
    assert "if-none-match" in next(seen for seen in watch.upstream.requests if "/simple/" in seen.path).headers


async def test_other_bytes_under_another_setting(watch: Watch) -> None:
    """What was pinned is withheld, and offered again, as ON_CHANGED has it now."""
    await watch.start()
    await watch.see()
    watch.change(OTHER_TWO)
    await watch.refresh()
    await watch.offers(TWO)
    await watch.restart(on_changed="withhold")
    await watch.refresh()
    await watch.withholds(TWO[0], "ON_CHANGED")
    await watch.restart(on_changed="pin")
    await watch.refresh()
    await watch.offers(TWO)
    assert watch.events() == [("changed", TWO[0])]


def _nothing(watch: Watch) -> None:
    watch.upstream.projects["demo"].clear()


@pytest.mark.parametrize("taken_back", [lambda watch: watch.remove(TWO[0]), _nothing])
async def test_upstream_that_only_has_pages_of_links(watch: Watch, taken_back: Callable[[Watch], None]) -> None:
    """HTML alone is followed like JSON."""
    watch.upstream.json = False
    await watch.start()
    await watch.see()
    taken_back(watch)
    await watch.refresh()
    await watch.withholds(TWO[0], "Upstream has removed")
    assert ("removed", TWO[0]) in watch.events()


async def test_an_operator_takes_upstreams_side(watch: Watch, reactor: Any) -> None:
    """`cheddar upstream forget` makes a running server believe upstream's new bytes, within a second or two."""
    await watch.start()
    await watch.see()
    watch.change(OTHER_TWO)
    await watch.refresh()
    await watch.offers(ONE, TWO)
    await execute(reactor, watch.settings, "upstream", "forget", "demo")
    begun = time.monotonic()
    first, watch.addresses = watch.addresses, {}
    right = watch.upstream.projects["demo"][1].sha256
    while (await watch.listed())[TWO[0]]["hashes"]["sha256"] != right:
        assert time.monotonic() - begun < 5
        await deferLater(reactor, 0.05, lambda: None)
    watch.addresses = {}
    await watch.offers(ONE, OTHER_TWO)
    assert watch.addresses[TWO[0]] != first[TWO[0]]
    assert (await watch.ask(first[TWO[0]])).status == 404
    assert watch.events() == [("changed", TWO[0]), ("forgotten", ""), ("forgotten", TWO[0])]
