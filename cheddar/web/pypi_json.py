"""The public index's JSON API, for every project that the combined index has."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar.errors import CheddarError, NotFound, StoreUnavailable
from cheddar.formats import core_metadata, pypi_json
from cheddar.formats.filenames import is_wheel
from cheddar.model import Action, CoreMetadata, Project, normalize_version
from cheddar.names import is_project_name, normalize
from cheddar.web.access import Routes
from cheddar.web.indexes import Indexes, Shown
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Lasting, Response, page_etag
from cheddar.web.simple import for_scripts


@define(eq=False)
class Documents:
    """Puts a project's listing and its core metadata together."""

    _shown: Shown
    _reactor: IReactorFromThreads
    _pool: ThreadPool
    _address: str

    async def project(self, request: CheddarRequest, name: str) -> Response:
        """C{/pypi/<project>/json}. [NotFound, UpstreamUnavailable, UpstreamBroken]"""
        indexes = self._shown.to(request)
        project = await indexes.combined.project(name)
        newest = await deferToThreadPool(self._reactor, self._pool, pypi_json.newest, project)
        metadata = await self._metadata(indexes, project, newest)
        body = await deferToThreadPool(
            self._reactor, self._pool, pypi_json.render_project, project, metadata, self._address
        )
        return self._page(request, body, project, metadata)

    async def release(self, request: CheddarRequest, name: str, version: str) -> Response:
        """C{/pypi/<project>/<version>/json}. [NotFound, UpstreamUnavailable, UpstreamBroken]"""
        indexes = self._shown.to(request)
        project = await indexes.combined.project(name)
        if version not in project.versions:
            raise NotFound(f"{name} has no release {version}.")
        metadata = await self._metadata(indexes, project, version)
        return self._page(
            request, pypi_json.render_release(project, version, metadata, self._address), project, metadata
        )

    async def _metadata(self, indexes: Indexes, project: Project, version: str) -> CoreMetadata | None:
        """What a release's files say of it; None where none of them says anything that can be had now."""
        if project.index == "local":
            try:
                return (await indexes.local.release_metadata(project.name, version))[1]
            except NotFound:
                return None
        files = [file for file in project.files if file.version == version and file.core_metadata is not None]
        for file in sorted(files, key=lambda file: not is_wheel(file.filename)):
            try:
                raw = await indexes.remote.core_metadata(project.name, file.filename, None)
                return await deferToThreadPool(self._reactor, self._pool, core_metadata.parse, raw)
            except StoreUnavailable:
                raise
            except CheddarError:
                # The listing alone is worth an answer: upstream may be down, or its metadata unreadable.
                continue
        return None

    def _page(self, request: CheddarRequest, body: bytes, project: Project, metadata: CoreMetadata | None) -> Response:
        private = request.private("combined", project.name) or request.private(project.index, project.name)
        headers = {
            "Cache-Control": f"{'private' if private else 'public'}, max-age=0, must-revalidate",
            **({"Vary": "Authorization"} if private else {}),
            **for_scripts(private),
        }
        if project.index == "local":
            # bandersnatch takes a document without it, or with a lower one than the list promised, for an old copy.
            headers["X-PyPI-Last-Serial"] = str(project.serial)
        # What metadata says may be missing now, and here behind the next request.
        lasting = Lasting(project.name) if project.index == "local" and metadata is not None else None
        return Response(
            body=body, content_type="application/json", etag=page_etag(body), headers=headers, lasting=lasting
        )


def pypi_json_routes(routes: Routes, documents: Documents) -> None:
    """Register the documents."""

    @routes.authorized_route(Action.READ, "/pypi/<project>/json")
    async def project_document(request: CheddarRequest, project: str) -> Response:
        return await documents.project(request, _normalized(project))

    @routes.authorized_route(Action.READ, "/pypi/<project>/<version>/json")
    async def release_document(request: CheddarRequest, project: str, version: str) -> Response:
        return await documents.release(request, _normalized(project), normalize_version(version))


def _normalized(project: str) -> str:
    if not is_project_name(project):
        raise NotFound("That is not a valid project name.")
    return normalize(project)
