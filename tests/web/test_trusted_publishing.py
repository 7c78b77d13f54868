"""Trusted publishing over HTTP: a real issuer signs, and only what it signed for this very project opens it."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import jwt
import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from twisted.internet.defer import gatherResults

from cheddar.auth.passwords import hash_password
from cheddar.deferreds import returns_deferred
from cheddar.model import EventQuery, User
from cheddar.settings import Settings
from cheddar.settings.publishers import read_publishers
from tests.support.distributions import make_wheel
from tests.support.issuer import Issuer, issuer
from tests.support.later import LaterReactor
from tests.support.redis import RedisServer, redis_server
from tests.support.server import PASSWORD, USER, Answer, CheddarHere, basic

__all__ = ["issuing", "redis_server"]

ADDRESS = "http://cheddar.example/"


@pytest.fixture
def issuing() -> Iterator[Issuer]:
    """An issuer."""
    with issuer() as it:
        yield it


def publishers(issuing: Issuer, **changes: Any) -> Any:
    """The table of one publisher."""
    table = {
        "project": "Acme.Web", "kind": "github", "issuer": issuing.url, "repository": "acme/web",
        "workflow": "release.yml", "environment": "release", "owner_id": "42", **changes,
    }  # fmt: skip
    return read_publishers("test", [table])


@pytest.fixture
def settings(tmp_path: Path, issuing: Issuer) -> Settings:
    """One publisher of one project."""
    return Settings(data_dir=tmp_path / "data", index_url="", public_url=ADDRESS, publisher=publishers(issuing))


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Cheddar's clock, and its reactor."""
    return LaterReactor(reactor)


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def cheddar(
    request: Any, clock: LaterReactor, settings: Settings, redis_server: RedisServer
) -> AsyncIterator[CheddarHere]:
    """A running Cheddar, on each store."""
    if request.param == "redis":
        redis_server.command("FLUSHALL")
        settings = attrs.evolve(settings, redis_url=redis_server.url)
    server = await CheddarHere(settings, clock).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


@returns_deferred
async def mint(cheddar: CheddarHere, token: object) -> Answer:
    """Ask for an API token, as uv does."""
    body = json.dumps({"token": token}).encode()
    return await cheddar.ask("POST", "/_/oidc/mint-token", body, {"Content-Type": "application/json"})


def code(answer: Answer) -> str:
    """Why a token was refused, by the code that clients know."""
    assert answer.status == 422, answer
    (error,) = answer.json()["errors"]
    assert error["description"] == answer.json()["detail"]
    return str(error["code"])


async def upload(cheddar: CheddarHere, token: str, project: str, version: str = "1.0") -> Answer:
    """Publish with an API token."""
    return await cheddar.upload(*make_wheel(project, version), authorization=basic("__token__", token))


async def test_from_discovery_to_upload(cheddar: CheddarHere, issuing: Issuer) -> None:
    """What PEP 807 and the public index's clients ask leads to a token that uploads this project, and nothing else."""
    found = await cheddar.ask("GET", "/.well-known/pytp?discover=%2Fpypi%2F")
    assert (found.status, found.json()["audience-endpoint"]) == (200, f"{ADDRESS}_/oidc/audience")
    assert found.json()["token-mint-endpoint"] == f"{ADDRESS}_/oidc/mint-token"
    assert (await cheddar.ask("GET", "/.well-known/pytp?discover=%2Fother%2F")).status == 404
    assert (await cheddar.ask("GET", "/_/oidc/audience")).json() == {"audience": "cheddar.example"}
    minted = await mint(cheddar, issuing.token())
    assert (minted.status, minted.headers["cache-control"]) == (200, "no-store")
    token = minted.json()["token"]
    assert 890 <= minted.json()["expires"] - time.time() <= 901
    assert (await upload(cheddar, token, "acme-web")).status == 200
    assert (await upload(cheddar, token, "acme-web", "2.0")).status == 200
    assert (await upload(cheddar, token, "acme-other")).status == 403
    login = {"Authorization": basic("__token__", token)}
    assert (await cheddar.ask("DELETE", "/simple/acme-web/1.0", None, login)).status == 403
    (minting,) = await cheddar.service.store.events.find(EventQuery(action="token.mint"), 9)
    uploads = await cheddar.service.store.events.find(EventQuery(action="upload", outcome="done"), 9)
    assert {(event.who, event.via) for event in uploads} == {("github:acme/web", minting.via)}
    assert (minting.who, minting.project, minting.address) == ("github:acme/web", "acme-web", "127.0.0.1")
    assert "repo:acme/web" in minting.detail


