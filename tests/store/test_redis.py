"""What the Redis store does beyond the contract: faults of Redis, and keys that others share."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from cheddar.errors import AlreadyExists, CheddarError, NoRoom, NotFound, StoreUnavailable
from cheddar.metrics import registry
from cheddar.model import Action, File, Scope, Selector, User
from cheddar.store.redis import RedisStore
from tests.contracts.test_page_cache import listing
from tests.support.redis import RedisServer
from tests.support.tokens import MADE, token

FILE = File("spam-1.0.tar.gz", "1.0", digests={"sha256": "a" * 64})
#: Whose owner need not be there.
MINTED = token("github:acme/web", scope=Scope(frozenset({Action.UPLOAD}), ("spam",)))

#: Every method of the store, each as a call that works on an empty store (but for what it says is not there).
CALLS: dict[str, Callable[[RedisStore], Awaitable[object]]] = {
    "check": lambda store: store.check(),
    "listed": lambda store: store.projects.listed(),
    "owned_names": lambda store: store.projects.owned_names(),
    "project": lambda store: store.projects.project("spam"),
    "add_file": lambda store: store.projects.add_file("spam", "spam", FILE, True),
    "put_file": lambda store: store.projects.put_file("spam", "spam", FILE),
    "set_yanked": lambda store: store.projects.set_yanked("spam", Selector("1.0"), "x"),
    "remove_files": lambda store: store.projects.remove_files("spam", Selector("1.0")),
    "set_status": lambda store: store.projects.set_status("spam", "deprecated", None),
    "release_name": lambda store: store.projects.release_name("spam"),
    "serial": lambda store: store.projects.serial(),
    "history": lambda store: store.projects.history(),
    "get": lambda store: store.pages.get("remote", "spam"),
    "put": lambda store: store.pages.put("remote", "spam", listing()),
    "touch": lambda store: store.pages.touch("remote", "spam", 1.0),
    "mark_checked": lambda store: store.pages.mark_checked("remote", "spam", 1.0),
    "stale": lambda store: store.pages.stale("remote", 1.0, 0.0, 5),
    "names": lambda store: store.pages.names("remote"),
    "drop": lambda store: store.pages.drop("remote", "spam"),
    "user": lambda store: store.accounts.user("ann"),
    "user_names": lambda store: store.accounts.user_names(),
    "put_user": lambda store: store.accounts.put_user(User("ann", "x")),
    "replace_password": lambda store: store.accounts.replace_password("ann", "x", "y"),
    "remove_user": lambda store: store.accounts.remove_user("ann"),
    "grants": lambda store: store.accounts.grants("ann"),
    "put_grant": lambda store: store.accounts.put_grant("ann", "acme-*"),
    "remove_grant": lambda store: store.accounts.remove_grant("ann", "acme-*"),
    "add_token": lambda store: store.tokens.add_token(MINTED),
    "token": lambda store: store.tokens.token(MINTED.id),
    "tokens": lambda store: store.tokens.tokens(None),
    "note_token_use": lambda store: store.tokens.note_token_use(MINTED.id, MADE),
    "revoke_token": lambda store: store.tokens.revoke_token(MINTED.id),
    "claim": lambda store: store.leases.claim("refresh", "ann", 1),
    "release": lambda store: store.leases.release("refresh", "ann"),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test's own, to be harmed."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest_twisted.async_yield_fixture
async def opened(reactor: Any) -> AsyncIterator[Callable[[str], Awaitable[RedisStore]]]:
    """Starts stores, and stops them after the test."""
    stores: list[RedisStore] = []

    async def start(url: str) -> RedisStore:
        store = RedisStore(url, 50, reactor)
        stores.append(store)
        await store.start()
        return store

    yield start
    for store in stores:
        await store.stop()


@pytest_twisted.async_yield_fixture
async def store(server: RedisServer, opened: Callable[[str], Awaitable[RedisStore]]) -> AsyncIterator[RedisStore]:
    """A started store on that server."""
    store = await opened(server.url)
    await store.check()
    yield store


@contextmanager
def administrator(server: RedisServer, password: str = "") -> Iterator[Callable[[str], None]]:
    """A connection to Redis that stays open, to change its settings by."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:

        def tell(line: str) -> None:
            connection.sendall(f"{line}\r\n".encode())
            assert connection.recv(4096) == b"+OK\r\n"

        if password:
            tell(f"AUTH {password}")
        yield tell


