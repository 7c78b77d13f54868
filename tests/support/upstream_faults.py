"""How the answers of L{tests.support.upstream.EvilUpstream} go wrong."""

from __future__ import annotations

import gzip
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.web.server import Request
from zope.interface import implementer

from tests.support.upstream_content import CHUNK, Answer


@frozen(kw_only=True)
class Fault:
    """
    How one answer goes wrong. Faults go together where that makes sense: C{delay=1, status=500}.

    @ivar delay: seconds before the first byte of the answer.
    @ivar mute: before any byte of the answer: hang, reset the connection, or close it.
    @ivar status: the status; with a short text as body unless C{body} says.
    @ivar headers: set on top of (or in place of) the right ones.
    @ivar body: in place of the right body (garbage).
    @ivar redirect_to: answer 302 (or C{status}) with this Location.
    @ivar hang_after: send so many bytes of the body, then nothing, connection open.
    @ivar reset_after: send so many bytes of the body, then RST.
    @ivar close_after: send so many bytes of the body, then FIN.
    @ivar flip: turn one bit of the body's byte at this offset.
    @ivar content_length: what Content-Length says, whatever the body has; the connection is closed afterwards.
    @ivar framing: how the end of the body is told: by Content-Length, chunked, or by closing (HTTP/1.0).
    @ivar gzip: compress the body, asked or not.
    @ivar gzip_bomb: a gzip body that inflates to so many bytes of zeros.
    @ivar endless: repeat the body for ever (chunked).
    @ivar rate: bytes per second of the body, at most.
    """

    delay: float = 0
    mute: Literal["hang", "reset", "close"] | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    redirect_to: str | None = None
    hang_after: int | None = None
    reset_after: int | None = None
    close_after: int | None = None
    flip: int | None = None
    content_length: int | None = None
    framing: Literal["length", "chunked", "close"] = "length"
    gzip: bool = False
    gzip_bomb: int = 0
    endless: bool = False
    rate: float | None = None


RIGHT = Fault()


RIGHT = Fault()


@define(eq=False)
class Seen:
    """
    A request as it came.

    @ivar headers: names in lower case; of several the first.
    @ivar sent: bytes of the body handed to the connection so far.
    @ivar ended: how it went: None while under way, "whole", "cut" (by the fault) or "lost" (by the client).
    """

    method: str
    path: str
    headers: Mapping[str, str]
    sent: int = 0
    ended: str | None = None


async def answer(reactor: Any, request: Request, seen: Seen, fault: Fault, right: Answer | None) -> None:
    """Answer C{request} with C{right} (None: 404), as C{fault} says."""
    if fault.delay:
        await deferLater(reactor, fault.delay)
    if fault.mute is not None:
        await _break_off(reactor, request, seen, fault.mute)
        return
    status, headers, body, length = right or (404, {}, iter((b"not here\n",)), 9)
    if fault.redirect_to is not None:
        status, headers, body, length = fault.status or 302, {"Location": fault.redirect_to}, iter(()), 0
    elif fault.status is not None:
        status, headers, body, length = fault.status, {}, iter((b"as told\n",)), 8
    if fault.body is not None:
        body, length = iter((fault.body,)), len(fault.body)
    if fault.flip is not None:
        body = _flipped(body, fault.flip)
    if fault.gzip_bomb:
        body, length = _bomb(-(-fault.gzip_bomb >> 20))
    elif fault.gzip:
        packed = gzip.compress(b"".join(body))
        body, length = iter((packed,)), len(packed)
    if fault.endless:
        body = _repeated(b"".join(body) or b"0123456789abcdef" * 1024, sys.maxsize)

    request.setResponseCode(status)
    for name, value in headers.items():
        request.setHeader(name, value)
    if fault.gzip or fault.gzip_bomb:
        request.setHeader("Content-Encoding", "gzip")
    if fault.framing == "close":
        # To HTTP/1.0 Twisted does not answer in chunks.
        request.clientproto = b"HTTP/1.0"
    elif fault.framing == "length" and not fault.endless and status != 304:
        request.setHeader("Content-Length", str(length if fault.content_length is None else fault.content_length))
    for name, value in fault.headers.items():
        request.setHeader(name, value)
    if request.method == b"HEAD" or status == 304:
        seen.ended = "whole"
        request.finish()
        return
    await _send(reactor, request, seen, fault, body)


