"""Which request needs what: every route's action, and who is let through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import pytest_twisted
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.web.test.requesthelper import DummyChannel
from werkzeug.routing import Rule

from cheddar.auth.passwords import hash_password
from cheddar.errors import NotFound
from cheddar.model import User
from cheddar.settings import Settings
from cheddar.web import site
from cheddar.web.access import Routes, UnstatedRoute, to_its_end
from cheddar.web.request import CheddarRequest
from cheddar.web.status import status_routes
from tests.support.distributions import make_wheel
from tests.support.server import PASSWORD, USER, CheddarHere, basic, upload_form

#: Every rule there is: its methods, what a request for it does, and to which index. A new route belongs in here.
ROUTES = {
    ("/", "GET HEAD", "read", "combined"),
    ("/simple/", "GET HEAD", "read", "combined"),
    ("/simple/<project>/", "GET HEAD", "read", "combined"),
    ("/local/simple/", "GET HEAD", "read", "local"),
    ("/local/simple/<project>/", "GET HEAD", "read", "local"),
    ("/remote/simple/", "GET HEAD", "read", "remote"),
    ("/remote/simple/<project>/", "GET HEAD", "read", "remote"),
    ("/<any(pypi, legacy):base>/+simple/<project>/", "GET HEAD", "read", "local"),
    ("/project/<project>/", "GET HEAD", "read", "combined"),
    ("/simple/<project>/<version>", "GET HEAD", "read", "local"),
    ("/local/files/<project>/<digest>/<filename>", "GET HEAD", "read", "local"),
    ("/remote/files/<project>/<digest>/<filename>", "GET HEAD", "read", "remote"),
    ("/packages/<any(local, remote):index>/files/<project>/<digest>/<filename>", "GET HEAD", "read", "combined"),
    ("/local/<filename>", "GET HEAD", "read", "local"),
    ("/remote/<path:path>", "GET HEAD", "read", "remote"),
    ("/pypi/", "POST", "upload", "local"),
    ("/legacy/", "POST", "upload", "local"),
    ("/simple/<project>/<version>", "DELETE", "delete", "local"),
    ("/simple/<project>/<version>/<filename>", "DELETE", "delete", "local"),
    ("/simple/<project>/<version>/yanked", "PUT", "yank", "local"),
    ("/simple/<project>/<version>/yanked", "DELETE", "yank", "local"),
    ("/<any(pypi, legacy):base>/<project>/", "GET HEAD", "read", "combined"),
    ("/<any(pypi, legacy):base>/<project>/<version>/", "GET HEAD", "read", "local"),
    ("/pypi/<project>/json", "GET HEAD", "read", "combined"),
    ("/pypi/<project>/<version>/json", "GET HEAD", "read", "combined"),
    ("/static/<name>", "GET HEAD", "observe", "combined"),
    ("/health/live", "GET HEAD", "observe", "combined"),
    ("/health/ready", "GET HEAD", "observe", "combined"),
    ("/metrics", "GET HEAD", "observe", "combined"),
    ("/api/openapi.json", "GET HEAD", "observe", "combined"),
    ("/.well-known/pytp", "GET HEAD", "identify", "local"),
    ("/_/oidc/audience", "GET HEAD", "identify", "local"),
    ("/_/oidc/mint-token", "POST", "identify", "local"),
    ("/_/oidc/burn-token", "POST", "identify", "local"),
}

#: For each rule with GET an address that answers 200 once the wheel is there.
ADDRESSES = {
    "/": "/",
    "/simple/": "/simple/",
    "/simple/<project>/": "/simple/demo/",
    "/local/simple/": "/local/simple/",
    "/local/simple/<project>/": "/local/simple/demo/",
    "/remote/simple/": "/remote/simple/",
    "/remote/simple/<project>/": "/remote/simple/flask/",
    "/<any(pypi, legacy):base>/+simple/<project>/": "/pypi/+simple/demo/",
    "/project/<project>/": "/project/demo/",
    "/simple/<project>/<version>": "/simple/demo/1.0",
    "/local/files/<project>/<digest>/<filename>": "{local}",
    "/remote/files/<project>/<digest>/<filename>": "{remote}",
    "/packages/<any(local, remote):index>/files/<project>/<digest>/<filename>": "/packages{local}",
    "/local/<filename>": "/local/demo-1.0-py3-none-any.whl",
    "/pypi/<project>/json": "/pypi/demo/json",
    "/pypi/<project>/<version>/json": "/pypi/demo/1.0/json",
    "/static/<name>": "{static}",
    "/health/live": "/health/live",
    "/health/ready": "/health/ready",
    "/metrics": "/metrics",
    "/api/openapi.json": "/api/openapi.json",
}


def routes_of(server: CheddarHere) -> set[tuple[str, str, str, str]]:
    """What is registered, read off the map that requests are matched with."""
    (port,) = server.service.ports
    found = set()
    for rule in port.factory.resource._router._app.url_map.iter_rules():  # type: ignore[attr-defined]  # no interface of a port has its factory
        action, index, *methods, named = str(rule.endpoint).split(" ", 2 + len(rule.methods or ()))
        assert named == rule.rule, "registered by the one way that asks for an action"
        assert set(methods) == rule.methods
        found.add((rule.rule, " ".join(methods), action, index))
    return found


@pytest_twisted.async_yield_fixture
async def private(reactor: Any, settings: Settings) -> AsyncIterator[CheddarHere]:
    """A Cheddar whose readers log in, and may be wrong as often as there are routes."""
    patient = attrs.evolve(settings, read_auth=True, failed_logins=200, failed_logins_per_address=200)
    server = await CheddarHere(patient, reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


async def addresses(server: CheddarHere, upstream: Any) -> dict[str, str]:
    """Publish a wheel, have one upstream, and give L{ADDRESSES} of what is there then."""
    login = {"Authorization": basic(), "Accept": "application/vnd.pypi.simple.v1+json"}
    assert (await server.upload(*make_wheel("demo", "1.0"))).status == 200
    upstream.add_file("flask", *make_wheel("flask", "3.0"))
    found = {}
    for name, page in (("local", "/simple/demo/"), ("remote", "/simple/flask/")):
        (file,) = (await server.ask("GET", page, headers=login)).json()["files"]
        found[name] = file["url"].removeprefix("../..")
    home = (await server.ask("GET", "/", headers={**login, "Accept": "text/html"})).body.decode()
    found["static"] = "/static/" + home.partition('href="static/')[2].partition('"')[0]
    return {rule: address.format(**found) for rule, address in ADDRESSES.items()}


async def test_every_route_states_its_action(private: CheddarHere) -> None:
    """The whole surface is this table: nothing is served without a decision, and nothing changes by reading."""
    assert routes_of(private) == ROUTES
    # Those that answer no 200 here: they say that an address is gone, send people on, or are not offered.
    others = {
        "/.well-known/pytp",
        "/_/oidc/audience",
        "/remote/<path:path>",
        "/<any(pypi, legacy):base>/<project>/",
        "/<any(pypi, legacy):base>/<project>/<version>/",
    }
    assert {rule for rule, methods, *_ in ROUTES if "GET" in methods} - set(ADDRESSES) == others


async def test_a_route_without_an_action_stops_the_start(
    settings: Settings, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route that was registered around the one way, or answers more methods than it said: nothing is served."""

    def added(change: Callable[[Klein], object]) -> None:
        def register(routes: Routes, *args: Any) -> None:
            status_routes(routes, *args)
            change(routes._app)

        monkeypatch.setattr(site, "status_routes", register)

    def more_methods(app: Klein) -> None:
        rule = next(app.url_map.iter_rules())
        app.url_map.add(Rule("/also", methods=["POST"], endpoint=rule.endpoint))

    for change, route in (
        (lambda app: app.route("/around")(lambda request: b""), "/around"),
        (more_methods, r"/also \(POST\)"),
        (lambda app: None, None),
    ):
        added(change)
        server = CheddarHere(settings, reactor)
        if route is None:
            await server.start()  # the control
        else:
            with pytest.raises(UnstatedRoute, match=route):
                await server.service._start()
        await server.service.stopService()
        server._clients.stop()