async def every_call_fails(store: RedisStore, seconds: float = 7.5) -> None:
    """Make every call, all at once: each fails as it should, in time (2.5 s, and three times that here)."""
    begin = time.monotonic()
    results = await DeferredList([call(store) for call in CALLS.values()], consumeErrors=True)
    assert time.monotonic() - begin < seconds
    for name, (succeeded, failure) in zip(CALLS, results, strict=True):
        assert not succeeded, name
        assert failure.check(StoreUnavailable), (name, failure)
        assert "Redis at redis://127.0.0.1" in failure.getErrorMessage()


async def every_call_works(store: RedisStore) -> None:
    """Make every call: none finds the store unavailable."""
    for call in CALLS.values():
        try:
            await call(store)
        except (NotFound, AlreadyExists):
            continue


async def seconds_until_well(store: RedisStore, reactor: Any) -> float:
    """Ask until the store answers. @return: how long it took."""
    begin = time.monotonic()
    while True:
        try:
            await store.check()
        except StoreUnavailable:
            await deferLater(reactor, 0.02, lambda: None)
        else:
            return time.monotonic() - begin


async def test_every_method_is_tried(store: RedisStore) -> None:
    """The list of calls is whole, and on a sound server each of them works."""
    faces = (store.projects, store.pages, store.accounts, store.tokens, store.leases)
    methods = {name for face in faces for name in public(face)}
    assert methods == set(CALLS) - {"check"}
    await every_call_works(store)


def public(face: object) -> set[str]:
    """Names of the methods of an object."""
    return {name for name in dir(face) if not name.startswith("_") and callable(getattr(face, name))}


async def test_killed(store: RedisStore, server: RedisServer, reactor: Any) -> None:
    """Redis dies: every call fails soon and as what it is, is counted, and works again within two seconds of its
    return, without anybody's help."""
    server.kill()
    before = registry.get_sample_value("cheddar_store_failures_total")
    await every_call_fails(store)
    await every_call_fails(store, seconds=0.5)
    counted = registry.get_sample_value("cheddar_store_failures_total")
    assert before is not None
    assert counted is not None
    assert counted - before >= 2 * len(CALLS)
    server.restart()
    assert await seconds_until_well(store, reactor) < 6  # two, and three times that here
    await every_call_works(store)


@pytest.mark.deadline(30)
async def test_hangs(store: RedisStore, server: RedisServer, reactor: Any) -> None:
    """Redis hangs (SIGSTOP): every call fails in time, again and again, and works when it goes on. Connections that
    did not answer are not used again: the machine behind them may be gone without a word."""
    server.stop()
    hanging = connections(store)
    assert hanging
    await every_call_fails(store)
    await every_call_fails(store)
    await deferLater(reactor, 0.05, lambda: None)
    assert not hanging & connections(store)
    server.cont()
    assert await seconds_until_well(store, reactor) < 6  # two, and three times that here
    await every_call_works(store)


async def test_stop_while_it_hangs(store: RedisStore, server: RedisServer) -> None:
    """A store can be stopped although Redis hangs."""
    server.stop()
    asked = store.check()
    begin = time.monotonic()
    await store.stop()
    assert time.monotonic() - begin < 7
    with pytest.raises(StoreUnavailable):
        await asked


