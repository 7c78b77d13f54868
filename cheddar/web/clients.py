"""Where a request comes from: its connection's other end, or what a proxy says that the operator trusts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import frozen

#: What the other end of a socket that is a file is called; and how TRUSTED_PROXIES names it.
UNIX = "unix"

#: So many proxies in a row are followed; a client may make a longer list up.
_MOST_HOPS = 32

#: Characters of the longest way to write an IP address: IPv6 whose end is written as IPv4.
_LONGEST = 45


@frozen
class TrustedProxies:
    """
    The proxies whose word on who their clients are is taken.

    @ivar networks: their addresses.
    @ivar unix: whether whoever connects to a socket that is a file is one.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    @classmethod
    def named(cls, names: Iterable[str]) -> TrustedProxies:
        """Those that TRUSTED_PROXIES names: addresses, networks, or C{unix}. [ValueError]"""
        names = tuple(names)
        return cls(tuple(ip_network(name) for name in names if name != UNIX), UNIX in names)

    def include(self, host: str) -> bool:
        """Whether C{host} is one of them: an address, or L{UNIX}."""
        if host == UNIX:
            return self.unix
        address = _parsed(host)
        return address is not None and any(
            address in network for network in self.networks if network.version == address.version
        )

    def client(self, host: str, forwarded: Sequence[str]) -> str:
        """
        The address that a request comes from, as text in its one form; L{UNIX} where there is none.

        Each proxy adds, at the right, who had connected to it. So this reads from the right, and only as far as trust
        goes: the first address that is not a trusted proxy's is the client's, and what stands to the left of it the
        client itself may have written.

        @param host: the connection's other end; empty where that has no IP address.
        @param forwarded: the values of all C{X-Forwarded-For} headers, in their order.
        """
        here = str(_parsed(host) or UNIX)
        if not forwarded or not self.include(here):
            return here
        for hop in reversed(",".join(forwarded).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
            address = _parsed(_without_port(hop.strip(" \t")))
            if address is None:
                # Whoever wrote this, it names nobody: the last that is known counts.
                return here
            here = str(address)
            if not self.include(here):
                return here
        return here


def counted_as(host: str) -> str | None:
    """
    Who C{host} counts as where clients are counted: an IPv4 address, or a network of 64 bits of IPv6, which is what one
    subscriber has; None: it has no IP address.
    """
    address = _parsed(host)
    if address is None:
        return None
    if address.version == 6:
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    host = host.partition("%")[0]
    return _address(host) if len(host) <= _LONGEST else None


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _without_port(hop: str) -> str:
    """Some proxies write C{192.0.2.1:4711} and C{[2001:db8::1]:4711}."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
