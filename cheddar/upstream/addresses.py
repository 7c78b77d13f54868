"""
Which addresses are asked. Upstream's pages and redirects name them, so they are checked before a byte goes out:
the URL by its text, and the host by the addresses that it resolves to.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote, urljoin, urlsplit

from attrs import frozen

from cheddar import metrics
from cheddar.errors import AddressRefused

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 8192

_HOST = re.compile(r"\A[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?\Z", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What may stand as it is in a path and a query (RFC 3986, section 3); all else is percent-encoded.
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?"
# Addresses that carry an IPv4 address, and where a gateway would send the packet on: RFC 6052, section 2.1.
_NAT64 = ip_network("64:ff9b::/96")
# Python calls these private. They are for documentation (RFC 5737), nothing private answers there, and sites whose
# way out is a gateway give them to the public names that it stands for.
_DOCUMENTATION = tuple(map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))


@frozen
class Origin:
    """Scheme, host and port (RFC 6454): who is spoken to. All in lower case, the port always given."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


@frozen
class Target:
    """
    An address that can be asked: printable ASCII, without userinfo and fragment, understood by every parser alike,
    since it is put together from parts that were checked.
    """

    origin: Origin
    path: str

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"

    @classmethod
    def parse(cls, url: str) -> Target:
        """@raise AddressRefused: C{url} is not an absolute http(s) address."""
        url = url.strip(" ")
        if len(url) > MAX_URL:
            raise refusal("url", "an address that is too long")
        if _CONTROL.search(url):
            raise refusal("url", "an address with control characters")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise refusal("url", "an address that cannot be read") from None
        if "\\" in parts.netloc:
            # Where the host ends is then a question of whom one asks.
            raise refusal("host", "an address with a backslash in its host")
        if parts.scheme not in DEFAULT_PORTS:
            raise refusal("scheme", "an address that is neither https nor http")
        port = DEFAULT_PORTS[parts.scheme] if port is None else port
        if not 0 < port < 65536:
            raise refusal("port", "an address with an impossible port")
        path = quote(parts.path, safe=_PATH_SAFE, errors="surrogatepass") or "/"
        if parts.query:
            path += "?" + quote(parts.query, safe=_QUERY_SAFE, errors="surrogatepass")
        return cls(Origin(parts.scheme, _checked_host(host), port), path)


@frozen
class AddressRules:
    """
    What may be asked on behalf of one upstream.

    @ivar own: the origin of the upstream's configured address. Its administrator chose it: it may be private.
    """

    own: Origin

    def check(self, target: Target) -> None:
        """@raise AddressRefused: the address is not encrypted, and upstream itself is."""
        if target.origin.scheme == "http" and self.own.scheme != "http":
            raise refusal("scheme", f"the unencrypted address {target.origin}")

    def follow(self, target: Target, location: str) -> Target:
        """
        Where a redirect leads.

        @param target: the address that answered with the redirect.
        @param location: its C{Location}, maybe relative to it (RFC 9110, section 10.2.2).
        @raise AddressRefused: not to where Cheddar goes.
        """
        try:
            url = urljoin(str(target), location)
        except ValueError:
            raise refusal("url", "an address that cannot be read") from None
        there = Target.parse(url)
        if target.origin.scheme == "https" and there.origin.scheme == "http":
            raise refusal("downgrade", f"an unencrypted redirect from {target.origin} to {there.origin}")
        # From an address that passed C{check}, no downgrade means that this one passes too.
        return there

    def reason_against(self, origin: Origin, address: str) -> str | None:
        """Why C{origin} must not be asked at this IP address; None where it may."""
        return None if origin == self.own else _not_public(ip_address(address))


def refusal(reason: str, what: str) -> AddressRefused:
    """Count an address that is not asked, and make the error that says so."""
    metrics.upstream_blocked.labels(reason).inc()
    return AddressRefused(f"Upstream named {what}, which Cheddar does not ask.")


def _checked_host(host: str) -> str:
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            raise refusal("host", "an address with an impossible host") from None
        if address.scope_id is not None:
            raise refusal("host", "an address with a zone in its host")
        return str(address)
    try:
        host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise refusal("host", "an address with an impossible host") from None
    if len(host) > 253 or not _HOST.match(host):
        raise refusal("host", "an address with an impossible host")
    return host


def _not_public(address: IPv4Address | IPv6Address) -> str | None:
    # The order is that of telling most: what is loopback is private and reserved too.
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _not_public(inner)
    if any(address in network for network in _DOCUMENTATION if network.version == address.version):
        return None
    for reason in ("unspecified", "loopback", "link_local", "multicast", "private", "reserved"):
        if getattr(address, f"is_{reason}"):
            return reason
    # Shared address space (RFC 6598) and what else is not routed: neither private nor reserved in Python's words.
    return None if address.is_global else "reserved"