@pytest.mark.deadline(30)
async def test_down_at_start(server: RedisServer, opened: Callable[[str], Awaitable[RedisStore]], reactor: Any) -> None:
    """A store starts at once although Redis is down, and works within two seconds of Redis' start."""
    server.kill()
    begin = time.monotonic()
    store = await opened(server.url)
    assert time.monotonic() - begin < 1.5, "the deadline of a call, which it does not wait for"
    await every_call_fails(store)
    server.restart()
    assert await seconds_until_well(store, reactor) < 6  # two, and three times that here
    await every_call_works(store)


async def test_tries_again_soon(store: RedisStore) -> None:
    """However long Redis is away, a new connection is tried every second or so, and not in a tight loop."""
    pool = store._connection._pool
    assert pool is not None
    assert max(pool.retryDelay(attempt) for attempt in range(1, 500)) < 1.8
    assert min(pool.retryDelay(attempt) for attempt in range(1, 500)) > 0.1


async def test_dies_under_way(store: RedisStore, server: RedisServer, reactor: Any) -> None:
    """Calls whose answer is lost fail as unavailable; done again after the return, they end well."""
    server.stop()
    under_way = [store.projects.add_file("spam", "spam", FILE, True), store.projects.project("spam")]
    await deferLater(reactor, 0.1, lambda: None)
    server.kill()
    for call in under_way:
        with pytest.raises(StoreUnavailable):
            await call
    server.restart()
    await seconds_until_well(store, reactor)
    await store.projects.add_file("spam", "spam", FILE, True)
    assert (await store.projects.project("spam")).files == (FILE,)


async def test_emptied(store: RedisStore, server: RedisServer) -> None:
    """FLUSHALL under our feet is an empty store, not an error; and no serial comes twice."""
    await every_call_works(store)
    await store.projects.add_file("eggs", "eggs", FILE, True)
    serial = await store.projects.serial()
    server.command("FLUSHALL")
    assert await store.projects.project("eggs") is None
    assert (await store.projects.listed()).projects == ()
    assert await store.projects.serial() == 0
    await every_call_works(store)
    await store.projects.add_file("eggs", "eggs", FILE, True)
    assert await store.projects.serial() > serial


async def test_scripts_are_forgotten(store: RedisStore, server: RedisServer) -> None:
    """Scripts that the server lost are sent again."""
    await store.projects.add_file("spam", "spam", FILE, True)
    assert (await store.projects.project("spam")).files == (FILE,)
    server.command("SCRIPT", "FLUSH")
    assert (await store.projects.project("spam")).files == (FILE,)


@pytest.mark.parametrize("option", ["maxmemory", "misconf"])
async def test_no_room(store: RedisStore, server: RedisServer, tmp_path: Path, reactor: Any, option: str) -> None:
    """A Redis that takes no more changes, for want of memory or disk, is reported as that; reading goes on."""
    await store.projects.add_file("spam", "spam", FILE, True)
    if option == "maxmemory":
        server.command("CONFIG", "SET", "maxmemory", "1")
    else:
        # Saving must have failed once for Redis to refuse changes: a folder stands where the file would go.
        (tmp_path / "dump.rdb").mkdir()
        server.command("CONFIG", "SET", "save", "3600 1")
        server.command("BGSAVE")
        while b"rdb_last_bgsave_status:err" not in server.command("INFO", "persistence"):
            await deferLater(reactor, 0.05, lambda: None)
    changes: list[Awaitable[object]] = [
        store.projects.add_file("spam", "spam", File("spam-2.0.tar.gz", "2.0"), True),
        store.projects.put_file("spam", "spam", FILE),
        store.projects.set_yanked("spam", Selector("1.0"), "x"),
        store.accounts.put_user(User("ann", "x")),
        store.pages.put("remote", "spam", listing()),
        store.leases.claim("refresh", "ann", 1),
    ]
    for change in changes:
        with pytest.raises(NoRoom, match="takes no changes"):
            await change
    assert (await store.projects.project("spam")).files == (FILE,)
    server.command("CONFIG", "SET", "maxmemory", "0")
    server.command("CONFIG", "SET", "save", "")
    await store.accounts.put_user(User("ann", "x"))