async def test_who_is_refused_is_noted(cheddar: CheddarHere, issuing: Issuer, settings: Settings) -> None:
    """Where an issuer vouches for the token; what anybody can make up fills no log. And nothing is given unnoted."""
    await mint(cheddar, "x.y.z")
    await mint(cheddar, issuing.token(repository="evil/web"))
    (event,) = await cheddar.service.store.events.find(EventQuery(), 9)
    assert (event.action, event.outcome, event.who) == ("token.mint", "refused", "")
    assert "repository is not acme/web" in event.detail
    settings.audit_file.unlink()
    settings.audit_file.mkdir()
    assert (await mint(cheddar, issuing.token())).status == 507
    assert await cheddar.service.store.tokens.tokens(None) == ()
    settings.audit_file.rmdir()
    assert (await mint(cheddar, issuing.token())).status == 200, "the control"


async def test_a_token_is_good_for_minutes(cheddar: CheddarHere, issuing: Issuer, clock: LaterReactor) -> None:
    """Then it is worth nothing; and before, once it was burnt; other tokens cannot be burnt that way."""
    token = (await mint(cheddar, issuing.token())).json()["token"]
    assert (await upload(cheddar, token, "acme-web")).status == 200
    clock.later(15 * 60 + 1)
    assert (await upload(cheddar, token, "acme-web", "2.0")).status == 401
    now = int(clock.seconds())
    other = (await mint(cheddar, issuing.token(iat=now, nbf=now, exp=now + 300))).json()["token"]
    assert (await upload(cheddar, other, "acme-web", "2.0")).status == 200
    for body in (b"{}", b'{"token": "chd_x"}', json.dumps({"token": other[:-1]}).encode()):
        await cheddar.ask("POST", "/_/oidc/burn-token", body)
    assert (await upload(cheddar, other, "acme-web", "3.0")).status == 200
    assert (await cheddar.ask("POST", "/_/oidc/burn-token", json.dumps({"token": other}).encode())).status == 202
    assert (await upload(cheddar, other, "acme-web", "4.0")).status == 401


WRONG: dict[str, tuple[str, Callable[[Issuer], str]]] = {
    "another audience": ("invalid-audience", lambda it: it.token(aud="pypi")),
    "two audiences": ("invalid-audience", lambda it: it.token(aud=["cheddar.example", "pypi"])),
    "no audience": ("invalid-token", lambda it: it.token(aud=None)),
    "expired": ("expired-token", lambda it: it.token(iat=1, nbf=1, exp=int(time.time()) - 60)),
    "expired a minute ago": (
        "expired-token",
        lambda it: it.token(iat=int(time.time()) - 300, nbf=0, exp=int(time.time()) - 60),
    ),
    "not yet valid": ("expired-token", lambda it: it.token(nbf=int(time.time()) + 300)),
    "valid for ever": ("expired-token", lambda it: it.token(exp=int(time.time()) + 10**8)),
    "no end": ("invalid-token", lambda it: it.token(exp=None)),
    "a time that is none": ("invalid-token", lambda it: it.token(iat=True)),
    "no issuer": ("invalid-issuer", lambda it: it.token(iss=None)),
    "another issuer": ("invalid-issuer", lambda it: it.token(iss="https://evil.example")),
    "another issuer's key": ("invalid-token", lambda it: it.sign(it.claims(), _other(), headers={"kid": "first"})),
    "an unknown key": ("invalid-token", lambda it: it.sign(it.claims(), _other(), headers={"kid": "second"})),
    "no signature": ("invalid-token", lambda it: it.sign(it.claims(), None, algorithm="none")),
    "a shared secret": (
        "invalid-token",
        lambda it: it.sign(it.claims(), "x" * 32, algorithm="HS256", headers={"kid": "first"}),
    ),
    "the public key as a shared secret": ("invalid-token", lambda it: _by_public_key(it)),
    "another algorithm": (
        "invalid-token",
        lambda it: it.sign(
            it.claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "first"}
        ),
    ),
    "a longer hash": (
        "invalid-token",
        lambda it: it.sign(it.claims(), it.keys["first"], algorithm="RS512", headers={"kid": "first"}),
    ),
    "a changed claim": ("invalid-token", lambda it: _tampered(it.token())),
    "no token": ("invalid-token", lambda it: "x.y.z"),
    "nothing": ("invalid-token", lambda it: ""),
    "too long": ("invalid-token", lambda it: it.token(sub="x" * 20_000)),
    "no ASCII": ("invalid-token", lambda it: it.token() + "é"),
    "another repository": ("invalid-publisher", lambda it: it.token(repository="evil/web")),
    "a longer repository": ("invalid-publisher", lambda it: it.token(repository="acme/website")),
    "another workflow": (
        "invalid-publisher",
        lambda it: it.token(job_workflow_ref="acme/web/.github/workflows/test.yml@refs/heads/main"),
    ),
    "a workflow of that name elsewhere": (
        "invalid-publisher",
        lambda it: it.token(job_workflow_ref="evil/web/.github/workflows/release.yml@refs/heads/main"),
    ),
    "another environment": ("invalid-publisher", lambda it: it.token(environment="test")),
    "no environment": ("invalid-publisher", lambda it: it.token(environment=None)),
    "an owner of the same name": ("invalid-publisher", lambda it: it.token(repository_owner_id="43")),
    "an owner that is a number": ("invalid-publisher", lambda it: it.token(repository_owner_id=42)),
}


