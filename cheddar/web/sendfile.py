"""Bytes that go from an open file to a client's socket without passing through the memory of this process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IReactorTime, ITransport
from twisted.internet.tcp import Connection
from zope.interface import implementer

#: The most that one step sends, in bytes: some hundred microseconds, then it is the turn of the others.
STEP = 1024 * 1024

#: What is wrong with the file, or with the way its bytes go: reading it may do better, or says what it is.
_NOT_THIS_WAY = frozenset((errno.EINVAL, errno.EIO, errno.ENOMEM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW))


class Waiting(Protocol):
    """
    Who produces for the transport otherwise.

    @ivar stalled_since: since when the client takes nothing of what waits for it.
    """

    stalled_since: float | None

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


def can_sendfile(transport: ITransport | None) -> bool:
    """Whether what C{transport} is given reaches its socket as it is: not over TLS, and not through a wrapper."""
    return isinstance(transport, Connection) and not transport.TLS and hasattr(os, "sendfile")


@implementer(IPullProducer)
class Sending:
    """
    One piece of a file on its way to a socket.

    The transport asks a pull producer for more whenever its socket takes more and all that was written before is out:
    that keeps the order of bytes, and is the moment to write past it. What the transport then sends itself is nothing.
    """

    def __init__(
        self, transport: Connection, usual: Waiting, clock: IReactorTime, progress: Callable[[int], None]
    ) -> None:
        """
        @param usual: who produces for C{transport}, now and afterwards.
        @param progress: is told of every step how many bytes it has sent.
        """
        self._transport = transport
        self._usual = usual
        self._clock = clock
        self._progress = progress
        self._begun = False
        self._ended = False
        self._sent = 0
        self._done: Deferred[int] = Deferred(lambda _: self._end())

    def start(self, descriptor: int, offset: int, length: int) -> Deferred[int]:
        """
        Begin.

        @return: how many bytes were sent; fewer than C{length} where the file does not give them this way.
            L{CancelledError<twisted.internet.defer.CancelledError>} where the client left. Once this has fired, or is
            cancelled, C{descriptor} is not used any more.
        """
        self._descriptor, self._offset, self._length = descriptor, offset, length
        self._transport.unregisterProducer()
        # This asks for bytes at once, whatever still waits to be sent.
        self._transport.registerProducer(self, False)
        if not self._ended:
            self._begun = True
            self._wait()
        return self._done

    def resumeProducing(self) -> None:
        """All is out that was written before, and the socket takes more."""
        if not self._begun or self._ended:
            return
        wanted = min(self._length - self._sent, STEP)
        try:
            sent = os.sendfile(self._transport.fileno(), self._descriptor, self._offset + self._sent, wanted)
        except BlockingIOError:
            self._wait()
            return
        except OSError as error:
            if error.errno in _NOT_THIS_WAY:
                self._finish()
            else:
                self._transport.abortConnection()  # it is lost; whoever waits is told of that as ever
            return
        self._sent += sent
        self._progress(sent)
        self._usual.stalled_since = None
        if sent == 0 or self._sent == self._length:
            self._finish()
        else:
            self._wait()

    def stopProducing(self) -> None:
        """The client left."""
        self._ended = True
        # A turn later: the request is told of the loss only after its producer.
        self._clock.callLater(0, self._cancel)

    def _wait(self) -> None:
        if self._usual.stalled_since is None:
            self._usual.stalled_since = self._clock.seconds()
        self._transport.startWriting()

    def _cancel(self) -> None:
        if not self._done.called:
            self._done.cancel()

    def _finish(self) -> None:
        self._end()
        self._done.callback(self._sent)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._transport.unregisterProducer()
            self._transport.registerProducer(self._usual, True)
            # It may have been told to pause before this began.
            self._usual.resumeProducing()
