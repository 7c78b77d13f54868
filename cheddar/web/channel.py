"""A connection that is held to a pace: nobody may keep one open by sending, or reading, next to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.internet.tcp import Server as TCPServer
from twisted.logger import Logger
from twisted.python.failure import Failure

from cheddar import metrics
from cheddar.web.clients import TrustedProxies, counted_as
from cheddar.web.hot_files import HotFile
from cheddar.web.sendfile import Sending, can_sendfile
from cheddar.web.strict import StrictChannel

#: Seconds between two looks at all connections.
INTERVAL = 1.0


@frozen(kw_only=True)
class Limits:
    """
    What a client may take.

    @ivar head_bytes: of a request's first line and its headers together.
    @ivar headers: how many a request may have.
    @ivar header_seconds: from the first byte of a request to the end of its headers, however steadily they come.
    @ivar body_seconds: in which a body must bring C{body_rate} bytes a second on average, while the server reads.
    @ivar body_rate: see C{body_seconds}.
    @ivar stall_seconds: in which a client must take what waits to be sent to it, at most 64 KiB.
    @ivar connections: at a time.
    @ivar per_address: connections at a time of one IP address; or of one network of 64 bits of IPv6, which is what
        one subscriber has.
    @ivar trusted: proxies, which stand for many clients: C{per_address} does not count for them, and they say who
        their clients are.
    """

    head_bytes: int = 16 * 1024
    headers: int = 128
    header_seconds: float = 20.0
    body_seconds: float = 30.0
    body_rate: int = 1024
    stall_seconds: float = 60.0
    connections: int = 8192
    per_address: int = 1024
    trusted: TrustedProxies = TrustedProxies()


class PacedChannel(StrictChannel):
    """
    @ivar site: has the clock, the census of connections and what may be answered at once.
    @ivar peer: the address of the other end; empty where that has none.
    @ivar postponed: what has come and is not looked at yet: others go before.
    @ivar head: the bytes of the head that comes next, where they came whole and in one piece.
    @ivar sending: a file that is on its way over the short road; what comes meanwhile waits.
    """

    site: Any
    peer: str = ""
    head: bytes = b""
    postponed: bytes = b""
    sending: HotFile | None = None
    _waits: bool = False
    #: Whether it was between two requests when it was looked at last, and nothing has begun or ended since.
    _quiet: bool = False
    counted_as: str | None = None

    head_since: float | None = None
    stalled_since: float | None = None
    _body: bool = False
    _window: tuple[float, int] = (0.0, 0)

    def connectionMade(self) -> None:
        """See L{HTTPChannel}."""
        super().connectionMade()
        self.peer = str(getattr(self.transport.getPeer(), "host", None) or "")
        limits = self.site.census.limits
        self.limit_head(limits.head_bytes, limits.headers)
        self.site.census.joined(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{HTTPChannel}."""
        self.site.census.left(self)
        self.postponed = b""
        super().connectionLost(reason)
        sending, self.sending = self.sending, None
        if sending is not None:
            sending.lost()

    def dataReceived(self, data: bytes) -> None:
        """See L{HTTPChannel}. What was asked for before in the very same bytes is answered at once."""
        if self.postponed or self.sending is not None:
            self._postpone(data)
        elif self._quiet or self._between_requests():
            self._quiet = True
            self._begin(data, granted=False)
        else:
            self._receive(data)

    def go_on(self) -> None:
        """It is this connection's turn: see L{Turns<cheddar.web.turns.Turns>}."""
        self._waits = False
        if not self.postponed or self.stalled_since is not None:
            return  # it is gone; or it comes again when its client reads
        data, self.postponed = self.postponed, b""
        try:
            self._networkProducer.resumeProducing()
            self._begin(data, granted=True)
        except Exception:  # noqa: BLE001  # logged, and this connection alone is closed: others wait behind it
            self._log.failure("A connection failed")
            self.transport.abortConnection()

    def _begin(self, data: bytes, granted: bool) -> None:
        """
        Requests begin here.

        @param granted: whether this is the connection's turn.
        """
        if self.site.draining:
            self._receive(data)
            return
        while True:
            if self.stalled_since is not None or self.sending is not None:
                self._postpone(data)
                return
            data, more = self.site.hot.answer(self, data)
            if not data:
                self.resetTimeout()
                return
            if self.stalled_since is not None or not (granted or self.site.turns.take()):
                self._postpone(data)
                return
            granted = False
            if more:
                continue
            left = self.site.hot.send(self, data)
            if left is None:
                self._receive(data)
                return
            if not left:
                return
            data = left

    def file_begins(self, sending: HotFile) -> None:
        """A file is on its way over the short road, for however long."""
        self.sending = sending
        self._savedTimeOut = self.setTimeout(None)

    def file_sent(self) -> None:
        """It is all out: next."""
        self.sending = None
        self.setTimeout(self._savedTimeOut)
        if self.postponed:
            self._postpone(b"")

    def take_long_road(self, data: bytes) -> None:
        """It was not to be had after all: nothing of it is out, and the request for it is as any other."""
        self.sending = None
        self.setTimeout(self._savedTimeOut)
        self.postponed = data + self.postponed
        self._postpone(b"")

    def _postpone(self, data: bytes) -> None:
        """What is to come is read when this is looked at: no client fills the memory with what it sends ahead."""
        self.postponed += data
        if self.sending is not None:
            # Its turn comes after the file. Until then it is read on a little: else nobody would see that it ends.
            if len(self.postponed) > self._optimisticEagerReadSize:
                self._networkProducer.pauseProducing()
            return
        self._networkProducer.pauseProducing()
        if self.stalled_since is None and not self._waits:
            self._waits = True
            self.site.turns.wait(self)

    def _receive(self, data: bytes) -> None:
        self._quiet = False
        if self._between_requests():
            end = data.find(b"\r\n\r\n")
            self.head = data[: end + 4] if end >= 0 else b""
        if self.head_since is None and not self._body and not self._handlingRequest:
            self.head_since = self.site.clock.seconds()
        super().dataReceived(data)

    def _between_requests(self) -> bool:
        # All that Twisted keeps of a request between two pieces of it, or of others that wait behind one.
        return bool(
            not self.requests
            and not self._buffer
            and self.line_mode == 1
            and not self._dataBuffer
            and self._abortingCall is None
            and vars(self).get("_HTTPChannel__first_line", 1) == 1
            and self.persistent
            and self.head_since is None
        )

    def give(self, head: bytes, body: bytes) -> None:
        """Send an answer: nothing of a request is under way."""
        transport = self.transport
        sent = 0
        if type(transport) is TCPServer and not (
            transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting
        ):
            # Twisted would wait until the reactor says that the socket takes bytes, which it nearly always does: two
            # turns and three calls of the system.
            try:
                sent = transport.socket.sendmsg((head, body)) if body else transport.socket.send(head)
            except OSError:
                pass  # it takes none now; or it is broken, which Twisted finds out in the same way
        if sent < len(head):
            transport.writeSequence((head[sent:], body))
        elif sent < len(head) + len(body):
            transport.write(body[sent - len(head) :])

    def flush(self) -> None:
        """
        Send what was written now, and not when the reactor comes to it: then all that others are given in this turn
        would go before. What is wrong with the socket, the reactor finds out in the same way.
        """
        transport = self.transport
        if type(transport) is TCPServer and transport.connected and not transport.disconnecting:
            transport.doWrite()

    def loseConnection(self) -> None:
        """See L{HTTPChannel}."""
        self._quiet = False
        super().loseConnection()

    def requestDone(self, request: Any) -> None:
        """See L{HTTPChannel}. What has come behind it waits for its turn: one piece may have a thousand requests."""
        super().requestDone(request)
        if self._busyReceiving and self._buffer and self.persistent and not self.requests:
            waiting, self._buffer = self._buffer, b""
            self._postpone(waiting)

    def allHeadersReceived(self) -> None:
        """See L{HTTPChannel}."""
        self.head_since = None
        self._body = True
        self._window = (self.site.clock.seconds(), 0)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """See L{HTTPChannel}."""
        self._body = False
        super().allContentReceived()

    def pauseProducing(self) -> None:
        """See L{HTTPChannel}: the client does not take what is sent. What it has sent meanwhile waits."""
        if self.stalled_since is None:
            self.stalled_since = self.site.clock.seconds()
        super().pauseProducing()
        # Twisted reads on while a request is under way, and keeps all of that.
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """See L{HTTPChannel}."""
        self.stalled_since = None
        super().resumeProducing()
        if self.stalled_since is not None:
            # So soon, by what was written now; and Twisted has gone on reading after that.
            self._networkProducer.pauseProducing()
            return
        if self.postponed:
            self._postpone(b"")
        elif self._handlingRequest and not self._has_enough():
            self._networkProducer.resumeProducing()

    def _has_enough(self) -> bool:
        """Whether no more is to be read while a request is under way."""
        waits = any(request.waits for request in self.requests[-1:])
        return waits or sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize

    def takes_descriptors(self) -> bool:
        """Whether bytes of an open file can go straight to the client."""
        return can_sendfile(self.transport)

    def take(self, descriptor: int, offset: int, length: int, progress: Callable[[int], None]) -> Deferred[int]:
        """See L{IDescriptorConsumer<cheddar.interfaces.IDescriptorConsumer>}, and L{Sending}."""
        if self.transport is None or not self.transport.connected:
            return fail(CancelledError())
        return Sending(self.transport, self, self.site.clock, progress).start(descriptor, offset, length)

    def look(self, now: float, limits: Limits) -> str | None:
        """@return: in what the client is too slow, and was cut off for; None where it is not."""
        if self.head_since is not None and now - self.head_since > limits.header_seconds:
            self._tell()
            return "header"
        if self.stalled_since is not None and now - self.stalled_since > limits.stall_seconds:
            # At once: an orderly end waits for a client that does not read.
            self.stalled_since = None
            self.transport.abortConnection()
            return "reading"
        if self._body and self.requests:
            request = self.requests[-1]
            since, received = self._window
            if request.waits:
                self._window = (now, request.received)
            elif now - since > limits.body_seconds:
                if request.received - received < limits.body_rate * limits.body_seconds:
                    self._tell()
                    return "body"
                self._window = (now, request.received)
        return None

    def _tell(self) -> None:
        self.head_since = None
        self._body = False
        # In good order, and soon after in any case.
        self.answer_and_end(408)
        self.timeoutConnection()


