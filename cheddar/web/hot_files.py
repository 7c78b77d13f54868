"""A file on the short road: see L{cheddar.web.hot}. Its bytes leave as they do on the long one."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar.errors import CheddarError
from cheddar.interfaces import IDescriptorConsumer, IStoredFile
from cheddar.web.access_log import Answered


@implementer(IDescriptorConsumer)
@define(eq=False)
class HotFile:
    """
    One answer with a file, on its way to one client: in the place of a request that would be under way.

    @ivar _asked: the bytes of the request, for the long road where the short one leads nowhere.
    @ivar _channel: a L{PacedChannel<cheddar.web.channel.PacedChannel>}, with nothing of a request under way.
    @ivar _began: when the request was here, in seconds of the reactor's clock.
    @ivar _head: of the answer.
    @ivar _ended: is told how many seconds it took, and whether its client has had anything of it; no seconds where it
        is left to the long road.
    @ivar _gone: whether the client has left, or was cut off.
    """

    _asked: bytes
    _channel: Any
    _file: IStoredFile
    _head: bytes
    _answered: Answered
    _began: float
    _ended: Callable[[float | None, bool], None]
    _sent: int = 0
    _started: float = 0.0
    _begun: bool = False
    _gone: bool = False
    _sending: Deferred[None] | None = None
    _over: Deferred[None] = field(factory=Deferred)

    _log = Logger()

    def start(self) -> None:
        """Send it."""
        self._channel.file_begins(self)
        self._channel.site.under_way.add(self)
        self._started = perf_counter()
        self._sending = self._file.send(self, 0, None)
        self._sending.addBoth(self._end).addErrback(
            lambda failure: self._log.failure("The end of a file could not be told", failure=failure)
        )

    def _end(self, result: Failure | None) -> None:
        whole = result is None and not self._gone
        if result is not None and not result.check(CancelledError):
            self._explain(result)
        channel, site = self._channel, self._channel.site
        site.under_way.discard(self)
        try:
            if not self._begun and not self._gone:
                self._ended(None, False)
                channel.take_long_road(self._asked)
                return
            answered = self._answered if whole else evolve(self._answered, size=self._sent)
            site.note(channel.peer, self._began, answered, whole)
            self._ended(perf_counter() - self._started, self._begun)
            if whole:
                channel.file_sent()
            elif not self._gone:
                # Part of the body may be out already: only a cut connection tells the client that it is not whole.
                channel.transport.abortConnection()
        finally:
            self._over.callback(None)

    def _explain(self, failure: Failure) -> None:
        path = self._answered.path.decode("latin-1")
        if not failure.check(CheddarError):
            self._log.failure("{path} was cut short", path=path, failure=failure)
        elif self._begun:
            self._log.warn("{path} was cut short: {error}", path=path, error=failure.getErrorMessage())

    def lost(self) -> None:
        """The client has left, or was cut off."""
        self._gone = True
        if self._sending is not None:
            self._sending.cancel()

    async def cut(self) -> None:
        """End the connection so that the client sees that the answer is not whole."""
        if not self._over.called:
            self._gone = True
            self._channel.transport.abortConnection()
            await self._over

    # What the file's bytes are given to.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See L{IConsumer}."""
        if self._gone:
            producer.stopProducing()
        else:
            self._channel.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See L{IConsumer}."""
        self._channel.unregisterProducer()

    def write(self, data: bytes) -> None:
        """See L{IConsumer}. The head goes first."""
        if self._gone:
            return
        self._sent += len(data)
        if self._begun:
            self._channel.transport.write(data)
        else:
            self._begun = True
            self._channel.give(self._head, data)

    def takes_descriptors(self) -> bool:
        """See L{IDescriptorConsumer}."""
        return not self._gone and bool(self._channel.takes_descriptors())

    def take(self, descriptor: int, offset: int, length: int) -> Deferred[int]:
        """See L{IDescriptorConsumer}. The head goes first."""
        if self._gone:
            return fail(CancelledError())
        self.write(b"")
        taken: Deferred[int] = self._channel.take(descriptor, offset, length, self._took)
        return taken

    def _took(self, count: int) -> None:
        self._sent += count