@pytest.mark.deadline(30)
async def test_read_only(store: RedisStore, server: RedisServer, reactor: Any) -> None:
    """After a failover the old master refuses changes: connections to it are given up, and all is well when the
    address leads to a master again."""
    await store.accounts.put_user(User("ann", "x"))
    server.command("REPLICAOF", "127.0.0.1", "1")
    old = connections(store)
    assert old
    with pytest.raises(StoreUnavailable, match="READONLY"):
        await store.accounts.put_user(User("ann", "y"))
    server.command("REPLICAOF", "NO", "ONE")
    await deferLater(reactor, 0.1, lambda: None)
    assert not old & connections(store)
    assert await seconds_until_well(store, reactor) < 6  # two, and three times that here
    await store.accounts.put_user(User("ann", "y"))
    assert await store.accounts.user("ann") == User("ann", "y")


def connections(store: RedisStore) -> set[object]:
    """The connections that are open now."""
    pool = store._connection._pool
    return set() if pool is None else set(pool.pool)


@pytest.mark.deadline(40)
async def test_refused_login(server: RedisServer, opened: Callable[[str], Awaitable[RedisStore]], reactor: Any) -> None:
    """A password that Redis refuses makes every call fail with that reason, and does not end the store: once Redis
    takes it, all works."""
    server.command("CONFIG", "SET", "requirepass", "other")
    store = await opened(server.url.replace("//", "//:007@"))
    await every_call_fails(store)
    with pytest.raises(StoreUnavailable, match=r"auth.*(WRONGPASS|invalid)") as caught:
        await store.check()
    assert "007" not in str(caught.value)
    with administrator(server, "other") as tell:
        tell("CONFIG SET requirepass 007")
    assert await seconds_until_well(store, reactor) < 9  # three, and three times that here
    await every_call_works(store)


@pytest.mark.deadline(30)
@pytest.mark.parametrize("suffix", ["", "/3"])
async def test_too_many_clients(
    server: RedisServer, opened: Callable[[str], Awaitable[RedisStore]], reactor: Any, suffix: str
) -> None:
    """While Redis has no place for us calls fail; when it has, they work, with a database number too."""
    with administrator(server) as tell:
        tell("CONFIG SET maxclients 1")
        store = await opened(server.url + suffix)
        await every_call_fails(store)
        tell("CONFIG SET maxclients 100")
        assert await seconds_until_well(store, reactor) < 9  # three, and three times that here
    await every_call_works(store)


async def test_unix_socket_and_database(server: RedisServer, opened: Callable[[str], Awaitable[RedisStore]]) -> None:
    """A Unix socket leads to the same database; a database number leads to another."""
    by_port, by_socket = await opened(server.url), await opened(f"unix://{server.socket}")
    other = await opened(server.url + "/5")
    await by_port.accounts.put_user(User("ann", "x"))
    assert await by_socket.accounts.user("ann") == User("ann", "x")
    assert await other.accounts.user("ann") is None
    await other.accounts.put_user(User("bob", "x"))
    assert await by_port.accounts.user_names() == ("ann",)


async def test_user_with_password(server: RedisServer, opened: Callable[[str], Awaitable[RedisStore]]) -> None:
    """A user of Redis' own access lists logs in by name and password, whatever characters they have."""
    server.command("ACL", "SETUSER", "chèddar", "on", ">p@ss:w/rd#", "~*", "+@all")
    server.command("ACL", "SETUSER", "default", "off")
    store = await opened(server.url.replace("//", "//ch%C3%A8ddar:p%40ss%3Aw%2Frd%23@"))
    await every_call_works(store)


