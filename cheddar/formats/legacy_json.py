"""
The original Cheddar's JSON, from before there was a standard: what C{Accept: application/json} gets.

Metadata has the names and the shapes of C{pkginfo}, which the original used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cheddar.formats import json_steps
from cheddar.formats.filenames import is_sdist
from cheddar.formats.links import file_path
from cheddar.formats.simple_json import offered_files
from cheddar.model import CoreMetadata, File, Project, Release, version_key

_TEXTS = (
    "metadata_version",
    "summary",
    "description",
    "description_content_type",
    "home_page",
    "download_url",
    "author",
    "author_email",
    "maintainer",
    "maintainer_email",
    "license",
    "license_expression",
    "requires_python",
)
_LISTS = (
    "platforms",
    "supported_platforms",
    "classifiers",
    "requires",
    "provides",
    "obsoletes",
    "requires_dist",
    "provides_dist",
    "obsoletes_dist",
    "requires_external",
    "dynamic",
)
# Where pkginfo's name differs from packaging's.
_RENAMED_LISTS = {"provides_extras": "provides_extra", "license_file": "license_files"}


def history(releases: Sequence[Release]) -> bytes:
    """Recent uploads as C{name/version}, in the order given."""
    return _encode({"history": [f"{release.project}/{release.version}" for release in releases]})


def projects(names: Sequence[str]) -> bytes:
    """The names of projects, sorted without regard to case."""
    return _encode({"projects": sorted(names, key=str.lower)})


def project(project: Project) -> bytes:
    """A project's files by name, each with its path on this server, newest version first."""
    files = sorted(offered_files(project), key=lambda file: file.filename)
    files.sort(key=lambda file: version_key(file.version), reverse=True)
    return _encode({"project": project.name, "versions": {file.filename: _path(project, file) for file in files}})


def release(
    project: str, version: str, files: Sequence[File], metadata: CoreMetadata | None, uploaded: float | None = None
) -> bytes:
    """
    A release and its metadata.

    @param files: the release's files: C{_filename} names its sdist, or else its first file; the original knew only
        one, an sdist.
    @param metadata: of one of the files, or None where none has any.
    @param uploaded: seconds since the epoch; None: when the file named was uploaded.
    """
    said: dict[str, Any] = {
        "name": metadata.name if metadata else project,
        "version": metadata.version if metadata else version,
    }
    fields = metadata.fields if metadata else {}
    said.update((key, fields.get(key)) for key in _TEXTS)
    said.update((key, fields.get(key, [])) for key in _LISTS)
    said.update((key, fields.get(source, [])) for key, source in _RENAMED_LISTS.items())
    keywords, urls = fields.get("keywords"), fields.get("project_urls")
    said["keywords"] = ",".join(keywords) if isinstance(keywords, list) else None
    said["project_urls"] = [f"{label}, {url}" for label, url in urls.items()] if isinstance(urls, dict) else []
    file = next((file for file in files if is_sdist(file.filename)), files[0] if files else None)
    said["_filename"] = file.filename if file else None
    said["_uploaded_timestamp"] = _seconds(file.upload_time if file else None) if uploaded is None else uploaded
    return _encode({"project": project, "version": version, "metadata": said})


def _path(project: Project, file: File) -> str:
    # A local file keeps its short address of old.
    if project.index == "local":
        return f"/local/{file.filename}"
    return "/" + file_path(project.index, project.name, file)


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _encode(answer: dict[str, Any]) -> bytes:
    return json_steps.dumps(answer, _ENCODER).encode("ascii")


_ENCODER = json.JSONEncoder()