async def _send(reactor: Any, request: Request, seen: Seen, fault: Fault, body: Iterator[bytes]) -> None:
    stops: list[tuple[int, Literal["hang", "reset", "close"]]] = [
        (after, how)
        for after, how in (
            (fault.hang_after, "hang"),
            (fault.reset_after, "reset"),
            (fault.close_after, "close"),
        )
        if after is not None
    ]
    limit = min(stops)[0] if stops else None
    request.write(b"")  # the headers go out even where no byte of the body does
    tap = _Tap()
    request.registerProducer(tap, True)
    step = CHUNK if fault.rate is None else max(1, int(fault.rate / 20))
    for piece in body:
        for offset in range(0, len(piece), step):
            part = piece[offset : offset + step]
            if limit is not None:
                part = part[: limit - seen.sent]
            if part:
                await tap.ready()
                if fault.rate is not None:
                    await deferLater(reactor, len(part) / fault.rate)
                request.write(part)
                seen.sent += len(part)
        if limit is not None and seen.sent >= limit:
            break
    request.unregisterProducer()
    if stops:
        await _break_off(reactor, request, seen, min(stops)[1])
        return
    seen.ended = "whole"
    if fault.content_length is not None or fault.framing == "close":
        request.channel.loseConnection()
    else:
        request.finish()


async def _break_off(reactor: Any, request: Request, seen: Seen, how: Literal["hang", "reset", "close"]) -> None:
    if how == "hang":
        await Deferred()  # until the connection is gone
    # A reset overtakes bytes that the other side has not read yet: give them time to arrive, and the reactor, which may
    # have stood still meanwhile, its turns.
    for _ in range(10):
        await deferLater(reactor, 0.005)
    seen.ended = "cut"
    if how == "reset":
        request.channel.transport.abortConnection()
    else:
        request.channel.loseConnection()


def _flipped(body: Iterator[bytes], offset: int) -> Iterator[bytes]:
    position = 0
    for piece in body:
        if position <= offset < position + len(piece):
            changed = bytearray(piece)
            changed[offset - position] ^= 1
            piece = bytes(changed)
        position += len(piece)
        yield piece


def _bomb(mebibytes: int) -> tuple[Iterator[bytes], int]:
    """Zeros as one gzip member, made without compressing them all: after a full flush each block is the same."""
    zeros = bytes(1 << 20)
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    first = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    last = b"\x03\x00"

    def pieces() -> Iterator[bytes]:
        yield first
        check = zlib.crc32(zeros)
        for _ in range(mebibytes - 1):
            yield block
            check = zlib.crc32(zeros, check)
        yield last + struct.pack("<II", check, (mebibytes << 20) & 0xFFFFFFFF)

    return pieces(), len(first) + len(block) * (mebibytes - 1) + len(last) + 8


def _repeated(piece: bytes, times: int) -> Iterator[bytes]:
    for _ in range(times):
        yield piece


@implementer(IPushProducer)
class _Tap:
    """Open while the connection takes bytes."""

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None

    def ready(self) -> Deferred[None]:
        """Fires when the connection takes bytes again."""
        waiting: Deferred[None] = Deferred()
        if self._waiting is None:
            waiting.callback(None)
        else:
            self._waiting.chainDeferred(waiting)
        return waiting

    def pauseProducing(self) -> None:
        if self._waiting is None:
            self._waiting = Deferred()

    def resumeProducing(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        pass
