"""An issuer of identity tokens (OpenID Connect), on loopback: signs what it is told to, and hands out its keys."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import rsa

#: What a workflow of GitHub shows to get its token.
REQUEST_TOKEN = "github-gave-this-to-the-job"


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@define(eq=False)
class Issuer:
    """
    @ivar url: what its tokens have for their issuer.
    @ivar down: whether it answers 500 to everything.
    @ivar environment: what its tokens have for it.
    @ivar asked: how often each path was asked for.
    """

    url: str = ""
    down: bool = False
    environment: str = "release"
    asked: Counter[str] = field(factory=Counter)
    keys: dict[str, Any] = field(factory=lambda: {"first": _rsa()})
    configuration: dict[str, str] = field(factory=dict)

    def jwks(self) -> dict[str, Any]:
        """Its public keys."""
        algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
        return {
            "keys": [
                {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": "RS256", "use": "sig"}
                for name, key in self.keys.items()
            ]
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a workflow of GitHub; a claim that is changed to None is left out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "cheddar.example",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": f"{now}-{time.monotonic_ns()}",
            "sub": "repo:acme/web:environment:release",
            "repository": "acme/web",
            "repository_owner_id": "42",
            "job_workflow_ref": "acme/web/.github/workflows/release.yml@refs/tags/1.0",
            "environment": self.environment,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, key: str = "first", **changes: Any) -> str:
        """A token that is right, but for the claims that are changed."""
        return self.sign(self.claims(**changes), self.keys[key], headers={"kid": key})

    def sign(self, claims: dict[str, Any], key: Any, *, algorithm: str = "RS256", headers: Any = None) -> str:
        """Any token."""
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)

    def answer(self, path: str, query: dict[str, list[str]], authorization: str) -> tuple[int, Any]:
        """@return: status and document."""
        self.asked[path] += 1
        if self.down:
            return 500, {}
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.configuration}
        if path == "/keys":
            return 200, self.jwks()
        if path == "/request-token" and authorization == f"bearer {REQUEST_TOKEN}":
            return 200, {"value": self.token(aud=query["audience"][0])}
        return 404, {}


@contextmanager
def issuer() -> Iterator[Issuer]:
    """One that answers."""
    it = Issuer()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            authorization = self.headers.get("Authorization", "").replace("Bearer", "bearer")
            status, document = it.answer(parts.path, parse_qs(parts.query), authorization)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
