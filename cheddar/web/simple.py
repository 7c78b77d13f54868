"""The Simple repository API: the project list and the project pages, in HTML, JSON and the original's own JSON."""

from __future__ import annotations

from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar.errors import NotFound
from cheddar.formats import legacy_json, simple_html, simple_json
from cheddar.formats.negotiation import Choice, choose_simple
from cheddar.interfaces import IIndex
from cheddar.model import Action, Project, ProjectList
from cheddar.names import is_project_name, normalize
from cheddar.web.access import Routes
from cheddar.web.errors import NotAcceptable
from cheddar.web.indexes import Shown
from cheddar.web.modified import Sightings
from cheddar.web.rendered import Rendered, RenderedPages
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Lasting, Response, age_of, page_etag

#: Pages of more files than this are rendered off the reactor.
_RENDER_ELSEWHERE_FROM = 200

OFFERED = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, text/html, application/json"


def negotiated(request: CheddarRequest) -> Choice:
    """
    The format that the request asks for (PEP 691).

    @raise NotAcceptable: none that there is.
    """
    accept = [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"accept", [])]
    choice = choose_simple(accept, argument(request, "format"))
    if choice is None:
        raise NotAcceptable(f"None of the accepted formats is on offer: {OFFERED}.")
    return choice


def argument(request: CheddarRequest, name: str) -> str | None:
    """The first value of a query argument, or None."""
    values = request.args.get(name.encode()) if request.args else None
    return values[0].decode("utf-8", "replace") if values else None


def redirect(request: CheddarRequest, path: str) -> Response:
    """
    A permanent redirect to C{path}, which is relative, with the request's query. Clients keep it for ever, so it is
    for names and slashes only: those stay true.
    """
    query = request.uri.partition(b"?")[2].decode("latin-1")
    scope = "private, " if request.sight is None or request.sight.closed else ""
    return Response(
        status=301,
        headers={
            "Location": f"{path}?{query}" if query else path,
            "Vary": "Accept",
            "Cache-Control": f"{scope}max-age=3600",
        },
    )


def for_scripts(private: bool) -> dict[str, str]:
    """Headers that let scripts of other sites read what anybody may read (the Fetch standard, CORS protocol)."""
    if private:
        return {}
    return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, X-PyPI-Last-Serial"}


def misspelled(request: CheddarRequest, project: str) -> Response | None:
    """
    The one redirect to a project's page that puts name and slash right; None where they are.

    @raise NotFound: it is no project name.
    """
    if not is_project_name(project):
        raise NotFound("That is not a valid project name.")
    name = normalize(project)
    refuse_double_slash(request)
    if not request.path.endswith(b"/"):
        return redirect(request, f"{name}/")
    return redirect(request, f"../{name}/") if name != project else None


def refuse_double_slash(request: CheddarRequest) -> None:
    """
    The router takes two slashes at the end for one. Clients do not agree on what is relative to such an address.

    @raise NotFound: there are two.
    """
    if request.path.endswith(b"//"):
        raise NotFound("There is nothing at this address: it ends with one slash too many.")


@define(eq=False)
class SimplePages:
    """Renders what the indexes know."""

    _reactor: IReactorFromThreads
    _pool: ThreadPool
    _sightings: Sightings
    _address: str
    _clock: IReactorTime
    _rendered: RenderedPages = field(factory=RenderedPages, init=False)

    def _page(
        self,
        body: bytes,
        etag: str,
        choice: Choice,
        page: tuple[str, ...],
        private: bool,
        serial: int | None = None,
        change: int | None = None,
    ) -> Response:
        """
        @param page: which page it is, in every format.
        @param private: whether it depends on a login.
        @param serial: what mirrors take for a promise about the page, or None.
        @param change: the number of the last change, where there is one: what was changed back is not unchanged.
        """
        # max-age=0: pip keeps what it may keep, and would not see a fresh upload.
        scope = "private" if private else "public"
        headers = {
            "Cache-Control": f"{scope}, max-age=0, must-revalidate",
            "Vary": "Accept, Authorization" if private else "Accept",
            **for_scripts(private),
        }
        if serial is not None:
            headers["X-PyPI-Last-Serial"] = str(serial)
        return Response(
            body=body,
            content_type=choice.content_type,
            etag=etag,
            last_modified=self._sightings.since((*page, choice), (etag, change)),
            headers=headers,
        )

    async def names(self, request: CheddarRequest, index: str, listing: ProjectList, choice: Choice) -> Response:
        """The project list of the index of that name."""
        body = await deferToThreadPool(self._reactor, self._pool, _render_list, listing, choice)
        private = request.private(index)
        page = self._page(body, page_etag(body), choice, (index,), private, listing.serial, listing.serial)
        return evolve(page, lasting=Lasting(None) if page.last_modified else None)

    async def project(self, request: CheddarRequest, index: IIndex, name: str, root: str, choice: Choice) -> Response:
        """A project's page; C{root} is the way from it to the root of the server."""
        project = await index.project(name)
        private = request.private(index.name, name) or request.private(project.index, name)
        page = self._rendered.find(root, choice, project)
        if page is None:
            page = await self._render(project, root, choice)
            self._rendered.keep(root, choice, page)
        # Mirrors take the serial for a promise about the page: it is true where all of the page is in the store.
        serial = project.serial if index.name == "local" else None
        response = self._page(page.body, page.etag, choice, (index.name, root, name), private, serial, project.serial)
        headers = {**response.headers, **self._age(project)}
        return evolve(
            response,
            headers=headers,
            compressed=self._rendered.compressed(root, choice, page),
            # Soon it will tell since when it is what it is.
            lasting=lasting(project, index) if response.last_modified else None,
        )

    def _age(self, project: Project) -> dict[str, str]:
        """How long ago upstream confirmed what is remembered of it (RFC 9111, section 5.1)."""
        if project.checked_at is None:
            return {}
        return {"Age": str(age_of(project.checked_at, self._clock.seconds()))}

    async def _render(self, project: Project, root: str, choice: Choice) -> Rendered:
        if len(project.files) < _RENDER_ELSEWHERE_FROM:
            return _render(project, root, self._address, choice)
        return await deferToThreadPool(self._reactor, self._pool, _render, project, root, self._address, choice)


