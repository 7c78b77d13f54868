"""Upstreams as their settings have them: logins, authorities, certificates."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.python.threadpool import ThreadPool

from cheddar.errors import SettingsError, UpstreamUnavailable
from cheddar.model import Fetched, Validators
from cheddar.settings.upstreams import UpstreamSettings
from cheddar.upstream import Upstream, configured
from tests.support.upstream import EvilUpstream
from tests.upstream.certificates import pem_for
from tests.upstream.test_pages import failure_of

Configure = Callable[..., Upstream]


@pytest.fixture
def configure(reactor: Any, thread_pool: ThreadPool) -> Configure:
    """Makes an upstream of settings; the test stops it."""

    def make(environ: dict[str, str] | None = None, **keys: Any) -> Upstream:
        settings = UpstreamSettings(name="corp", timeout=5, connections=2, **keys)
        return configured(settings, environ or {}, reactor=reactor, pool=thread_pool)

    return make


def login_of(evil: EvilUpstream) -> str | None:
    return evil.requests[-1].headers.get("authorization")


ME = "Basic " + b64encode("me:gehe/im:ß".encode()).decode()


async def test_a_login_in_a_file(evil: EvilUpstream, configure: Configure, tmp_path: Path) -> None:
    """The first line of the file is the password."""
    evil.add_file("flask", "flask-1.0.tar.gz", b"x")
    (tmp_path / "secret").write_text("gehe/im:ß\nnot this\n")
    upstream = configure(url=evil.url, username="me", password_file=tmp_path / "secret")
    assert isinstance(await upstream.fetch_project("flask", Validators()), Fetched)
    assert login_of(evil) == ME
    await upstream.stop()


async def test_a_login_in_the_environment(evil: EvilUpstream, configure: Configure) -> None:
    """The variable's value is the password."""
    evil.add_file("flask", "flask-1.0.tar.gz", b"x")
    upstream = configure({"INDEX_PASSWORD": "gehe/im:ß"}, url=evil.url, username="me", password_env="INDEX_PASSWORD")
    await upstream.fetch_project("flask", Validators())
    assert login_of(evil) == ME
    await upstream.stop()


@pytest.mark.parametrize("variable", ["HOME", "NETRC"])
async def test_a_login_in_netrc(evil: EvilUpstream, configure: Configure, tmp_path: Path, variable: str) -> None:
    """It is looked up by the upstream's host, in the home folder or where NETRC says."""
    evil.add_file("flask", "flask-1.0.tar.gz", b"x")
    (tmp_path / ".netrc").write_text(
        "machine other.example login you password no\nmachine 127.0.0.1 login me password gehe/im:ß\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    where = tmp_path if variable == "HOME" else tmp_path / ".netrc"
    upstream = configure({variable: str(where)}, url=evil.url, netrc=True)
    await upstream.fetch_project("flask", Validators())
    assert login_of(evil) == ME
    await upstream.stop()


def test_logins_that_are_not_there(configure: Configure, tmp_path: Path) -> None:
    """The start fails, with the upstream's name and where the login should have been."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "netrc").write_text("machine other.example login you password no\n")
    (tmp_path / "broken").write_text("machine secretword whatever\n")
    for environ, keys, words in (
        ({}, {"username": "me", "password_file": tmp_path / "none"}, "cannot be read"),
        ({}, {"username": "me", "password_file": tmp_path / "empty"}, "is empty"),
        ({}, {"username": "me", "password_env": "NONE"}, "NONE"),
        ({"NETRC": str(tmp_path / "none")}, {"netrc": True}, "cannot be read"),
        ({"NETRC": str(tmp_path / "netrc")}, {"netrc": True}, "no login for index.example"),
        ({"NETRC": str(tmp_path / "broken")}, {"netrc": True}, "line 2"),
    ):
        with pytest.raises(SettingsError, match=words) as caught:
            configure(environ, url="https://index.example/simple/", **keys)
        assert "corp" in str(caught.value)
        assert "secretword" not in str(caught.value)


@pytest.fixture
def identities(tmp_path: Path) -> dict[str, Path]:
    """PEM files: a server's certificate and key, a client's, somebody else's."""
    paths = {}
    for who in ("localhost", "client", "other"):
        certificate, key = pem_for(who)
        for kind, data in (("pem", certificate), ("key", key), ("both", certificate + key)):
            paths[f"{who}.{kind}"] = tmp_path / f"{who}.{kind}"
            paths[f"{who}.{kind}"].write_bytes(data)
    return paths


def server_that_wants(identities: dict[str, Path]) -> Any:
    """A context that asks for the client's certificate."""
    mine = PrivateCertificate.loadPEM(identities["localhost.both"].read_bytes())
    wanted = Certificate.loadPEM(identities["client.pem"].read_bytes())
    return CertificateOptions(
        privateKey=mine.privateKey.original,
        certificate=mine.original,
        trustRoot=trustRootFromCertificates([wanted]),
        lowerMaximumSecurityTo=None,
    )


async def test_authorities_and_certificate(
    reactor: Any, configure: Configure, identities: dict[str, Path], tmp_path: Path
) -> None:
    """The authorities of the bundle are believed, all of them; the client's certificate is shown to upstream."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# ours\n" + identities["other.pem"].read_bytes() + identities["localhost.pem"].read_bytes())
    evil = EvilUpstream(reactor, host="localhost", tls=server_that_wants(identities))
    evil.add_file("flask", "flask-1.0.tar.gz", b"x")
    await evil.start()
    good = configure(
        url=evil.url, ca_bundle=bundle, client_certificate=identities["client.pem"], client_key=identities["client.key"]
    )
    assert isinstance(await good.fetch_project("flask", Validators()), Fetched)
    together = configure(url=evil.url, ca_bundle=bundle, client_certificate=identities["client.both"])
    assert isinstance(await together.fetch_project("flask", Validators()), Fetched)
    without = configure(url=evil.url, ca_bundle=bundle)
    wrong = configure(url=evil.url, ca_bundle=bundle, client_certificate=identities["other.both"])
    unknown = configure(url=evil.url, ca_bundle=identities["other.pem"], client_certificate=identities["client.both"])
    for upstream in (without, wrong, unknown):
        await failure_of(upstream.fetch_project("flask", Validators()), UpstreamUnavailable)
    assert len(evil.requests) == 2
    await gatherResults([upstream.stop() for upstream in (good, together, without, wrong, unknown)])
    await evil.stop()


def test_files_that_are_no_certificates(configure: Configure, identities: dict[str, Path], tmp_path: Path) -> None:
    """The start fails, with the upstream's name and the file's."""
    (tmp_path / "text").write_text("hello")
    for keys in (
        {"ca_bundle": tmp_path / "text"},
        {"ca_bundle": tmp_path / "none"},
        {"client_certificate": tmp_path / "text"},
        {"client_certificate": identities["client.pem"]},
        {"client_certificate": identities["client.pem"], "client_key": identities["other.key"]},
    ):
        with pytest.raises(SettingsError, match="corp"):
            configure(url="https://index.example/", **keys)