@pytest.mark.deadline(60)
async def test_private_reading_needs_a_login(private: CheddarHere, upstream: Any) -> None:
    """With READ_AUTH all but health, metrics and style sheets is for users, and no cache may give it to others."""
    where = await addresses(private, upstream)
    login = {"Authorization": basic()}
    for rule, methods, action, _ in sorted(ROUTES):
        if "GET" not in methods or action == "identify":
            continue
        path = where.get(rule, "/remote/x")
        for method in ("GET", "HEAD"):
            anonymous = await private.ask(method, path)
            assert anonymous.status == (200 if action == "observe" else 401), (method, path)
            wrong = await private.ask(method, path, headers={"Authorization": basic(USER, "wrong")})
            assert wrong.status == (200 if action == "observe" else 401), (method, path)
            known = await private.ask(method, path, headers=login)
            assert known.status == (200 if rule in where else 404), (method, path)
            if action == "read" and known.status == 200:
                assert known.headers["cache-control"].startswith("private, "), path
    for path in ("/simple/Demo/", "/simple", "/simple/nothing/", "/local/nothing-1.0.tar.gz"):
        assert (await private.ask("GET", path)).status == 401, "not even whether it is there"
    assert (await private.ask("GET", "/simple/nothing/", headers=login)).status == 404, "the control"


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_changes_need_a_login(cheddar: CheddarHere) -> None:
    """Where everybody may read, who changes something logs in all the same."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    body, content_type = upload_form(*make_wheel("demo", "1.1"))
    for rule, methods, action, _ in sorted(ROUTES):
        if action in ("read", "observe", "identify"):
            continue
        path = rule.replace("<project>", "demo").replace("<version>", "1.0")
        path = path.replace("<filename>", "demo-1.0-py3-none-any.whl")
        for authorization in (None, basic(USER, "wrong"), "Bearer abc"):
            headers = {"Content-Type": content_type, **({"Authorization": authorization} if authorization else {})}
            assert (await cheddar.ask(methods, path, body, headers)).status == 401, (methods, path)
    assert (await cheddar.ask("GET", "/simple/demo/1.0")).status == 200
    assert (await cheddar.ask("GET", "/simple/demo/1.1")).status == 404


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_pages_of_other_sites_change_nothing(cheddar: CheddarHere) -> None:
    """
    A browser sends the login it remembers with whatever a page makes it ask for: what comes from another site's page
    is refused, a tool's request and this site's own are not.
    """
    body, content_type = upload_form(*make_wheel("demo", "1.0"))
    login = {"Authorization": basic(), "Content-Type": content_type}
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://cheddar.example.evil"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        refused = await cheddar.ask("POST", "/pypi/", body, {**login, **foreign})
        assert refused.status == 403, foreign
        assert (await cheddar.ask("DELETE", "/simple/demo/1.0", headers={**login, **foreign})).status == 403
        assert (await cheddar.ask("GET", "/simple/", headers=foreign)).status == 200, "reading changes nothing"
    assert (await cheddar.ask("GET", "/simple/demo/1.0")).status == 404
    own = {**login, "Origin": "http://cheddar.example", "Sec-Fetch-Site": "same-origin"}
    assert (await cheddar.ask("POST", "/pypi/", body, own)).status == 200
    assert (await cheddar.ask("DELETE", "/simple/demo/1.0", headers=login)).status == 200


@pytest.mark.deadline(60)
@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_head_is_get_without_the_body(cheddar: CheddarHere, upstream: Any) -> None:
    """At every address: the same status and headers, the length of what GET would send among them."""
    where = await addresses(cheddar, upstream)
    await gatherResults([cheddar.ask("GET", path) for path in where.values()])
    volatile = {"date", "age"}  # both go on by the second
    for path in (*where.values(), "/simple/nothing/", "/nothing", "/simple", "/pypi/", "/remote/x?base=http://x/"):
        get, head = await cheddar.ask("GET", path), await cheddar.ask("HEAD", path)
        assert head.body == b""
        assert head.status == get.status, path
        if path in ("/metrics", "/health/ready"):
            continue  # it counts its own requests
        assert {name: value for name, value in head.headers.items() if name not in volatile} == {
            name: value for name, value in get.headers.items() if name not in volatile
        }, path
        assert ("age" in head.headers) == ("age" in get.headers), path
        assert get.headers["content-length"] == str(len(get.body))
        assert get.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("cheddar", ["sqlite"], indirect=True)
async def test_what_is_counted_is_bounded(cheddar: CheddarHere) -> None:
    """Whatever clients make up, the metrics name known methods and routes; an upload that is refused is in them."""
    for number in range(20):
        await cheddar.ask(f"MADEUP{number}", f"/made/up/{number}")
        await cheddar.ask(f"MADEUP{number}", "/simple/")
    body, content_type = upload_form(*make_wheel("demo", "1.0", size=500_000))
    assert (await cheddar.ask("POST", "/legacy", body, {"Content-Type": content_type})).status == 401
    counted = (await cheddar.ask("GET", "/metrics")).body.decode()
    assert "MADEUP" not in counted
    assert "/made" not in counted
    assert 'cheddar_http_requests_total{method="other",route="none",status="404"}' in counted
    assert 'cheddar_http_requests_total{method="POST",route="/legacy/",status="401"}' in counted


def test_a_change_outlives_its_client(nothing_left_behind: list[Any]) -> None:
    """
    Who asked may leave: the change goes on. That it came to nothing is then noted, and no alarm; what nobody foresaw
    is one.
    """

    def left_by(gone: bool, error: Exception) -> tuple[list[Any], list[type]]:
        request = CheddarRequest(DummyChannel(), False)
        request.gone = gone
        change: Deferred[None] = Deferred()
        told: list[Any] = []
        waiter = to_its_end(request, change).addErrback(lambda failure: told.append(failure.type))
        if gone:
            waiter.cancel()
        change.errback(error)
        alarms = [failure.type for failure in nothing_left_behind]
        nothing_left_behind.clear()
        return told, alarms

    assert left_by(False, NotFound("Nothing there.")) == ([NotFound], [])
    assert left_by(True, NotFound("Nothing there.")) == ([CancelledError], [])
    assert left_by(True, ZeroDivisionError()) == ([CancelledError], [ZeroDivisionError])
