"""
The one way to Redis: every command has a deadline, and its errors are Cheddar's own.

What this makes up for in txredisapi 1.6: a command waits without end while there is no connection; a refused login
stops the pool for good; a server that became read-only keeps its connections; strings that look like numbers become
numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import txredisapi
from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cheddar import metrics
from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError, Invalid, NoRoom, StoreUnavailable
from cheddar.store.redis.address import Address

P = ParamSpec("P")
T = TypeVar("T")

_log = Logger()

#: Seconds that a call may take, the wait for a connection among them.
DEADLINE = 1.5
REPLY_TIMEOUT = 1.0
CONNECT_TIMEOUT = 1.0
CONNECTIONS = 4
#: Seconds between two new pools, where Redis refuses the login.
REBUILD_INTERVAL = 1.0
#: Seconds that closing waits for Redis to take what was sent.
CLOSE_TIMEOUT = 2.0

#: Before Redis 7, the name of an error in a script stands inside a sentence.
_REFUSED = re.compile(r"\b(OOM|MISCONF|READONLY|MASTERDOWN|CLUSTERDOWN|MOVED|NOAUTH|WRONGPASS|NOPERM)\b")


class _Protocol(txredisapi.RedisProtocol):  # type: ignore[misc]  # txredisapi has no types
    def connectionLost(self, why: Failure) -> None:
        self.factory.lost(why)
        super().connectionLost(why)


class _Pool(txredisapi.RedisFactory):  # type: ignore[misc]  # txredisapi has no types
    """Connections to one server, made anew whenever they are lost, and soon: Redis is near."""

    protocol = _Protocol
    initialDelay = 0.25
    maxDelay = 1.0
    #: Why there is no connection, as far as it is known.
    trouble = ""

    def lost(self, why: Failure) -> None:
        if not self.stopped:  # else the refused login is the reason, and this its consequence
            self.trouble = why.getErrorMessage()

    def connectionError(self, why: str) -> None:
        # The login was refused; the original fails a Deferred that nobody looks at.
        self.trouble = why


@define(eq=False)
class RedisConnection:
    """
    @ivar address: where Redis is.
    """

    address: Address
    # The real reactor: txredisapi takes no other.
    _reactor: Any
    _tell: Callable[[Iterable[str]], None] = lambda _: None
    _pool: _Pool | None = None
    _threads: ThreadPool | None = None
    # Pools that were given up, and are closing.
    _closing: list[Deferred[Any]] = field(factory=list)
    _rebuilt_at: float = 0.0
    # Calls don't wait again for a connection while it is known that there is none.
    _down: bool = False

    def open(self) -> None:
        """Plain call. Begin to connect; nothing waits for it."""
        self._threads = ThreadPool(0, 1, name="redis-records")
        self._threads.start()
        self._pool = self._connect()

    @returns_deferred
    async def close(self) -> None:
        """Close all connections, and wait until they are."""
        pool, threads = self._pool, self._threads
        self._pool = self._threads = None
        if pool is not None:
            self._give_up(pool)
        for closing in tuple(self._closing):
            await closing
        if threads is not None:
            threads.stop()

    async def command(self, *words: str) -> Any:
        """One command. @return: its reply: bytes, an integer, a list, or None. [StoreUnavailable, NoRoom]"""
        return await self._ask(lambda pool: pool.handler.execute_command(*words))

    async def script(self, text: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> Any:
        """One Lua script, by its digest where the server has it: all of it happens or nothing."""
        return await self._ask(lambda pool: pool.handler.eval(text, tuple(keys), tuple(arguments)))

    async def change(self, text: str, keys: Sequence[str], arguments: Sequence[str], *names: str) -> Any:
        """
        A script that changes what readers see.

        @param names: the projects that it changes, and L{EVERYTHING} where it changes roles; told whatever becomes of
            it, as a reply may be lost on its way.
        """
        try:
            return await self.script(text, keys, arguments)
        finally:
            self._tell(names)

    async def names(self, beginning: str) -> tuple[str, ...]:
        """The keys that begin so and go on, sorted; C{beginning} has nothing that C{MATCH} takes for a pattern."""
        found: set[str] = set()
        cursor = "0"
        while True:
            reply, batch = await self.command("SCAN", cursor, "MATCH", f"{beginning}?*", "COUNT", "1000")
            found.update(key.decode("utf-8", "backslashreplace") for key in batch)
            cursor = reply.decode()
            if cursor == "0":
                return tuple(sorted(found))

    async def work(self, long: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Compute: in a thread where it would hold up the reactor (C{long}), else here."""
        if long and self._threads is not None:
            return await deferToThreadPool(self._reactor, self._threads, function, *args, **kwargs)
        return function(*args, **kwargs)

    async def _ask(self, send: Callable[[_Pool], Deferred[Any]]) -> Any:
        pool = self._usable_pool()
        if pool.size:
            self._note(pool, down=False)
        elif self._down:
            raise self._failed(self._unavailable("there is no connection", pool))
        reply = send(pool).addTimeout(DEADLINE, self._reactor)
        try:
            answer = await reply
        except txredisapi.InvalidData as error:
            raise Invalid("A name or value cannot be written as UTF-8.") from error
        except txredisapi.ResponseError as error:
            raise self._failed(self._refused(str(error), pool)) from error
        except (txredisapi.RedisError, TimeoutError) as error:
            self._note(pool, down=not pool.size)
            raise self._failed(self._unavailable(str(error) or "no answer in time", pool)) from error
        pool.trouble = ""
        return answer

    def _usable_pool(self) -> _Pool:
        if self._pool is None:
            raise StoreUnavailable(f"The metadata store, Redis at {self.address}, is not open.")
        # Connections that outlived a refused login go on being used: a password may be on its way out.
        dead = self._pool.stopped and not self._pool.size
        if dead and self._reactor.seconds() >= self._rebuilt_at + REBUILD_INTERVAL:
            trouble = self._pool.trouble
            _log.warn("Redis at {address}: {trouble}; connecting anew", address=self.address, trouble=trouble)
            self._give_up(self._pool)
            self._pool = self._connect()
            self._pool.trouble = trouble
        return self._pool

    def _connect(self) -> _Pool:
        self._rebuilt_at = self._reactor.seconds()
        address = self.address
        pool = _Pool(
            str(address),
            address.database,
            CONNECTIONS,
            isLazy=True,
            charset=None,
            password=address.password,
            replyTimeout=REPLY_TIMEOUT,
            convertNumbers=False,
            username=address.username,
        )
        pool.startConnecting(self._endpoint())
        return pool

    def _endpoint(self) -> IStreamClientEndpoint:
        address = self.address
        if address.path:
            untyped: Callable[..., IStreamClientEndpoint] = UNIXClientEndpoint
            return untyped(self._reactor, address.path, timeout=CONNECT_TIMEOUT)
        endpoint = HostnameEndpoint(self._reactor, address.host, address.port, timeout=CONNECT_TIMEOUT)
        return wrapClientTLS(optionsForClientTLS(address.host), endpoint) if address.tls else endpoint

    def _give_up(self, pool: _Pool) -> None:
        def abort() -> None:
            # Redis hangs: it will not take what was sent, and closing would wait for that without end.
            for connection in tuple(pool.pool):
                connection.transport.abortConnection()

        def closed(result: object) -> None:
            if patience.active():
                patience.cancel()
            self._closing.remove(closing)
            if isinstance(result, Failure):
                _log.failure("closing connections to Redis", failure=result)

        patience = self._reactor.callLater(CLOSE_TIMEOUT, abort)
        closing = pool.disconnect()
        self._closing.append(closing)
        closing.addBoth(closed)

    def _note(self, pool: _Pool, down: bool) -> None:
        # Once each way: a store that is down is asked often.
        if down and not self._down:
            trouble = pool.trouble or "no connection"
            _log.warn("Redis at {address} does not answer: {trouble}", address=self.address, trouble=trouble)
        elif self._down and not down:
            _log.info("Redis at {address} answers again", address=self.address)
        self._down = down

    def _refused(self, said: str, pool: _Pool) -> CheddarError:
        match = _REFUSED.search(said)
        kind = match[1] if match else ""
        if kind in ("OOM", "MISCONF"):
            return NoRoom(f"The metadata store, Redis at {self.address}, takes no changes: {said}")
        if kind in ("READONLY", "MASTERDOWN", "CLUSTERDOWN"):
            # Another server has taken over, maybe: look the address up again.
            for connection in tuple(pool.pool):
                connection.transport.loseConnection()
        return self._unavailable(said, pool)

    def _unavailable(self, why: str, pool: _Pool) -> StoreUnavailable:
        trouble = f" ({pool.trouble})" if pool.trouble else ""
        return StoreUnavailable(f"The metadata store, Redis at {self.address}, does not answer: {why}{trouble}.", 2)

    def _failed(self, error: CheddarError) -> CheddarError:
        metrics.store_failures.inc()
        return error
