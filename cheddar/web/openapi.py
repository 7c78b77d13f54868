"""A description of the whole HTTP surface (OpenAPI 3.1), made of the routes as they are registered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from cheddar import __version__
from cheddar.model import Action

PATH = "/api/openapi.json"

_PART = re.compile(r"<(?:(?P<kind>any|path)(?:\((?P<values>[^)]*)\))?:)?(?P<name>\w+)>")

_PAGES = (
    "application/vnd.pypi.simple.v1+json",
    "application/vnd.pypi.simple.v1+html",
    "text/html",
    "application/json",
)
_JSON = ("application/json",)
_TEXT = ("text/plain",)
_PEOPLE = ("text/html", "application/json")

#: What each rule is for, and the media types of a good answer.
_RULES: Mapping[str, tuple[str, Sequence[str]]] = {
    "/": ("Recent uploads, for people or as JSON.", _PEOPLE),
    "/project/<project>/": ("A project and its releases, for people.", ("text/html",)),
    "/static/<name>": ("What the pages for people consist of.", ("*/*",)),
    "/simple/": ("The projects of the combined index.", _PAGES),
    "/local/simple/": ("The projects of the local index.", _PAGES),
    "/remote/simple/": ("The projects of upstream's that are remembered.", _PAGES),
    "/simple/<project>/": ("A project's page (PEP 503, PEP 691).", _PAGES),
    "/local/simple/<project>/": ("The page of a local project.", _PAGES),
    "/remote/simple/<project>/": ("The page of a project of upstream's.", _PAGES),
    "/<any(pypi, legacy):base>/+simple/<project>/": ("A project's page, where hatch looks for it.", _PAGES),
    "/simple/<project>/<version>": ("A release (GET); remove it (DELETE).", (*_PEOPLE, "text/plain")),
    "/simple/<project>/<version>/<filename>": ("Remove one file.", _TEXT),
    "/simple/<project>/<version>/yanked": ("Yank a release for a reason (PUT), or take that back (DELETE).", _TEXT),
    "/local/files/<project>/<digest>/<filename>": ("The bytes of a local file, or its .metadata.", ("*/*",)),
    "/remote/files/<project>/<digest>/<filename>": ("The bytes of a file of upstream's, or its .metadata.", ("*/*",)),
    "/packages/<any(local, remote):index>/files/<project>/<digest>/<filename>": (
        "The bytes of a file, where mirrors look for it.",
        ("*/*",),
    ),
    "/local/<filename>": ("The bytes of a local file, as the first Cheddar named it.", ("*/*",)),
    "/remote/<path:path>": ("410: no address comes from the client.", ("*/*",)),
    "/pypi/": ("Upload or register (the legacy upload API).", _TEXT),
    "/legacy/": ("Upload or register, at its other address.", _TEXT),
    "/pypi/<project>/json": ("A project as the JSON API has it.", _JSON),
    "/pypi/<project>/<version>/json": ("A release as the JSON API has it.", _JSON),
    "/<any(pypi, legacy):base>/<project>/": ("Where a tool says that a project is after an upload.", ("*/*",)),
    "/<any(pypi, legacy):base>/<project>/<version>/": ("Where a tool says that a release is.", ("*/*",)),
    "/.well-known/pytp": ("Where identity tokens are exchanged (PEP 807).", ("application/vnd.pypi.pytp.v1+json",)),
    "/_/oidc/audience": ("The audience that identity tokens must have.", _JSON),
    "/_/oidc/mint-token": ("Exchange an identity token for an API token.", _JSON),
    "/_/oidc/burn-token": ("Revoke an API token that was exchanged.", _JSON),
    "/health/live": ("Whether the process answers.", _TEXT),
    "/health/ready": ("Whether it can serve; the state of all that it depends on.", _JSON),
    "/metrics": ("Metrics for Prometheus.", _TEXT),
    PATH: ("This description.", _JSON),
}
#: Bodies of requests, by method and rule.
_UPLOAD = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": [":action", "content"],
            "properties": {
                ":action": {"type": "string", "enum": ["file_upload", "submit", "verify"]},
                "name": {"type": "string"},
                "version": {"type": "string"},
                "sha256_digest": {"type": "string"},
                "content": {"type": "string", "format": "binary"},
            },
        }
    }
}
_TOKEN = {
    "application/json": {
        "schema": {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}
    }
}
_REASON = {"text/plain": {"schema": {"type": "string", "maxLength": 1000}}}
_BODIES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("POST", "/pypi/"): _UPLOAD,
    ("POST", "/legacy/"): _UPLOAD,
    ("POST", "/_/oidc/mint-token"): _TOKEN,
    ("POST", "/_/oidc/burn-token"): _TOKEN,
    ("PUT", "/simple/<project>/<version>/yanked"): _REASON,
}
_EXAMPLES = {"project": "demo", "version": "1.0", "filename": "demo-1.0-py3-none-any.whl", "digest": "0" * 64}
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


class UndescribedRoute(Exception):
    """A route was registered that says nothing of itself in the description."""


@frozen
class Operation:
    """
    What is answered.

    @ivar rule: a werkzeug rule. @ivar methods: the HTTP methods. @ivar action: what a request for it does.
    """

    rule: str
    methods: tuple[str, ...]
    action: Action


def description_of(operations: Sequence[Operation], address: str) -> bytes:
    """
    The description.

    @param address: this server's own, with a slash at its end.
    @raise UndescribedRoute: of one of them nothing is said here.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        if operation.rule not in _RULES:
            raise UndescribedRoute(f"The route {operation.rule} is not in the description of the HTTP surface.")
        path = _PART.sub(r"{\g<name>}", operation.rule)
        for method in operation.methods:
            paths.setdefault(path, {})[method.lower()] = _operation(operation, method)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Cheddar",
            "version": __version__,
            "description": "A Python package index: the Simple API, uploads, and what belongs to them.",
        },
        "servers": [{"url": address.rstrip("/")}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {"Problem": _PROBLEM},
        },
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _operation(operation: Operation, method: str) -> dict[str, Any]:
    summary, media_types = _RULES[operation.rule]
    good: dict[str, Any] = {"description": "Well."}
    if method != "HEAD":
        good["content"] = {media_type: {} for media_type in media_types}
    problem = {
        "description": "What is wrong, and what to do: 4xx of the request, 502 and 503 of upstream or the store.",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
            "text/html": {},
            "application/json": {},
        },
    }
    said: dict[str, Any] = {
        "summary": summary,
        "operationId": f"{method.lower()} {operation.rule}",
        "tags": [operation.action.value],
        "parameters": [_parameter(match) for match in _PART.finditer(operation.rule)],
        "responses": {"2XX": good, "3XX": {"description": "Elsewhere, or as it was."}, "default": problem},
    }
    if operation.action not in (Action.OBSERVE, Action.IDENTIFY):
        logins: list[dict[str, list[str]]] = [{"basic": []}, {"token": []}]
        said["security"] = [{}, *logins] if operation.action is Action.READ else logins
    if (method, operation.rule) in _BODIES:
        said["requestBody"] = {"required": True, "content": _BODIES[method, operation.rule]}
    return said


def _parameter(match: re.Match[str]) -> dict[str, Any]:
    name = match["name"]
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if match["kind"] == "any":
        schema["enum"] = [value.strip() for value in match["values"].split(",")]
    elif name in _EXAMPLES:
        schema["examples"] = [_EXAMPLES[name]]
    return {"name": name, "in": "path", "required": True, "schema": schema}
