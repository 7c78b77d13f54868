"""Upstream's pages and redirects may name any address; only harmless ones are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver, IResolutionReceiver
from zope.interface import directlyProvides, implementer

from cheddar import metrics
from cheddar.errors import UpstreamBroken, UpstreamUnavailable
from cheddar.model import Validators
from cheddar.upstream import Upstream
from cheddar.upstream.addresses import AddressRules, Origin, Target
from tests.support.upstream import EvilUpstream
from tests.upstream.receivers import Kept
from tests.upstream.test_pages import failure_of

Make = Callable[..., Upstream]

PAGE = "/simple/flask/"
OWN = Origin("https", "index.example", 443)


@implementer(IHostnameResolver)
class Names:
    """A resolver that answers from a table: each answer once, the last for good."""

    def __init__(self, table: dict[str, list[list[str]]]) -> None:
        self.table = table
        self.asked: list[str] = []

    def resolveHostName(
        self, receiver: IResolutionReceiver, name: str, port: int = 0, types: Any = None, semantics: str = "TCP"
    ) -> Any:
        """See L{IHostnameResolver}."""
        self.asked.append(name)
        answers = self.table.get(name, [[]])
        receiver.resolutionBegan(None)
        for address in answers.pop(0) if len(answers) > 1 else answers[0]:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, port))
        receiver.resolutionComplete()


class OwnNames:
    """The reactor with a resolver of its own, and every connection that is not to loopback led to a closed port."""

    def __init__(self, reactor: Any, names: Names) -> None:
        self._reactor = reactor
        self.nameResolver = names
        self.connected: list[str] = []
        directlyProvides(self, IReactorPluggableNameResolver)

    def connectTCP(self, host: str, port: int, *arguments: Any, **options: Any) -> Any:
        """See L{twisted.internet.interfaces.IReactorTCP}."""
        self.connected.append(host)
        if not host.startswith("127."):
            host, port = "127.0.0.1", 1
        return self._reactor.connectTCP(host, port, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "files/x-1.0.tar.gz",
        "gopher://files.example/x",
        "file:///etc/passwd",
        "ftp://files.example/x",
        "https://",
        "https:///x",
        "https://files.example:0/x",
        "https://files.example:70000/x",
        "https://files.example:http/x",
        "https://files.example\\@other.example/x",
        "https://files.example/x\r\nX-Injected: 1",
        "https://files example/x",
        "https://[::1/x",
        "https://[fe80::1%25eth0]/x",
        "https://files..example/x",
        "https://" + "a" * 300 + ".example/x",
        "https://files.example/" + "a" * 9000,
    ],
)
def test_not_an_address(url: str) -> None:
    """What is no clean http(s) address is refused by its text."""
    with pytest.raises(UpstreamBroken):
        Target.parse(url)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://Files.Example/a/b.whl#sha256=00", "https://files.example/a/b.whl"),
        ("https://files.example:443/x", "https://files.example/x"),
        ("http://files.example:8080", "http://files.example:8080/"),
        ("https://user@PyPI@evil.example/x", "https://evil.example/x"),
        ("https://u:p@files.example/x", "https://files.example/x"),
        ("https://files.example/foo-1.0%2Bcpu.whl?a=b&c=%20", "https://files.example/foo-1.0%2Bcpu.whl?a=b&c=%20"),
        ("https://files.example/a b/\u00e9", "https://files.example/a%20b/%C3%A9"),
        ("https://b\u00fccher.example/", "https://xn--bcher-kva.example/"),
        ("https://[2606:4700::0001]:8443/x", "https://[2606:4700::1]:8443/x"),
    ],
)
def test_clean_address(url: str, clean: str) -> None:
    """An address is asked in one plain form, without userinfo and fragment."""
    assert str(Target.parse(url)) == clean


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("fd00:ec2::254", "private"),
        ("169.254.169.254", "link_local"),
        ("fe80::1", "link_local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("100.100.100.200", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a00:1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a00:1::", "private"),
    ],
)
def test_not_public(address: str, reason: str) -> None:
    """No host but upstream itself is asked at an address that is not public."""
    rules = AddressRules(OWN)
    assert rules.reason_against(Origin("https", "files.example", 443), address) == reason
    assert rules.reason_against(Origin("https", "index.example", 8443), address) == reason
    assert rules.reason_against(OWN, address) is None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "203.0.113.80", "151.101.0.223", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public(address: str) -> None:
    """Public addresses are asked."""
    assert AddressRules(OWN).reason_against(Origin("https", "files.example", 443), address) is None


def test_no_way_back_to_plain_text() -> None:
    """An https upstream leads to https only; an http one to both, and from https never back."""
    rules, plain = AddressRules(OWN), AddressRules(Origin("http", "index.example", 80))
    for unsafe in ("http://index.example/", "http://files.example/"):
        with pytest.raises(UpstreamBroken):
            rules.check(Target.parse(unsafe))
        with pytest.raises(UpstreamBroken):
            rules.follow(Target.parse("https://index.example/"), unsafe)
        with pytest.raises(UpstreamBroken):
            plain.follow(Target.parse("https://files.example/"), unsafe)
        plain.check(Target.parse(unsafe))
    assert (
        str(rules.follow(Target.parse("https://index.example/a/b"), "//files.example/c")) == "https://files.example/c"
    )
    assert str(plain.follow(Target.parse("http://index.example/a/b"), "c")) == "http://index.example/a/c"


async def test_trap_is_open(trap: EvilUpstream, client_of: Make) -> None:
    """Positive control: the trap that must hear nothing below does answer whoever may ask it."""
    await client_of(trap.url).fetch_file(trap.files_url + "secret-1.0.tar.gz", receiver := Kept())
    assert (trap.connections, receiver.content) == (1, b"secret")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://0:{port}/",
        "http://0.0.0.0:{port}/",
        "http://user@PyPI@127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/",
    ],
)
async def test_inside_addresses(evil: EvilUpstream, trap: EvilUpstream, client_of: Make, address: str) -> None:
    """A page or a redirect that names a server on the inside is refused, and that server hears nothing."""
    before = sum(sample.value for metric in metrics.upstream_blocked.collect() for sample in metric.samples)
    client = client_of(evil.url)
    url = address.format(port=trap.port)
    evil.misbehave(PAGE, redirect_to=url)
    await failure_of(client.fetch_project("flask", Validators()), UpstreamBroken)
    await failure_of(client.fetch_file(url + "x.whl", Kept()), UpstreamBroken)
    await failure_of(client.fetch_bytes(url + "x.whl.metadata", 100), UpstreamBroken)
    assert trap.connections == 0
    after = sum(sample.value for metric in metrics.upstream_blocked.collect() for sample in metric.samples)
    # The counter has a sample for its time of creation too.
    assert after >= before + 3
    assert client.state()["ok"] is True, "upstream itself did answer"


async def test_names_of_inside_addresses(reactor: Any, evil: EvilUpstream, trap: EvilUpstream, client_of: Make) -> None:
    """What counts is where a name leads, not how it is spelled."""
    names = Names(
        {
            "127.0.0.1": [["127.0.0.1"]],
            "files.example": [["127.0.0.1"]],
            "metadata.example": [["169.254.169.254"]],
        }
    )
    using = OwnNames(reactor, names)
    client = client_of(evil.url, using=using)
    for name in ("files.example", "metadata.example"):
        error = await failure_of(client.fetch_file(f"http://{name}:{trap.port}/x", Kept()), UpstreamBroken)
        assert name in str(error)
    await failure_of(client.fetch_file(f"http://unknown.example:{trap.port}/x", Kept()), UpstreamUnavailable)
    assert using.connected == []
    assert trap.connections == 0


async def test_rebinding(reactor: Any, trap: EvilUpstream, evil: EvilUpstream, client_of: Make) -> None:
    """A name that resolves to the outside first and to the inside next gains nothing: the checked answer is used."""
    names = Names({"files.example": [["1.1.1.1", "127.0.0.1"], ["127.0.0.1"]]})
    using = OwnNames(reactor, names)
    client = client_of(evil.url, using=using)
    await failure_of(client.fetch_file(f"http://files.example:{trap.port}/x", Kept()), UpstreamUnavailable)
    assert (names.asked, using.connected) == (["files.example"], ["1.1.1.1"])
    await failure_of(client.fetch_file(f"http://files.example:{trap.port}/x", Kept()), UpstreamBroken)
    assert using.connected == ["1.1.1.1"]
    assert trap.connections == 0


async def test_several_addresses(reactor: Any, evil: EvilUpstream, client_of: Make) -> None:
    """If the first of upstream's addresses does not answer, the next is tried; it may be private, being configured."""
    evil.add_file("flask", "flask-1.0.tar.gz", b"flask")
    using = OwnNames(reactor, Names({"index.example": [["10.255.255.1", "127.0.0.1"]]}))
    client = client_of(f"http://index.example:{evil.port}/simple/", using=using)
    await client.fetch_file(f"http://index.example:{evil.port}/files/flask-1.0.tar.gz", receiver := Kept())
    assert receiver.content == b"flask"
    assert using.connected == ["10.255.255.1", "127.0.0.1"]


async def test_ipv6(reactor: Any, evil: EvilUpstream, client_of: Make) -> None:
    """Upstream may be given by an IPv6 address."""
    evil.add_file("flask", "flask-1.0.tar.gz", b"flask")
    using = OwnNames(reactor, Names({"::1": [["::1"]]}))
    asked: list[str] = []

    def connect(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        # Not every machine that runs this has IPv6.
        asked.append(host)
        return reactor.connectTCP("127.0.0.1", port, *arguments, **options)

    using.connectTCP = connect  # type: ignore[method-assign]  # the test stands in for the network
    client = client_of(f"http://[::1]:{evil.port}/simple/", using=using)
    assert client.url == f"http://[::1]:{evil.port}/simple/"
    await client.fetch_project("flask", Validators())
    assert asked == ["::1"]
    assert evil.requests[0].headers["host"] == f"[::1]:{evil.port}"