@define(eq=False)
class Census:
    """
    All connections: how many there are, of whom, and whether they keep the pace.

    @ivar channels: those that are open.
    """

    _clock: IReactorTime
    limits: Limits
    channels: set[PacedChannel] = field(factory=set, init=False)
    _of: Counter[str] = field(factory=Counter, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    _log = Logger()

    def start(self) -> None:
        """Begin to look."""
        self._loop = LoopingCall(self._look)
        self._loop.clock = self._clock
        self._loop.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    def admits(self, host: str) -> bool:
        """Whether there may be another connection, from C{host}; empty for one without an IP address."""
        if len(self.channels) >= self.limits.connections:
            metrics.connections_refused.labels("all").inc()
            return False
        one = self._counted(host)
        if one is not None and self._of[one] >= self.limits.per_address:
            metrics.connections_refused.labels("address").inc()
            return False
        return True

    def joined(self, channel: PacedChannel) -> None:
        """A connection is open."""
        self.channels.add(channel)
        channel.counted_as = self._counted(channel.peer)
        if channel.counted_as is not None:
            self._of[channel.counted_as] += 1
        metrics.connections.set(len(self.channels))

    def left(self, channel: PacedChannel) -> None:
        """A connection is closed."""
        if channel not in self.channels:
            return
        self.channels.discard(channel)
        if channel.counted_as is not None:
            self._of[channel.counted_as] -= 1
            if not self._of[channel.counted_as]:
                del self._of[channel.counted_as]
        metrics.connections.set(len(self.channels))

    def _counted(self, host: str) -> str | None:
        return None if self.limits.trusted.include(host) else counted_as(host)

    def _look(self) -> None:
        now = self._clock.seconds()
        for channel in tuple(self.channels):
            slow = channel.look(now, self.limits)
            if slow is not None:
                metrics.connections_cut.labels(slow).inc()
                self._log.info("{peer} was cut off: too slow in {slow}", peer=channel.transport.getPeer(), slow=slow)
