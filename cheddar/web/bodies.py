"""What is answered, and how it leaves: conditional requests, ranges, encodings, HEAD."""

from __future__ import annotations

import gzip
from datetime import datetime

from attrs import define, evolve
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.http import NO_BODY_CODES, RESPONSES, datetimeToString

from cheddar.errors import CheddarError
from cheddar.formats.byte_ranges import UNSATISFIABLE, parse_range
from cheddar.interfaces import IArriving, IStoredFile
from cheddar.web.conditions import known_tag, wanted_range
from cheddar.web.handing_over import HandOver
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Response, header_value, request_header

#: Bodies from this size on are compressed for clients that ask; below, the header costs what the body saves.
COMPRESS_FROM = 1024
#: Bodies from this size on are compressed off the reactor.
_COMPRESS_ELSEWHERE_FROM = 64 * 1024


@define(eq=False)
class Delivery:
    """
    Sends responses.

    @ivar _hand_over: tells a server in front to send files; None: there is none that does.
    """

    _reactor: IReactorFromThreads
    _pool: ThreadPool
    _hand_over: HandOver | None = None

    _log = Logger()

    async def deliver(self, request: CheddarRequest, response: Response) -> None:
        """Send C{response} as far as the request's method and conditions ask for it. The request is not finished."""
        if request.gone:
            return
        compressible = response.file is None and len(response.body) >= COMPRESS_FROM
        if compressible:
            vary = ", ".join(filter(None, (response.headers.get("Vary"), "Accept-Encoding")))
            response = evolve(response, headers={**response.headers, "Vary": vary})
        compress = compressible and _accepts_gzip(request_header(request, "accept-encoding"))
        if response.status == 200 and response.etag:
            now = request.site.clock.seconds()
            response = evolve(response, last_modified=_said(response.last_modified, now))
            tags = [response.etag, f"{response.etag}-gzip"]
            known = known_tag(request, tags[::-1] if compress else tags, response.last_modified, now)
            if known is not None:
                response = evolve(response, status=304, body=b"", file=None, etag=known)
        if compress and response.status != 304:
            response = await self._encoded(response)
        if request.gone:
            return
        if response.file is not None:
            await self._deliver_file(request, response, response.file)
            return
        self._head(request, response)
        if response.status not in NO_BODY_CODES:
            request.setHeader(b"content-length", b"%d" % len(response.body))
        body = b"" if request.method == b"HEAD" else response.body
        request.write(body)
        if response.lasting is not None:
            request.site.hot.keep(request, response.lasting, body)

    async def _encoded(self, response: Response) -> Response:
        body = None if response.compressed is None else response.compressed.get()
        if body is None:
            if len(response.body) < _COMPRESS_ELSEWHERE_FROM:
                body = gzip.compress(response.body, 4, mtime=0)
            else:
                body = await deferToThreadPool(self._reactor, self._pool, gzip.compress, response.body, 4, mtime=0)
            if response.compressed is not None:
                response.compressed.put(body)
        headers = {**response.headers, "Content-Encoding": "gzip"}
        return evolve(response, body=body, etag=response.etag and f"{response.etag}-gzip", headers=headers)

    def _head(self, request: CheddarRequest, response: Response) -> None:
        request.setResponseCode(
            response.status, header_value(response.reason)[:200] or RESPONSES.get(response.status, b"Unknown")
        )
        if response.status not in NO_BODY_CODES:
            request.setHeader(b"content-type", header_value(response.content_type))
        if response.etag:
            request.setHeader(b"etag", header_value(f'"{response.etag}"'))
        if response.last_modified is not None:
            request.setHeader(b"last-modified", datetimeToString(response.last_modified.timestamp()))
        for name, value in response.all_headers.items():
            request.setHeader(name.encode("ascii"), header_value(value))

    async def _deliver_file(self, request: CheddarRequest, response: Response, file: IStoredFile) -> None:
        handed = None if self._hand_over is None else self._hand_over.header(request, file)
        if handed is not None:
            name, value = handed
            # Whoever sends the bytes says how many they are, and which of them.
            self._head(request, evolve(response, headers={**response.headers, name: value}))
            request.setHeader(b"content-length", b"0")
            request.write(b"")
            return
        if IArriving.providedBy(file) and (request.method != b"HEAD" or file.size is None):
            await file.ready()
            if request.gone:
                return
        before = request.responseHeaders.copy()
        request.setHeader(b"accept-ranges", b"bytes")
        size, first, last = file.size, 0, None
        if size is not None:
            wanted = wanted_range(request, response.etag, response.last_modified)
            span = parse_range(wanted, size) if request.method != b"HEAD" else None
            if span is UNSATISFIABLE:
                # Not for ever, as the bytes are.
                headers = {**response.headers, "Cache-Control": "no-store"}
                self._head(request, evolve(response, status=416, file=None, headers=headers))
                request.setHeader(b"content-range", b"bytes */%d" % size)
                request.setHeader(b"content-length", b"0")
                request.write(b"")
                return
            if span is None:
                last = size - 1
            else:
                first, last = span.first, span.last
                response = evolve(response, status=206)
                request.setHeader(b"content-range", b"bytes %d-%d/%d" % (first, last, size))
            request.setHeader(b"content-length", b"%d" % (last - first + 1))
        self._head(request, response)
        if request.method == b"HEAD" or size == 0:
            request.write(b"")
            self._keep(request, response, None)
            return
        try:
            await file.send(request, first, last)
        except CancelledError:
            await request.cut()
        except Exception as error:
            if not request.startedWriting and not request.gone:
                # Nothing is promised yet: the caller explains what is wrong.
                request.responseHeaders = before
                raise
            if not isinstance(error, CheddarError):
                raise
            # Part of the body may be out already: only a cut connection tells the client that it is not whole.
            self._log.warn("{path} was cut short: {error}", path=request.path.decode("latin-1"), error=str(error))
            await request.cut()
        else:
            if not IArriving.providedBy(file):
                self._keep(request, response, file)

    def _keep(self, request: CheddarRequest, response: Response, file: IStoredFile | None) -> None:
        # Where a server in front sends files, it is told so each time, whoever has asked before.
        if response.lasting is not None and self._hand_over is None:
            request.site.hot.keep(request, response.lasting, b"", file)


def _said(modified: datetime | None, now: float) -> datetime | None:
    """A C{Last-Modified} as it is sent: in whole seconds, and never one to come (RFC 9110, section 8.8.2.1)."""
    return None if modified is None or modified.timestamp() > now else modified.replace(microsecond=0)


def _accepts_gzip(accept_encoding: str | None) -> bool:
    for part in (accept_encoding or "").lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
