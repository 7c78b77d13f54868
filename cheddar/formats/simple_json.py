"""The Simple API's JSON (PEP 691, 700, 714, 740, 792): pages to write, and upstream's pages to read."""

from __future__ import annotations

import json
from datetime import timezone
from typing import Any, NoReturn

from cheddar.errors import UpstreamBroken
from cheddar.formats import json_steps
from cheddar.formats.links import file_path
from cheddar.formats.provenance import provenance_url, told_below
from cheddar.formats.simple_listing import read_project
from cheddar.model import QUARANTINED, File, Project, ProjectList, sort_versions

#: The newest version of the API, and the one to claim where the size of a file is not known: sizes are a must
#: from 1.1 on.
API_VERSION = "1.4"
API_VERSION_WITHOUT_SIZES = "1.0"


def api_version(project: Project) -> str:
    """The version of the API that the project's page can keep to."""
    if all(file.size is not None for file in offered_files(project)):
        return API_VERSION
    return API_VERSION_WITHOUT_SIZES


def offered_files(project: Project) -> tuple[File, ...]:
    """The files that a page lists: none of a quarantined project (PEP 792)."""
    return () if project.status == QUARANTINED else project.files


def render_project(project: Project, root: str, address: str = "") -> bytes:
    """
    A project's page.

    Source: simple repository API, "JSON-based Simple API for Python package indexes". Keys without a value are left
    out: clients refuse a page with C{"size": null}.

    @param root: the way from the page to the root of the server, such as C{../../}.
    @param address: the one that users see, for what must not be relative (L{told_below}); empty: that is left out.
    """
    version = api_version(project)
    page: dict[str, Any] = {"meta": {"api-version": version}, "name": project.name}
    if project.status != "active":
        page["project-status"] = {"status": project.status}
        if project.status_reason:
            page["project-status"]["reason"] = project.status_reason
    files = offered_files(project)
    if version == API_VERSION:
        versions = {file.version for file in files if file.version}
        page["versions"] = (
            project.versions if versions <= set(project.versions) else sort_versions([*versions, *project.versions])
        )
    below = told_below(address)
    page["files"] = [_render_file(project, file, root, below, with_size=version == API_VERSION) for file in files]
    return _encode(page)


def render_names(listing: ProjectList) -> bytes:
    """
    The list of projects. The serials are the public index's addition to the specification, where a key that begins
    with an underscore is free: bandersnatch goes by them.
    """
    meta: dict[str, Any] = {"api-version": API_VERSION}
    if listing.serial is not None:
        meta["_last-serial"] = listing.serial
    projects = [
        {"name": project.name} if project.serial is None else {"name": project.name, "_last-serial": project.serial}
        for project in listing.projects
    ]
    return _encode({"meta": meta, "projects": projects})


def parse_project(body: bytes, name: str, base_url: str) -> Project:
    """
    Read an upstream's page: strictly where its shape is concerned, leniently about what it does not know.

    @param name: the normalized name that was asked for.
    @param base_url: the URL that the page came from, after redirects.
    @raise UpstreamBroken: this is not a page of the API for that project, or a hostile one.
    """
    try:
        page = json_steps.loads(body.decode("utf-8-sig"), _DECODER)
    except RecursionError:
        raise UpstreamBroken(f"Upstream's page for {name} is nested too deeply.") from None
    except ValueError as error:
        raise UpstreamBroken(f"Upstream's page for {name} is not JSON: {error}") from error
    return read_project(page, name, base_url)


def _render_file(project: Project, file: File, root: str, below: str, *, with_size: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": root + file_path(project.index, project.name, file),
        "hashes": dict(file.digests),
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.core_metadata is not None:
        # The second name is the one of PEP 658: clients from before PEP 714 know no other.
        entry["core-metadata"] = entry["dist-info-metadata"] = dict(file.core_metadata) or True
    if file.yanked is not None:
        entry["yanked"] = file.yanked or True
    if with_size:
        entry["size"] = file.size
    if file.upload_time is not None:
        entry["upload-time"] = file.upload_time.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    provenance = provenance_url(below, project, file)
    if provenance is not None:
        entry["provenance"] = provenance
    return entry


def _encode(page: dict[str, Any]) -> bytes:
    return json_steps.dumps(page, _ENCODER).encode("ascii")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON.")


_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