async def test_users_of_the_original(store: RedisStore, server: RedisServer) -> None:
    """`redis-cli set cheddar.user.NAME PASSWORD` makes a user; nothing else of an original Cheddar is a user."""
    server.command("SET", "cheddar.user.ann", "007")
    server.command("SET", "cheddar.user.", "nobody")
    server.command("SADD", "cheddar.local", "spam")
    server.command("SET", "cheddar.remote.spam", "{}")
    assert await store.accounts.user("ann") == User("ann", "007")
    assert await store.accounts.user_names() == ("ann",)
    assert await store.accounts.replace_password("ann", "007", "$argon2id$x")
    assert server.command("GET", "cheddar.user.ann") == b"$11\r\n$argon2id$x\r\n"


async def test_many_users(store: RedisStore, server: RedisServer) -> None:
    """Users are found among any number of other keys, each once."""
    server.command("EVAL", "for number = 1, 5000 do redis.call('SET', 'other.' .. number, 'x') end", "0")
    for number in range(300):
        await store.accounts.put_user(User(f"user{number:03}", "x"))
    assert await store.accounts.user_names() == tuple(f"user{number:03}" for number in range(300))


async def test_keys(store: RedisStore, server: RedisServer) -> None:
    """All keys but the users' begin with cheddar.2., so that an original Cheddar in the same Redis is not harmed."""
    await store.projects.add_file("eggs", "eggs", FILE, True)
    await every_call_works(store)
    await store.accounts.put_user(User("ann", "x"))
    await store.pages.put("remote", "spam", listing())
    lines = [line for line in server.command("KEYS", "*").split(b"\r\n") if line[:1] not in (b"*", b"$", b"")]
    assert len(lines) > 8
    assert [line for line in lines if not line.startswith((b"cheddar.2.", b"cheddar.user."))] == []


def keys(server: RedisServer) -> bytes:
    """All there are, but for the log of changes, which has an end."""
    server.command("DEL", "cheddar.2.changes", "cheddar.2.change-number")
    return server.command("KEYS", "*")


async def test_noting_a_time_makes_nothing(store: RedisStore, server: RedisServer) -> None:
    """Times of pages that are not remembered leave no trace, so that names that clients make up fill no memory."""
    await store.pages.touch("remote", "spam", 1.0)
    await store.pages.mark_checked("remote", "spam", 1.0)
    assert server.command("KEYS", "*") == b"*0\r\n"
    await store.pages.put("remote", "spam", listing())
    assert keys(server) != b"*0\r\n"
    await store.pages.drop("remote", "spam")
    assert keys(server) == b"*0\r\n"


async def test_damaged_values(store: RedisStore, server: RedisServer) -> None:
    """Values that somebody else broke fail their own project alone, and a cached listing is fetched again."""
    await store.projects.add_file("spam", "spam", FILE, True)
    await store.projects.add_file("eggs", "eggs", FILE, True)
    await store.pages.put("remote", "spam", listing())
    server.command("HSET", "cheddar.2.files.spam", FILE.filename, "{")
    server.command("HSET", "cheddar.2.pages.remote", "spam", "{")
    server.command("SADD", "cheddar.user.set", "x")
    with pytest.raises(StoreUnavailable, match="cheddar rebuild"):
        await store.projects.project("spam")
    assert (await store.projects.project("eggs")).files == (FILE,)
    assert await store.pages.get("remote", "spam") is None
    with pytest.raises(CheddarError, match="wrong kind"):
        await store.accounts.user("set")


#: All that stays is the number of the last change of roles.
ONLY_THE_SERIAL = b"*1\r\n$23\r\ncheddar.2.rights-serial\r\n"


async def test_grants_of_a_user_removed_by_hand(store: RedisStore, server: RedisServer) -> None:
    """Who was removed with redis-cli has no grants, and whoever gets the name after that begins without."""
    server.command("SET", "cheddar.user.ann", "secret")
    await store.accounts.put_grant("ann", "acme-*")
    assert await store.accounts.grants("ann") == ("acme-*",)
    server.command("DEL", "cheddar.user.ann")
    assert await store.accounts.grants("ann") == ()
    await store.accounts.put_user(User("ann", "another"))
    assert await store.accounts.grants("ann") == ()
    await store.accounts.put_grant("ann", "acme-*")
    await store.accounts.remove_user("ann")
    assert keys(server) == ONLY_THE_SERIAL


