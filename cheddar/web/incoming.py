"""A body that is an upload, as the request that it comes with sees it."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from cheddar.formats.upload_form import ParsedForm
from cheddar.interfaces import IFileWriter


class Incoming(Protocol):
    """A body that is an upload, on its way in. All are plain calls."""

    def start(self, expect: bool) -> None:
        """The headers are here; C{expect}: the sender waits for a C{100 Continue}."""

    def data_received(self, data: bytes) -> None:
        """The next bytes."""

    def body_received(self) -> None:
        """The body is complete."""

    def abort(self) -> None:
        """Nobody wants it any more."""

    def admitted(self) -> Deferred[None]:
        """Fires when the sender may upload; fails with the reason why not."""

    def arrived(self) -> Deferred[ParsedForm]:
        """The form, once the body is complete; fails with what is wrong with it."""

    def writer(self) -> IFileWriter:
        """The bytes of the file; whoever takes the writer commits or aborts it."""
