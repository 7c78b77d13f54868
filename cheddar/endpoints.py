"""The endpoints that the settings name, opened one after the other: by the server, or by who opens them for it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from cheddar import systemd
from cheddar.errors import SettingsError
from cheddar.settings import Settings

#: How many connections may wait to be accepted: a fleet's jobs come together, and who finds no place comes again only
#: after a second. The system may allow fewer.
BACKLOG = 1024


async def open_endpoints(settings: Settings, reactor: Any, factory: IProtocolFactory) -> AsyncIterator[IListeningPort]:
    """
    Listen on all endpoints.

    @param reactor: what listens; L{twisted.internet.endpoints.serverFromString} takes it.
    @return: the ports, each as soon as it is open. [SettingsError]
    """
    descriptions = settings.listen or (f"tcp:{settings.port}:backlog={BACKLOG}",)
    if systemd.hands_sockets_over(os.environ) and not any(item.startswith("systemd:") for item in descriptions):
        raise SettingsError(
            "systemd hands a socket over, and no endpoint takes it: nobody would answer there. Serve with "
            "--listen systemd:domain=INET:name=..., or without the socket unit."
        )
    for description in descriptions:
        try:
            adopt = getattr(reactor, "adopt_systemd", None)
            if adopt is not None and description.startswith("systemd:"):
                port = adopt(factory)
            else:
                port = await serverFromString(reactor, description).listen(factory)
        except Exception as error:  # every kind of endpoint fails in its own way
            wrong = str(error)
            if description.startswith("systemd:") and isinstance(error, LookupError):
                wrong = "systemd has handed over no socket of this name or number, or none that has a name"
            raise SettingsError(f"Cannot serve on the endpoint {description}: {wrong}") from error
        yield port
