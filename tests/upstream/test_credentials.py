"""A login for upstream reaches upstream, and nobody else."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher

from cheddar.errors import CheddarError
from cheddar.model import Fetched, Validators
from cheddar.upstream import Upstream
from cheddar.upstream.addresses import Target
from cheddar.upstream.credentials import split_credentials
from tests.support.upstream import EvilUpstream
from tests.upstream.receivers import Kept
from tests.upstream.test_addresses import Names, OwnNames
from tests.upstream.test_pages import failure_of

Make = Callable[..., Upstream]

SECRET = "canary-7f3"
BASIC = "Basic " + b64encode(f"us@er:{SECRET}/".encode()).decode()


def with_login(url: str) -> str:
    """The address with a login in it."""
    return url.replace("://", f"://us%40er:{SECRET}%2F@")


def test_split() -> None:
    """The login is taken out of the address, its percent-encoding undone, and belongs to that origin alone."""
    bare, credentials = split_credentials("https://user:p%40ss@Index.Example/simple/")
    assert bare == "https://Index.Example/simple/"
    expected = b"Basic " + b64encode(b"user:p@ss")
    assert credentials.authorization(Target.parse("https://index.example:443/other")) == expected
    for other in ("http://index.example/", "https://index.example:8443/", "https://sub.index.example/"):
        assert credentials.authorization(Target.parse(other)) is None
    assert "user" not in repr(credentials)
    assert expected.decode() not in repr(credentials)
    assert split_credentials("https://index.example/")[1].authorization(Target.parse("https://index.example/")) is None


async def test_sent_to_upstream(evil: EvilUpstream, client_of: Make) -> None:
    """Upstream gets the login with pages and files; an address that it gives comes without."""
    evil.add_file("flask", "flask-1.0.tar.gz", b"flask")
    client = client_of(with_login(evil.url))
    fetched = await client.fetch_project("flask", Validators())
    assert isinstance(fetched, Fetched)
    assert fetched.project.files[0].url == evil.files_url + "flask-1.0.tar.gz"
    await client.fetch_file(fetched.project.files[0].url, Kept())
    assert [seen.headers["authorization"] for seen in evil.requests] == [BASIC, BASIC]


async def test_not_sent_elsewhere(reactor: Any, evil: EvilUpstream, trap: EvilUpstream, client_of: Make) -> None:
    """
    Another origin never gets the login: not by a redirect, not by a link, and not if it leads back and forth.
    """
    # The second server's address is taken for a public one, so that it is asked at all.
    names = Names({"127.0.0.1": [["127.0.0.1"]], "other.example": [["1.1.1.1"]]})
    using = OwnNames(reactor, names)
    using.connectTCP = lambda host, port, *rest, **options: reactor.connectTCP("127.0.0.1", port, *rest, **options)  # type: ignore[method-assign]  # all hosts are loopback
    client = client_of(with_login(evil.url), using=using)
    other = f"http://other.example:{trap.port}"
    evil.misbehave("/simple/flask/", redirect_to=f"{other}/b/")
    trap.misbehave("/b/", redirect_to="/c/")
    page = json.dumps({"meta": {"api-version": "1.0"}, "name": "flask", "files": []}).encode()
    trap.misbehave("/c/", status=200, body=page, headers={"Content-Type": "application/vnd.pypi.simple.v1+json"})
    trap.misbehave("/d/", redirect_to=f"{evil.origin}/files/x")
    assert isinstance(await client.fetch_project("flask", Validators()), Fetched)
    await client.fetch_file(f"{other}/files/secret-1.0.tar.gz", Kept())
    await failure_of(client.fetch_file(f"{other}/d/", Kept()), CheddarError)
    assert [seen.path for seen in trap.requests] == ["/b/", "/c/", "/files/secret-1.0.tar.gz", "/d/"]
    assert all("authorization" not in seen.headers for seen in trap.requests)
    assert [seen.path for seen in evil.requests] == ["/simple/flask/", "/files/x"]
    assert all(seen.headers["authorization"] == BASIC for seen in evil.requests)


async def test_never_told(evil: EvilUpstream, client_of: Make) -> None:
    """No message, log line, state or representation tells the login."""
    said: list[str] = []

    def observe(event: Any) -> None:
        said.append(formatEvent(event) + repr(event))

    globalLogPublisher.addObserver(observe)
    client = client_of(with_login(evil.url), timeout=0.2)
    faults: list[dict[str, Any]] = [
        {"status": 401},
        {"status": 500},
        {"mute": "reset"},
        {"mute": "hang"},
        {"body": b"{"},
        {"redirect_to": "http://127.0.0.1:1/"},
        {"redirect_to": "/simple/flask/"},
    ]
    for fault in faults:
        evil.misbehave("/simple/flask/", **fault)
        error = await failure_of(client.fetch_project("flask", Validators()), CheddarError)
        said += [str(error), repr(error), repr(error.__cause__), repr(client.state())]
        evil.behave()
        await failure_of(client.fetch_project("unknown", Validators()), CheddarError)
    await evil.stop()
    said += [str(await failure_of(client.fetch_project("flask", Validators()), CheddarError)), repr(client.state())]
    said.append(repr(vars(client)))
    globalLogPublisher.removeObserver(observe)
    assert len(said) > 20
    assert evil.requests[0].headers["authorization"] == BASIC
    for secret in (SECRET, BASIC.removeprefix("Basic ")):
        assert not [line for line in said if secret in line]