async def test_tokens_of_a_user_removed_by_hand(store: RedisStore, server: RedisServer) -> None:
    """Tokens of who was removed with redis-cli open nothing, and whoever gets the name after that begins without."""
    server.command("SET", "cheddar.user.ann", "secret")
    await store.tokens.add_token(token("ann"))
    assert await store.tokens.token(token("ann").id) == token("ann")
    server.command("DEL", "cheddar.user.ann")
    assert await store.tokens.token(token("ann").id) is None
    assert await store.tokens.tokens("ann") == await store.tokens.tokens(None) == ()
    await store.accounts.put_user(User("ann", "another"))
    assert await store.tokens.token(token("ann").id) is None
    await store.tokens.add_token(token("ann"))
    await store.accounts.remove_user("ann")
    assert keys(server) == ONLY_THE_SERIAL


async def test_tokens_expire_by_themselves(store: RedisStore, server: RedisServer) -> None:
    """Redis forgets a token some days after its end, however few are added after it; and what pointed to it, then."""
    expires = datetime.now(timezone.utc) + timedelta(days=1)
    await store.tokens.add_token(evolve(MINTED, expires=expires))
    left = int(server.command("TTL", f"cheddar.2.token.{MINTED.id}")[1:])
    assert 7.9 * 86400 < left <= 8 * 86400
    server.command("DEL", f"cheddar.2.token.{MINTED.id}")
    await store.tokens.add_token(evolve(MINTED, id="another"))
    assert b"another" in server.command("SMEMBERS", f"cheddar.2.tokens-of.{MINTED.owner}")
    assert MINTED.id.encode() not in server.command("SMEMBERS", f"cheddar.2.tokens-of.{MINTED.owner}")


async def test_dropped_while_waiting(store: RedisStore, server: RedisServer, reactor: Any) -> None:
    """A caller that goes away while Redis hangs takes its call along, and spoils no other's answer."""
    await store.accounts.put_user(User("ann", "ann's"))
    await store.accounts.put_user(User("bob", "bob's"))
    server.stop()
    gone = [store.accounts.user("ann") for _ in range(8)]
    kept = [store.accounts.user("bob") for _ in range(8)]
    for call in gone:
        call.addErrback(lambda failure: None)
        call.cancel()
    server.cont()
    assert [await call for call in kept] == [User("bob", "bob's")] * 8


@pytest.mark.deadline(40)
async def test_large_project(store: RedisStore) -> None:
    """One reply brings a project of any size."""
    for number in range(40):
        await store.projects.put_file("spam", "spam", File(f"spam-1.{number}.tar.gz", f"1.{number}"))
    assert len((await store.projects.project("spam")).files) == 40


async def test_another_server_in_its_place(store: RedisStore, server: RedisServer, reactor: Any) -> None:
    """
    After Redis did not answer, another one may be there that has not got all changes: whoever keeps something hears
    that everything has changed, though the number of changes is what it was.
    """
    heard: list[str | None] = []
    while store.changes.seen_at() is None:
        await deferLater(reactor, 0.02, lambda: None)
    store.changes.watch(heard.append)
    await store.pages.put("remote", "spam", listing())
    while heard.count("spam") < 2:  # once from here, once from there
        await deferLater(reactor, 0.02, lambda: None)
    assert None not in heard
    server.stop()
    while store.changes.heard():
        await deferLater(reactor, 0.05, lambda: None)
    with pytest.raises(StoreUnavailable):
        await store.check()
    server.cont()
    while None not in heard:
        await deferLater(reactor, 0.02, lambda: None)
