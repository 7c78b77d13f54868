"""Where requests come in: the endpoints, and how they are closed without losing a request."""

from __future__ import annotations

import os
from typing import Any

from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cheddar import systemd
from cheddar.deferreds import returns_deferred
from cheddar.endpoints import open_endpoints
from cheddar.settings import Settings
from cheddar.web.draining import Drain
from cheddar.web.request import CheddarSite

#: Idle connections are left open for so long after the last answer: a request may be on its way.
GRACE_SECONDS = 1.0


@define(eq=False)
class Doors:
    """
    @ivar ports: what listens.
    """

    _settings: Settings
    _reactor: Any
    ports: list[IListeningPort] = field(factory=list, init=False)
    _site: CheddarSite | None = field(default=None, init=False)

    _log = Logger()

    async def open(self, site: CheddarSite, entrance: Any) -> None:
        """
        Listen on all endpoints. [SettingsError]

        @param entrance: the reactor, or what stands for it where another process has opened the sockets.
        """
        self._site = site
        async for port in open_endpoints(self._settings, entrance, site):
            self.ports.append(port)
            self._log.info("Listening on {address}", address=port.getHost())

    @returns_deferred
    async def close(self) -> None:
        """Let nobody in any more, and wait until the requests under way are answered."""
        site = self._site
        if site is None:
            return
        systemd.notify(os.environ, "STOPPING=1")
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        drain = Drain(site, self._reactor, self._settings.drain_timeout)
        cut = await drain.wait()
        end = self._reactor.seconds() + GRACE_SECONDS
        while site.idle() and self._reactor.seconds() < end:
            await deferLater(self._reactor, 0.02, lambda: None)
        site.close_idle()
        # Those that came meanwhile, on connections that were open.
        cut += await drain.wait()
        if cut:
            self._log.warn("{cut} requests were cut after the drain timeout", cut=cut)
