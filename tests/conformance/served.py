"""The same project in any of the three indexes: what a conformance test says to it is the same for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin

from attrs import define
from packaging.utils import canonicalize_name

from cheddar.model import Selector
from tests.support.distributions import make_wheel
from tests.support.later import LaterReactor
from tests.support.server import JSON, Answer, CheddarHere, basic
from tests.support.upstream import EvilUpstream

#: What C{index} and C{origin} are, where a test says nothing else: files of both origins are in the combined index.
EVERYWHERE = (("local", "local"), ("remote", "remote"), ("combined", "local"), ("combined", "remote"))
#: For C{@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)}: what only upstream's files can show.
FROM_UPSTREAM = (("remote", "remote"), ("combined", "remote"))
#: The like for what only uploads can show.
FROM_UPLOADS = (("local", "local"), ("combined", "local"))

HTML = "application/vnd.pypi.simple.v1+html"


@define(eq=False)
class Served:
    """
    An index of a running Cheddar, and the way by which files get into it.

    @ivar index: C{local}, C{remote} or C{combined}: whose pages are asked for.
    @ivar origin: C{local}: files are uploaded to Cheddar; C{remote}: they are put into the upstream.
    @ivar clock: Cheddar's clock; C{served.clock.later(2)} makes it two seconds later.
    """

    index: str
    origin: str
    cheddar: CheddarHere
    upstream: EvilUpstream
    clock: LaterReactor

    # --- what is there

    async def publish(self, filename: str, content: bytes, *, project: str | None = None, **attributes: Any) -> Answer:
        """
        Put a file there: after this the index lists it, or the upload was refused.

        @param project: the project, where the file's name does not begin with it and a dash.
        @param attributes: for the upstream's entry (see L{EvilUpstream.add_file}); C{yanked="reason"} for both.
        @return: the answer to an upload; for the upstream always a 200.
        """
        project = canonicalize_name(project or filename.partition("-")[0])
        if self.origin == "local":
            answer = await self.cheddar.upload(filename, content)
            if "yanked" in attributes and answer.status == 200:
                files = (await self.cheddar.service.store.projects.project(project)).files
                version = next(file.version for file in files if file.filename == filename)
                await self.yank(project, version, attributes["yanked"])
            return answer
        self.upstream.add_file(project, filename, content, **attributes)
        await self.forget(project)
        return Answer(200, "OK", {}, b"")

    async def publish_wheel(self, name: str, version: str = "1.0", **arguments: Any) -> tuple[str, bytes]:
        """Publish L{make_wheel}C{(name, version, **arguments)}, which must go well. @return: file name and content."""
        filename, content = make_wheel(name, version, **arguments)
        answer = await self.publish(filename, content, project=name)
        assert answer.status == 200, answer
        return filename, content

    async def yank(self, project: str, version: str, reason: str | None) -> None:
        """Yank a release (C{reason} maybe empty), or take that back (None)."""
        if self.origin == "local":
            await self.cheddar.service.store.projects.set_yanked(project, Selector(version), reason)
            return
        for file in self.upstream.projects[project]:
            if f"-{version}" in file.filename:
                file.attributes["yanked"] = False if reason is None else (reason or True)
        await self.forget(project)

    async def remove(self, project: str, version: str) -> None:
        """Take a release's files away."""
        if self.origin == "local":
            path = f"/simple/{project}/{version}"
            answer = await self.ask("DELETE", path, {"Authorization": basic()})
            assert answer.status == 200, answer
            return
        files = self.upstream.projects[project]
        files[:] = [file for file in files if f"-{version}" not in file.filename]
        await self.forget(project)

    async def forget(self, project: str) -> None:
        """Cheddar asks upstream for the project's page when it is next asked for it, as after C{versions_short_ttl}."""
        await self.cheddar.service.store.pages.drop("remote", project)
        self.clock.later(1.5)  # what the remote index keeps in memory it believes for a second

    # --- how it is asked for

    @property
    def list_url(self) -> str:
        """The path of the project list."""
        return "/simple/" if self.index == "combined" else f"/{self.index}/simple/"

    def page_url(self, project: str) -> str:
        """The path of a project's page."""
        return f"{self.list_url}{quote(project)}/"

    async def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; header names of the answer are in lower case."""
        return await self.cheddar.ask(method, path, None, headers)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET a path."""
        return await self.ask("GET", path, headers)

    async def page(self, project: str, accept: str = JSON, **headers: str) -> Answer:
        """A project's page; further headers with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.get(self.page_url(project), {"Accept": accept, **named})

    async def project_page_json(self, project: str) -> Any:
        """A project's page in JSON, parsed; it must be there."""
        answer = await self.page(project)
        assert (answer.status, answer.headers["content-type"]) == (200, JSON), answer
        return answer.json()

    async def listed(self) -> list[str]:
        """The names on the project list, from JSON."""
        answer = await self.get(self.list_url, {"Accept": JSON})
        assert answer.status == 200, answer
        return [item["name"] for item in answer.json()["projects"]]

    async def addresses(self, project: str) -> dict[str, str]:
        """The paths of a project's files by file name, resolved as clients do."""
        page = self.page_url(project)
        return {
            file["filename"]: urljoin(page, file["url"]) for file in (await self.project_page_json(project))["files"]
        }