def _other() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _by_public_key(it: Issuer) -> str:
    # The library refuses to make such a token, so it is made by hand.
    head = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, it.claims()))
    public = it.keys["first"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"{signed}.{_encoded(hmac.digest(pem, signed.encode(), 'sha256'))}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _tampered(token: str) -> str:
    head, _, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    return f"{head}.{jwt.encode({**claims, 'sub': 'other'}, 'x' * 32).split('.')[1]}.{signature}"


async def test_what_opens_nothing(issuing: Issuer, settings: Settings, reactor: Any) -> None:
    """Whatever is wrong with a token, nothing is given; what is right but for that, is."""
    cheddar = await CheddarHere(settings, reactor).start()
    for name, (reason, token) in WRONG.items():
        answer = await mint(cheddar, token(issuing))
        assert (name, code(answer)) == (name, reason)
        assert "chd_" not in answer.body.decode()
    for body in (b"", b"[]", b'{"token": 1}', b"\xff", b'{"other": "x"}'):
        assert (await cheddar.ask("POST", "/_/oidc/mint-token", body)).status == 400
    assert await cheddar.service.store.tokens.tokens(None) == ()
    assert (await mint(cheddar, issuing.token())).status == 200, "the control"
    assert len(await cheddar.service.store.tokens.tokens(None)) == 1
    await cheddar.stop()


async def test_each_is_used_once(cheddar: CheddarHere, issuing: Issuer, clock: LaterReactor) -> None:
    """Of many who show the same token at once, one gets something, and nobody later; without a name of its own too."""
    for token in (issuing.token(), issuing.token(jti=None)):
        answers = await gatherResults([mint(cheddar, token) for _ in range(8)])
        assert sorted(answer.status for answer in answers) == [200] + [422] * 7
    clock.later(300)
    assert code(await mint(cheddar, token)) == "invalid-reuse-token"
    clock.later(60)
    assert code(await mint(cheddar, token)) == "expired-token"


async def test_an_issuer_that_is_down(cheddar: CheddarHere, issuing: Issuer, clock: LaterReactor) -> None:
    """Nobody is told that a token is bad because its issuer is down; keys that are known are used for as long."""
    issuing.down = True
    token = issuing.token(exp=int(time.time()) + 7200)
    answer = await mint(cheddar, token)
    assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
    issuing.down = False
    assert (await mint(cheddar, token)).status == 503, "an issuer is not asked again at once"
    clock.later(61)
    assert (await mint(cheddar, token)).status == 200
    issuing.down = True
    clock.later(3601)
    now = int(clock.seconds())
    assert (await mint(cheddar, issuing.token(iat=now, nbf=now, exp=now + 300))).status == 200


async def test_new_keys_are_fetched(cheddar: CheddarHere, issuing: Issuer, clock: LaterReactor) -> None:
    """A key that nobody knows has the keys fetched once more, once a minute however often it is shown."""
    assert (await mint(cheddar, issuing.token())).status == 200
    assert issuing.asked["/keys"] == 1
    issuing.keys = {"second": _other()}
    clock.later(61)
    assert (await mint(cheddar, issuing.token(key="second"))).status == 200
    assert issuing.asked["/keys"] == 2
    clock.later(61)
    for _ in range(5):
        assert code(await mint(cheddar, issuing.sign(issuing.claims(), _other(), headers={"kid": "x"}))) != ""
    assert issuing.asked["/keys"] == 3


async def test_keys_from_a_file(issuing: Issuer, settings: Settings, reactor: Any, tmp_path: Path) -> None:
    """Then the issuer is never asked, which may be nowhere near."""
    (tmp_path / "keys.json").write_text(json.dumps(issuing.jwks()))
    table = publishers(issuing, jwks_file=str(tmp_path / "keys.json"))
    cheddar = await CheddarHere(attrs.evolve(settings, publisher=table), reactor).start()
    assert (await mint(cheddar, issuing.token())).status == 200
    assert not issuing.asked
    await cheddar.stop()


@pytest.mark.parametrize(
    "configuration",
    [{"issuer": "https://other.example"}, {"jwks_uri": "http://127.0.0.2:1/keys"}, {"jwks_uri": "file:///etc/passwd"}],
)
async def test_an_issuer_that_points_elsewhere(
    issuing: Issuer, settings: Settings, reactor: Any, configuration: dict[str, str]
) -> None:
    """Its keys are those at its own host, or where the settings say."""
    issuing.configuration = configuration
    cheddar = await CheddarHere(settings, reactor).start()
    assert (await mint(cheddar, issuing.token())).status == 503
    await cheddar.stop()
    table = publishers(issuing, jwks_url=f"{issuing.url}/keys")
    cheddar = await CheddarHere(attrs.evolve(settings, publisher=table), reactor).start()
    assert (await mint(cheddar, issuing.token())).status == 200
    await cheddar.stop()


async def test_a_publisher_of_two_projects(issuing: Issuer, settings: Settings, reactor: Any) -> None:
    """A token is for one project: who could mean either is told how to tell them apart."""
    both = (*publishers(issuing), *publishers(issuing, project="acme-api"))
    cheddar = await CheddarHere(attrs.evolve(settings, publisher=both), reactor).start()
    answer = await mint(cheddar, issuing.token())
    assert code(answer) == "invalid-publisher"
    assert "acme-api, acme-web" in answer.json()["detail"]
    await cheddar.stop()


@pytest.mark.parametrize(
    ("table", "claims"),
    [
        (
            {"kind": "gitlab", "repository": "group/sub/web", "environment": "release"},
            {
                "project_path": "group/sub/web", "environment": "release",
                "ci_config_ref_uri": "HOST/group/sub/web//.gitlab-ci.yml@refs/tags/1.0",
            },
        ),
        ({"kind": "google", "email": "ci@acme.example", "subject": "1"},
         {"email": "ci@acme.example", "email_verified": True, "sub": "1"}),
        ({"kind": "kubernetes", "namespace": "ci", "service_account": "publisher"},
         {"sub": "system:serviceaccount:ci:publisher"}),
        ({"kind": "oidc", "subject": "job-7", "claims": {"team": "web"}}, {"sub": "job-7", "team": "web"}),
    ],
)  # fmt: skip
async def test_every_kind(
    issuing: Issuer, settings: Settings, reactor: Any, table: dict[str, Any], claims: dict[str, Any]
) -> None:
    """Each kind is known by its own claims: all of them are needed."""
    host = issuing.url.partition("://")[2]
    claims = {name: value.replace("HOST", host) if isinstance(value, str) else value for name, value in claims.items()}
    base = {"repository": None, "repository_owner_id": None, "job_workflow_ref": None, "environment": None, "sub": "x"}
    found = read_publishers("test", [{"project": "acme-web", "issuer": issuing.url, **table}])
    cheddar = await CheddarHere(attrs.evolve(settings, publisher=found), reactor).start()
    for name in claims:
        assert code(await mint(cheddar, issuing.token(**{**base, **claims, name: "other"}))) == "invalid-publisher"
    assert (await mint(cheddar, issuing.token(**{**base, **claims}))).status == 200
    await cheddar.stop()


async def test_nobody_is_trusted(settings: Settings, reactor: Any) -> None:
    """Without publishers clients are told that there is no such thing here: 404."""
    cheddar = await CheddarHere(attrs.evolve(settings, publisher=()), reactor).start()
    for method, path in (
        ("GET", "/.well-known/pytp?discover=%2Fpypi%2F"),
        ("GET", "/_/oidc/audience"),
        ("POST", "/_/oidc/mint-token"),
    ):
        assert (await cheddar.ask(method, path, b"{}" if method == "POST" else None)).status == 404
    await cheddar.stop()
