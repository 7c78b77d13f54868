"""What upstream's answers mean: statuses, waits and failures, in the words of the domain."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from cheddar.errors import CheddarError, NotFound, UpstreamBroken, UpstreamUnavailable
from cheddar.upstream.addresses import Target

REDIRECTS = frozenset({301, 302, 303, 307, 308})
DEFAULT_RETRY_AFTER = 5
LONGEST_RETRY_AFTER = 600
TLS_ERRORS = (SSL.Error, VerificationError)


def header(headers: Headers, name: str) -> str | None:
    """The first value of a header as text, or None."""
    values = headers.getRawHeaders(name.encode("ascii"))
    return values[0].decode("latin-1").strip() if values else None


def is_down(response: IResponse) -> bool:
    """Whether the answer says that its origin cannot serve now, rather than something of what was asked for."""
    return bool(response.code >= 500 or response.code == 429)


def retry_after(headers: Headers, now: float) -> int | None:
    """
    The wait that C{Retry-After} asks for, in seconds, at most L{LONGEST_RETRY_AFTER}; None without the header, or
    where it cannot be read.

    Source: RFC 9110, section 10.2.3.
    """
    value = header(headers, "Retry-After")
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        seconds = (date - datetime.fromtimestamp(now, timezone.utc)).total_seconds()
    return max(1, min(LONGEST_RETRY_AFTER, round(seconds)))


def error_of(response: IResponse, target: Target, what: str, now: float) -> CheddarError | None:
    """
    The error that a status stands for; None for 200.

    @param what: what was asked for, for the message: C{project flask}.
    @param now: seconds since the epoch.
    """
    code, origin = response.code, target.origin
    if code == 200:
        return None
    if code in (404, 410):
        return NotFound(f"Upstream has no {what}.")
    wait = retry_after(response.headers, now) or DEFAULT_RETRY_AFTER
    if code in (401, 403, 407):
        message = f"{origin} refused the request for {what} ({code}): check its credentials in the settings."
        return UpstreamUnavailable(message, wait)
    if code == 429:
        return UpstreamUnavailable(f"{origin} asks for fewer requests (429).", wait)
    if code >= 500 or code == 408:
        return UpstreamUnavailable(f"{origin} cannot serve now (it answered {code}).", wait)
    return UpstreamBroken(f"{origin} answered the request for {what} with the unexpected status {code}.")


def never_answered(error: BaseException) -> bool:
    """Whether a request failed before a byte of its answer came, in a way that a new connection may put right."""
    if not isinstance(error, RequestTransmissionFailed | ResponseNeverReceived):
        return False
    return not any(isinstance(reason, TLS_ERRORS) for reason in _reasons(error))


def error_from(error: BaseException, target: Target) -> CheddarError:
    """The error that a failed request stands for."""
    if isinstance(error, CheddarError):
        return error
    origin, reasons = target.origin, _reasons(error)
    if any(isinstance(reason, TLS_ERRORS) for reason in reasons):
        return UpstreamUnavailable(f"No secure connection to {origin}: {_tls_words(reasons)}.")
    if isinstance(error, DNSLookupError):
        return UpstreamUnavailable(f"The host of {origin} has no address: check the settings and the name service.")
    if isinstance(error, ConnectionRefusedError):
        return UpstreamUnavailable(f"{origin} refuses connections.")
    if isinstance(error, TimeoutError):
        return UpstreamUnavailable(f"{origin} does not answer a connection.")
    if isinstance(error, ConnectError):
        return UpstreamUnavailable(f"{origin} cannot be reached.")
    # Whatever ended the connection other than its end is an error of Twisted's HTTP parser.
    if not all(isinstance(reason, ConnectionClosed) for reason in reasons[1:]):
        return UpstreamBroken(f"{origin} answered with something that is not HTTP.")
    return UpstreamUnavailable(f"{origin} closed the connection without a whole answer.")


def _reasons(error: BaseException) -> list[BaseException]:
    return [error, *(reason.value for reason in getattr(error, "reasons", ()))]


def _tls_words(reasons: list[BaseException]) -> str:
    for reason in reasons:
        if isinstance(reason, VerificationError):
            return "its certificate is for another host"
        if isinstance(reason, SSL.Error) and reason.args and isinstance(reason.args[0], list):
            words = [part[-1] for part in reason.args[0] if part and part[-1]]
            if words:
                return ", ".join(words)
    return "the TLS handshake failed"
