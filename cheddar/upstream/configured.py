"""An upstream as its settings have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.python.threadpool import ThreadPool

from cheddar.settings.upstreams import UpstreamSettings
from cheddar.upstream.client import MAX_FILE, Upstream
from cheddar.upstream.credentials import find_credentials
from cheddar.upstream.proxies import proxies
from cheddar.upstream.tls import client_certificate, trusted


def configured(
    settings: UpstreamSettings,
    environ: Mapping[str, str],
    *,
    reactor: Any,
    pool: ThreadPool,
    max_file: int = MAX_FILE,
) -> Upstream:
    """
    Blocks: reads what the settings name.

    @param environ: the process's environment: passwords and proxies may be there.
    @param reactor: as L{Upstream} needs it; C{pool} and C{max_file} too.
    @raise SettingsError: something that they name is not there, or is not what it should be.
    """
    url, credentials = find_credentials(settings, environ)
    return Upstream(
        url,
        reactor=reactor,
        pool=pool,
        timeout=float(settings.timeout),
        connections=settings.connections,
        trust=trusted(settings),
        proxy_for=proxies(settings.proxy, environ),
        name=settings.name,
        credentials=credentials,
        certificate=client_certificate(settings),
        max_file=max_file,
    )
