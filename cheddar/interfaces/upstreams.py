"""Other servers."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from zope.interface import Interface

from cheddar.model import Fetched, NotModified, Ranged, Validators


class IBodyReceiver(Interface):
    """Takes the bytes of a download as they come. Both are plain calls."""

    def begin(length: int | None) -> None:
        """Upstream answered: C{length} bytes will follow, None where it does not say."""

    def write(data: bytes) -> Deferred[None] | None:
        """The next bytes; a Deferred asks for a pause until it fires."""


class IUpstreams(Interface):
    """All servers behind a remote index."""

    def states() -> tuple[Mapping[str, object], ...]:
        """Plain call. L{IUpstream.state} of each, in the order in which they are asked; empty where there are none."""


class IUpstream(Interface):
    """The other server behind a remote index."""

    def fetch_project(name: str, validators: Validators) -> Deferred[Fetched | NotModified]:
        """
        @param name: normalized.
        @raise NotFound: upstream says that there is no such project. [UpstreamUnavailable, UpstreamBroken]
        """

    def fetch_file(url: str, receiver: IBodyReceiver, *, uncached: bool = False) -> Deferred[None]:
        """
        Download, byte for byte. Where the connection breaks, it goes on from there on another one, if upstream can.

        @param uncached: whether to ask for the file past the caches on the way to upstream, or before it.
        @return: fires at the end of the body. [NotFound, UpstreamUnavailable, UpstreamBroken]
        """

    def fetch_bytes(url: str, limit: int) -> Deferred[bytes]:
        """A small body, at most C{limit} bytes. [NotFound, UpstreamUnavailable, UpstreamBroken]"""

    def fetch_range(url: str, first: int, last: int | None = None) -> Deferred[Ranged]:
        """
        A part of a file, at most 32 MiB, and how long the whole of it is; nothing else of the file is transferred.

        @param first: the position of the first byte wanted; or, below 0, how many bytes at the end are.
        @param last: the position of the last byte wanted; None: the file's last.
        @return: all of these bytes that the file has.
        @raise NotFound: upstream has no such file, or gives no parts of its files. [UpstreamUnavailable,
            UpstreamBroken]
        """

    def state() -> Mapping[str, object]:
        """Plain call. What readiness and metrics show of it: whether the last answer was good, and since when."""
