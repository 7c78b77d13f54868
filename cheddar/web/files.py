"""Files: their bytes, their core metadata and their provenance, at addresses that carry a digest."""

from __future__ import annotations

from math import inf
from urllib.parse import quote

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from cheddar.errors import Gone, NotFound
from cheddar.formats import filenames, provenance
from cheddar.formats.links import digest_segment
from cheddar.interfaces import IStoredFile
from cheddar.model import Action
from cheddar.names import is_digest_segment, is_filename, is_project_name, normalize
from cheddar.web.access import Routes
from cheddar.web.indexes import Shown
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Lasting, Response, page_etag
from cheddar.web.simple import for_scripts

_METADATA = ".metadata"

#: A file name without its project can be read in several ways; one full of dashes would cost as many questions.
_MOST_READINGS = 8


#: Seconds for which what upstream lists is not looked at again before what belongs to one of its files is given out.
_LISTED = 600.0


def file_routes(routes: Routes, shown: Shown, clock: IReactorTime) -> None:
    """Register the addresses of files. What takes a login to get, the client's own cache alone may keep."""

    def file_response(file: IStoredFile, filename: str, etag: str, private: bool, for_ever: bool) -> Response:
        return Response(
            file=file,
            content_type="application/octet-stream",
            etag=etag,
            # A date tells apart what lay at an address on different days; only a digest in it says that nothing else
            # ever does.
            last_modified=file.published_at if for_ever else None,
            headers={
                "Cache-Control": _kept(private, for_ever),
                # A page among the files must not act in the name of this server.
                "Content-Disposition": f"attachment; filename={quote(filename)}",
                "Content-Security-Policy": "sandbox; default-src 'none'",
                **for_scripts(private),
            },
        )

    # Two rules, not one with <any(...)>: werkzeug would take /remote/<path> for the better match.
    @routes.authorized_route(Action.READ, "/local/files/<project>/<digest>/<filename>", index="local")
    async def local_file(request: CheddarRequest, project: str, digest: str, filename: str) -> Response:
        return await served(request, "local", project, digest, filename)

    @routes.authorized_route(Action.READ, "/remote/files/<project>/<digest>/<filename>", index="remote")
    async def remote_file(request: CheddarRequest, project: str, digest: str, filename: str) -> Response:
        return await served(request, "remote", project, digest, filename)

    # The addresses that the JSON API gives, for mirrors: see formats.links.
    @routes.authorized_route(Action.READ, "/packages/<any(local, remote):index>/files/<project>/<digest>/<filename>")
    async def mirrored_file(request: CheddarRequest, index: str, project: str, digest: str, filename: str) -> Response:
        return await served(request, index, project, digest, filename)

    async def served(request: CheddarRequest, index: str, project: str, digest: str, filename: str) -> Response:
        _no_base(request)
        beside = next((suffix for suffix in (_METADATA, provenance.SUFFIX) if filename.endswith(suffix)), "")
        filename = filename.removesuffix(beside)
        if not (is_project_name(project) and is_digest_segment(digest) and is_filename(filename)):
            raise NotFound("There is no such file.")
        if normalize(project) != project or request.path.endswith(b"/"):
            raise NotFound("There is no such file; its project's page has its address.")
        part, private = shown.to(request).named(index), request.private(index, project)
        for_ever = not digest.startswith("url-")
        if beside == provenance.SUFFIX:
            raw = await part.provenance(project, filename, digest)
            # Whatever the digest in the address says: attestations may be added later (index hosted attestations,
            # "Changes to provenance objects").
            return Response(
                body=raw,
                content_type=provenance.CONTENT_TYPE,
                etag=page_etag(raw),
                headers={"Cache-Control": _kept(private, False), **for_scripts(private)},
            )
        if beside == _METADATA:
            raw = await part.core_metadata(project, filename, digest)
            return Response(
                body=raw,
                content_type="text/plain; charset=utf-8",
                etag=page_etag(raw),
                headers={"Cache-Control": _kept(private, for_ever), **for_scripts(private)},
                lasting=Lasting(project, inf if index == "local" else clock.seconds() + _LISTED),
            )
        response = file_response(await part.file(project, filename, digest), filename, digest, private, for_ever)
        # Not for ever: what is wrong with the bytes is not told of as a change.
        return evolve(response, lasting=Lasting(project, clock.seconds() + _LISTED)) if for_ever else response

    @routes.authorized_route(Action.READ, "/local/<filename>", index="local")
    async def original_address(request: CheddarRequest, filename: str) -> Response:
        # The original's way to a local file. It carries no digest, and a removed name may come back: ask each time.
        local = shown.to(request).local
        for project in filenames.possible_projects(filename)[:_MOST_READINGS]:
            try:
                files = (await local.project(project)).files
            except NotFound:
                continue
            for listed in files:
                if listed.filename == filename:
                    stored = await local.file(project, filename, digest_segment(listed))
                    private = request.private("local", project)
                    return file_response(stored, filename, listed.digests["sha256"], private, False)
        raise NotFound(f"No local project has a file {filename}.")

    @routes.authorized_route(Action.READ, "/remote/<path:path>", index="remote")
    async def original_remote_address(request: CheddarRequest, path: str) -> Response:
        _no_base(request)
        raise NotFound("There is nothing at this address.")


def _kept(private: bool, for_ever: bool) -> str:
    """Who may keep it, and whether without asking again."""
    scope = "private" if private else "public"
    return f"{scope}, max-age=365000000, immutable" if for_ever else f"{scope}, no-cache"


def _no_base(request: CheddarRequest) -> None:
    # The original fetched whatever URL ?base= named, for anybody, and served it to all from its cache.
    if request.args and b"base" in request.args:
        raise Gone("Addresses with ?base= are gone: no URL comes from the client. Ask the project's page for the file.")
