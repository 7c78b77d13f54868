"""The short way to a route leads to the same route as the router's."""

from __future__ import annotations

import itertools
import random
from typing import Any
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import HTTPException

from tests.support.server import CheddarHere
from tests.web.test_connections import site

#: Words that rules have, and others in their place.
WORDS = (
    *("simple", "local", "remote", "files", "project", "pypi", "legacy", "json", "packages", "yanked", "static", "api"),
    *("health", "live", "metrics", "_", "oidc", "audience", "+simple", ".well-known", "pytp", "openapi.json"),
    *("demo", "1.0", "demo-1.0.tar.gz", "%20", "a%2Fb", "%ff", "\u00e4", ""),
)
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")


def paths() -> list[str]:
    """All of up to two words, and a choice of longer ones."""
    chosen = random.Random(5)
    short = [words for length in range(3) for words in itertools.product(WORDS, repeat=length)]
    long = [tuple(chosen.choice(WORDS) for _ in range(length)) for length in (3, 4, 5, 6) for _ in range(1500)]
    files = [(index, "files", *rest) for index in ("local", "remote") for rest in itertools.product(WORDS, repeat=2)]
    ended = [(*words, last) for words in files for last in ("demo-1.0.tar.gz", "json", "yanked")]
    return ["/" + "/".join(words) + end for words in (*short, *long, *ended) for end in ("", "/")]


async def test_the_same_route(cheddar: CheddarHere) -> None:
    """
    For any path and method: where the short way leads anywhere, the router leads to the same route, with the same
    parts. It does lead to pages and files.
    """
    resource: Any = site(cheddar).resource
    shapes, app = resource._shapes, resource._router._app
    found = set()
    for path in paths():
        quoted = path.encode()
        segments = [unquote_to_bytes(segment) for segment in quoted[1:].split(b"/")]
        try:
            text = (b"/" + b"/".join(segments)).decode("utf-8")
        except UnicodeDecodeError:
            text = None
        for method in METHODS:
            short = shapes.find(method.encode(), segments)
            if short is None:
                continue
            assert text is not None
            mapper = app.url_map.bind("localhost", "", path_info=text, default_method=method, url_scheme="http")
            try:
                rule, parts = mapper.match(return_rule=True)
            except HTTPException as error:
                raise AssertionError(f"{method} {path}: the router finds nothing") from error
            handle = app.endpoints[rule.endpoint]
            assert handle.__wrapped__ is short[0], (method, path)
            assert parts == short[1], (method, path)
            found.add(rule.rule)
    assert {"/simple/<project>/", "/local/files/<project>/<digest>/<filename>"} < found
    assert len(found) > 20
