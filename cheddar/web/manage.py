"""The REST API for what was published by mistake: remove, yank, un-yank."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from cheddar.errors import Invalid, NotFound
from cheddar.interfaces import IPublishable
from cheddar.model import Action, Event, Selector, normalize_version
from cheddar.names import is_filename, is_project_name, normalize
from cheddar.web.access import Routes, to_its_end
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Response, request_header

MAX_REASON = 1000

Change = Callable[[str, Selector], Deferred[int]]


def manage_routes(routes: Routes, local: IPublishable) -> None:
    """Register the addresses that change what is published."""

    async def change(
        request: CheddarRequest, action: str, project: str, selector: Selector, make: Change, detail: str = ""
    ) -> Response:
        event = Event(
            action=action,
            project=project,
            filename=selector.filename or "",
            detail=" ".join(part for part in (selector.version, detail) if part),
        )
        await to_its_end(request, routes.audited.change(request, event, lambda: make(project, selector)))
        return Response(headers={"Cache-Control": "no-store"})

    @routes.authorized_route(Action.DELETE, "/simple/<project>/<version>", index="local", methods=("DELETE",))
    async def remove_release(request: CheddarRequest, project: str, version: str) -> Response:
        selector = Selector(normalize_version(version))
        return await change(request, "delete", _project(project), selector, local.remove)

    @routes.authorized_route(
        Action.DELETE, "/simple/<project>/<version>/<filename>", index="local", methods=("DELETE",)
    )
    async def remove_file(request: CheddarRequest, project: str, version: str, filename: str) -> Response:
        if not is_filename(filename):
            raise NotFound("There is no such file.")
        selector = Selector(normalize_version(version), filename)
        return await change(request, "delete", _project(project), selector, local.remove)

    @routes.authorized_route(Action.YANK, "/simple/<project>/<version>/yanked", index="local", methods=("PUT",))
    async def yank(request: CheddarRequest, project: str, version: str) -> Response:
        reason = _reason(request)
        selector = Selector(normalize_version(version))
        mark = partial(_mark, local, reason)
        return await change(request, "yank", _project(project), selector, mark, reason)

    @routes.authorized_route(Action.YANK, "/simple/<project>/<version>/yanked", index="local", methods=("DELETE",))
    async def unyank(request: CheddarRequest, project: str, version: str) -> Response:
        selector = Selector(normalize_version(version))
        return await change(request, "unyank", _project(project), selector, partial(_mark, local, None))


def _mark(local: IPublishable, reason: str | None, project: str, selector: Selector) -> Deferred[int]:
    marked: Deferred[int] = local.yank(project, selector, reason)
    return marked


def _project(name: str) -> str:
    if not is_project_name(name):
        raise NotFound("That is not a valid project name.")
    return normalize(name)


def _reason(request: CheddarRequest) -> str:
    """The reason for a yank (PEP 592): the body as plain text, or the C{reason} of a JSON object."""
    content_type = (request_header(request, "content-type") or "text/plain").partition(";")[0].strip().lower()
    try:
        text = request.small_body().decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("The reason is not valid UTF-8.") from None
    if content_type == "application/json":
        try:
            document = json.loads(text or "{}")
        except (ValueError, RecursionError):
            raise Invalid('The body is not JSON. Send {"reason": "..."}, or the reason as text/plain.') from None
        reason = document.get("reason") or "" if isinstance(document, dict) else None
        if not isinstance(reason, str):
            raise Invalid('The body is not of the form {"reason": "..."}.')
        text = reason
    elif content_type not in ("text/plain", "application/x-www-form-urlencoded"):
        # curl labels any -d with the form's type.
        raise Invalid("Send the reason as text/plain or as application/json.")
    text = text.strip()
    if len(text) > MAX_REASON or not all(map(_is_plain, text)):
        raise Invalid(f"A reason has at most {MAX_REASON} characters, none of them a control character.")
    return " ".join(text.split())


def _is_plain(char: str) -> bool:
    # JSON can spell half a character (a lone surrogate), which no page and no store can hold.
    return char in "\t\n\r" or (ord(char) >= 32 and not "\ud800" <= char <= "\udfff")
