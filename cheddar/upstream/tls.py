"""Whom to believe on the way to an upstream, and what to show it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import define, field
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from cheddar.errors import SettingsError
from cheddar.settings.upstreams import UpstreamSettings
from cheddar.upstream.addresses import Origin

_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IPolicyForHTTPS)
@define(eq=False)
class OwnCertificatePolicy:
    """
    Verifies every host, and shows an own certificate to one of them.

    @ivar _trust: as L{optionsForClientTLS} takes it; None: the platform's authorities.
    @ivar _own: the origin that sees the certificate.
    """

    _trust: Any
    _own: Origin
    _certificate: PrivateCertificate | None = None
    # To read the authorities takes tens of milliseconds: once per host, not per connection.
    _creators: dict[tuple[bytes, int], IOpenSSLClientConnectionCreator] = field(factory=dict, init=False)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """See L{IPolicyForHTTPS}."""
        key = (hostname, port)
        if key not in self._creators:
            if len(self._creators) >= 64:
                # Pages decide how many hosts there are; memory must not follow.
                self._creators.clear()
            host = hostname.decode("ascii")
            mine = self._certificate if Origin("https", host, port) == self._own else None
            options = {} if self._trust is None else {"trustRoot": self._trust}
            self._creators[key] = optionsForClientTLS(host, clientCertificate=mine, **options)
        return self._creators[key]


def trusted(upstream: UpstreamSettings) -> Any:
    """
    Blocks. The authorities that the settings name; None: the platform's.

    @raise SettingsError: the file cannot be read, or has no certificate.
    """
    if upstream.ca_bundle is None:
        return None
    found = _CERTIFICATE.findall(_read(upstream, upstream.ca_bundle))
    if not found:
        raise SettingsError(f"Upstream {upstream.name}: {upstream.ca_bundle} has no certificate in PEM form.")
    try:
        return trustRootFromCertificates([Certificate.loadPEM(pem) for pem in found])
    except CryptoError:
        raise SettingsError(f"Upstream {upstream.name}: a certificate in {upstream.ca_bundle} is damaged.") from None


def client_certificate(upstream: UpstreamSettings) -> PrivateCertificate | None:
    """
    Blocks. What the settings say to show.

    @raise SettingsError: it cannot be read, or there is no key, or one of another certificate.
    """
    if upstream.client_certificate is None:
        return None
    pem = _read(upstream, upstream.client_certificate)
    if upstream.client_key is not None:
        pem += b"\n" + _read(upstream, upstream.client_key)
    try:
        loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    except (CryptoError, VerifyError, ValueError, TypeError):
        raise SettingsError(
            f"Upstream {upstream.name}: {upstream.client_certificate} and its key are not a certificate and the "
            "private key that belongs to it, in PEM form and without a passphrase."
        ) from None
    return loaded


def _read(upstream: UpstreamSettings, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"Upstream {upstream.name}: {path} cannot be read: {error.strerror}.") from error
