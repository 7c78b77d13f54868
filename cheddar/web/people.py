"""The addresses that people visit: the front page, a project, a release; and the original's JSON beside them."""

from __future__ import annotations

from urllib.parse import quote

from cheddar.errors import NotFound
from cheddar.formats import legacy_json
from cheddar.formats.negotiation import wants_legacy_json
from cheddar.model import Action, normalize_version
from cheddar.names import is_project_name, normalize
from cheddar.web.access import Routes
from cheddar.web.indexes import Shown
from cheddar.web.pages import CONTENT_SECURITY_POLICY, Pages
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Lasting, Response, page_etag
from cheddar.web.simple import argument, lasting, misspelled

#: How many names a search shows.
FOUND_MOST = 200


def people_routes(routes: Routes, shown: Shown, pages: Pages) -> None:
    """Register the pages for people."""

    def page(
        private: bool, body: bytes, content_type: str = "text/html; charset=utf-8", lasting: Lasting | None = None
    ) -> Response:
        return Response(
            lasting=lasting,
            body=body,
            content_type=content_type,
            etag=page_etag(body),
            headers={
                "Cache-Control": f"{'private' if private else 'public'}, max-age=0, must-revalidate",
                "Vary": "Accept, Authorization" if private else "Accept",
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            },
        )

    def as_json(request: CheddarRequest) -> bool:
        accept = request.requestHeaders.getRawHeaders(b"accept", [])
        return wants_legacy_json([value.decode("latin-1") for value in accept])

    @routes.authorized_route(Action.READ, "/")
    async def home(request: CheddarRequest) -> Response:
        indexes, private = shown.to(request), request.private("combined")
        history = await indexes.local.history()
        if as_json(request):
            return page(private, legacy_json.history(history), "application/json", Lasting(None))
        query = (argument(request, "q") or "").strip()[:200]
        found, owned = None, False
        if query:
            wanted = normalize(query)
            names = await indexes.combined.project_names()
            found = tuple(sorted((name for name in names if wanted in name), key=lambda name: (len(name), name)))
            seen = request.sight is not None and request.sight.sees(wanted)
            owned = is_project_name(query) and seen and await indexes.local.owns(wanted)
        body = pages.home(history, query, found[:FOUND_MOST] if found is not None else None, "", owned)
        return page(private, body, lasting=Lasting(None))

    @routes.authorized_route(Action.READ, "/project/<project>/")
    async def project(request: CheddarRequest, project: str) -> Response:
        elsewhere = misspelled(request, project)
        if elsewhere is not None:
            return elsewhere
        combined = shown.to(request).combined
        found = await combined.project(project)
        private = request.private("combined", project) or request.private(found.index, project)
        body = await pages.long_project(found, found.index == "local", "../../")
        return page(private, body, lasting=lasting(found, combined))

    @routes.authorized_route(Action.READ, "/simple/<project>/<version>", index="local")
    async def release(request: CheddarRequest, project: str, version: str) -> Response:
        if not is_project_name(project):
            raise NotFound("That is not a valid project name.")
        name, version = normalize(project), normalize_version(version)
        files, metadata = await shown.to(request).local.release_metadata(name, version)
        private = request.private("local", name)
        # What could not be read now may be there behind the next request.
        known = Lasting(name) if metadata is not None else None
        if as_json(request):
            body = legacy_json.release(name, version, files, metadata)
            return page(private, body, "application/json", known)
        description = await pages.render_description(metadata) if metadata is not None else None
        root = "../" * (request.path.count(b"/") - 1)
        body = pages.release(name, version, files, metadata, description, root)
        return page(private, body, lasting=known)

    # hatch and flit print these addresses, below the one they uploaded to, for people to look at.
    @routes.authorized_route(Action.READ, "/<any(pypi, legacy):base>/<project>/")
    async def printed_project(request: CheddarRequest, base: str, project: str) -> Response:
        if not is_project_name(project):
            raise NotFound("There is nothing at this address.")
        return _elsewhere(request, f"project/{normalize(project)}/")

    @routes.authorized_route(Action.READ, "/<any(pypi, legacy):base>/<project>/<version>/", index="local")
    async def printed_release(request: CheddarRequest, base: str, project: str, version: str) -> Response:
        name, version = normalize(project), normalize_version(version)
        await shown.to(request).local.release_metadata(name, version)
        return _elsewhere(request, f"simple/{name}/{quote(version)}")

    @routes.authorized_route(Action.OBSERVE, "/static/<name>")
    async def static(request: CheddarRequest, name: str) -> Response:
        content = pages.static(name)
        if content is None:
            raise NotFound("There is no such file.")
        body, content_type = content
        return Response(
            body=body,
            content_type=content_type,
            etag=page_etag(body),
            headers={"Cache-Control": "public, max-age=3600"},
        )


def _elsewhere(request: CheddarRequest, path: str) -> Response:
    """Send a person on, for this time, to C{path} below the root."""
    root = "../" * (request.path.count(b"/") - 1)
    return Response(status=302, headers={"Location": root + path, "Cache-Control": "no-store"})
