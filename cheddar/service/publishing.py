"""Trusted publishing, put together: the issuers that the settings name, and the clients that fetch their keys."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from cheddar.auth.identity_tokens import IdentityTokens
from cheddar.auth.issuer_keys import IssuerKeys
from cheddar.auth.publishers import publisher_of
from cheddar.auth.trusted_publishing import TrustedPublishing
from cheddar.interfaces import IAuditLog, IStore, ITrustedPublishing
from cheddar.settings import Settings
from cheddar.settings.publishers import PublisherSettings
from cheddar.settings.upstreams import UpstreamSettings
from cheddar.upstream import configured

#: Seconds that an issuer has to answer.
TIMEOUT = 5


def trusted_publishing(
    settings: Settings,
    store: IStore,
    audit: IAuditLog,
    reactor: Any,
    pool: ThreadPool,
    stops: list[Callable[[], Deferred[Any]]],
) -> ITrustedPublishing:
    """
    @param pool: verifies signatures.
    @param stops: gets what is to be stopped.
    [SettingsError]
    """
    issuers = {
        publisher.issuer: _keys(publisher, settings, reactor, pool, stops)
        for publisher in {publisher.issuer: publisher for publisher in settings.publisher}.values()
    }
    tokens = IdentityTokens(settings.audience, issuers, reactor, reactor, pool)
    publishers = tuple(map(publisher_of, settings.publisher))
    return TrustedPublishing(tokens, publishers, store.leases, store.tokens, audit, reactor)


def _keys(
    publisher: PublisherSettings,
    settings: Settings,
    reactor: Any,
    pool: ThreadPool,
    stops: list[Callable[[], Deferred[Any]]],
) -> IssuerKeys:
    # Fetched like anything else of other servers: checked addresses, bounded sizes and times, the environment's proxy.
    client = configured(
        UpstreamSettings(
            name="",
            url=(publisher.jwks_url or publisher.issuer).rstrip("/") + "/",
            ca_bundle=publisher.ca_bundle,
            timeout=TIMEOUT,
            connections=1,
        ),
        os.environ,
        reactor=reactor,
        pool=pool,
    )
    stops.append(client.stop)
    return IssuerKeys(
        publisher.issuer, publisher.jwks_file, publisher.jwks_url, client.fetch_bytes, reactor, reactor, pool
    )