def lasting(project: Project, index: IIndex) -> Lasting | None:
    """How long what an index says of a project stays so."""
    if project.good_until is None:
        return None
    asked = partial(index.asked, project.name) if project.index == "remote" else None
    return Lasting(project.name, project.good_until, project.checked_at, asked)


def _sent_on(request: CheddarRequest, redirect: Response) -> Response:
    """A redirect to a page: scripts that may read the page may follow it."""
    private = request.sight is None or bool(request.sight.closed)
    return evolve(redirect, headers={**redirect.headers, **for_scripts(private)})


def _render_list(listing: ProjectList, choice: Choice) -> bytes:
    if choice is Choice.JSON:
        return simple_json.render_names(listing)
    if choice is Choice.LEGACY_JSON:
        return legacy_json.projects(listing.names)
    return simple_html.render_names(listing)


def _render(project: Project, root: str, address: str, choice: Choice) -> Rendered:
    if choice is Choice.JSON:
        body = simple_json.render_project(project, root, address)
    elif choice is Choice.LEGACY_JSON:
        body = legacy_json.project(project)
    else:
        body = simple_html.render_project(project, root, address)
    return Rendered(project, body, page_etag(body))


def simple_routes(routes: Routes, shown: Shown, pages: SimplePages) -> None:
    """Register the Simple API of every index."""

    async def names_page(request: CheddarRequest, index: str) -> Response:
        choice = negotiated(request)
        refuse_double_slash(request)
        if not request.path.endswith(b"/"):
            return _sent_on(request, redirect(request, request.path.rpartition(b"/")[2].decode() + "/"))
        return await pages.names(request, index, await shown.to(request).listed(index), choice)

    async def project_page(request: CheddarRequest, index: str, project: str) -> Response:
        choice = negotiated(request)
        elsewhere = misspelled(request, project)
        if elsewhere is not None:
            return _sent_on(request, elsewhere)
        root = "../" * (request.path.count(b"/") - 1)
        return await pages.project(request, shown.to(request).named(index), project, root, choice)

    @routes.authorized_route(Action.READ, "/simple/", index="combined")
    async def combined_names(request: CheddarRequest) -> Response:
        return await names_page(request, "combined")

    def register_part(index: str) -> None:
        # Rules of their own, not one with <any(...)>: werkzeug would take /local/<filename> for the better match.
        @routes.authorized_route(Action.READ, f"/{index}/simple/", index=index)
        async def part_names(request: CheddarRequest) -> Response:
            return await names_page(request, index)

        @routes.authorized_route(Action.READ, f"/{index}/simple/<project>/", index=index)
        async def part_project(request: CheddarRequest, project: str) -> Response:
            return await project_page(request, index, project)

    register_part("local")
    register_part("remote")

    @routes.authorized_route(Action.READ, "/simple/<project>/", index="combined")
    async def combined_project(request: CheddarRequest, project: str) -> Response:
        return await project_page(request, "combined", project)

    # hatch asks for this, below the address it uploads to, before it uploads: what is there, it skips.
    @routes.authorized_route(Action.READ, "/<any(pypi, legacy):base>/+simple/<project>/", index="local")
    async def before_upload(request: CheddarRequest, base: str, project: str) -> Response:
        return await project_page(request, "local", project)
