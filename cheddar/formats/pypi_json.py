"""
The JSON API that the public index has beside the Simple API: a project or a release with its metadata.

Source: the public index's documentation, "JSON API". It is no standard; keys without a value are null there, and so
here. What Cheddar does not count or know (downloads, vulnerabilities) is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from cheddar.formats import json_steps
from cheddar.formats.filenames import is_sdist, is_wheel
from cheddar.formats.links import mirrored_path
from cheddar.formats.simple_json import offered_files
from cheddar.model import CoreMetadata, File, Project, is_prerelease, version_key

_TEXTS = (
    "author",
    "author_email",
    "description",
    "description_content_type",
    "download_url",
    "home_page",
    "license",
    "license_expression",
    "maintainer",
    "maintainer_email",
    "requires_python",
    "summary",
)
_ENCODER = json.JSONEncoder()
_LISTS = ("classifiers", "requires_dist", "dynamic", "license_files", "provides_extra")


def newest(project: Project) -> str:
    """
    The version that a project's document describes: the newest that is no pre-release and not yanked whole; else the
    newest there is. Empty for a project without files.
    """
    kept = {file.version for file in offered_files(project) if file.yanked is None}
    for versions in (
        [version for version in kept if not is_prerelease(version)],
        kept,
        {file.version for file in project.files},
    ):
        if versions:
            return max(versions, key=version_key)
    return ""


def render_project(project: Project, metadata: CoreMetadata | None, address: str) -> bytes:
    """
    @param metadata: of the L{newest} version, or None where there is none to be had.
    @param address: the address that users see, with a slash at its end.
    @return: the document of C{/pypi/<project>/json}.
    """
    version = newest(project)
    by_version: dict[str, list[File]] = {release: [] for release in project.versions}
    for file in offered_files(project):
        if file.version in by_version:
            by_version[file.version].append(file)
    document = _document(project, version, metadata, address)
    document["releases"] = {release: _files(project, files, address) for release, files in by_version.items()}
    return json_steps.dumps(document, _ENCODER).encode("ascii")


def render_release(project: Project, version: str, metadata: CoreMetadata | None, address: str) -> bytes:
    """
    @param version: a version that the project has.
    @return: the document of C{/pypi/<project>/<version>/json}.
    """
    return json_steps.dumps(_document(project, version, metadata, address), _ENCODER).encode("ascii")


def _document(project: Project, version: str, metadata: CoreMetadata | None, address: str) -> dict[str, Any]:
    files = [file for file in offered_files(project) if file.version == version]
    return {
        "info": _info(project, version, files, metadata, address),
        "last_serial": project.serial,
        "urls": _files(project, files, address),
        "vulnerabilities": [],
        "ownership": {"organization": None, "roles": []},
    }


def _info(
    project: Project, version: str, files: Sequence[File], metadata: CoreMetadata | None, address: str
) -> dict[str, Any]:
    fields = metadata.fields if metadata else {}
    info: dict[str, Any] = {key: fields.get(key) for key in (*_TEXTS, *_LISTS)}
    keywords, platforms = fields.get("keywords"), fields.get("platforms")
    page = f"{address}project/{project.name}/"
    yanked = bool(files) and all(file.yanked is not None for file in files)
    info |= {
        "name": metadata.name if metadata else project.display_name or project.name,
        "version": version,
        "classifiers": fields.get("classifiers", []),
        "keywords": ",".join(keywords) if isinstance(keywords, list) else None,
        "platform": ",".join(platforms) if isinstance(platforms, list) else None,
        "project_urls": fields.get("project_urls"),
        "bugtrack_url": None,
        "docs_url": None,
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
        "package_url": page,
        "project_url": page,
        "release_url": f"{address}simple/{project.name}/{version}" if project.index == "local" else page,
        "requires_python": (metadata.requires_python if metadata else None)
        or next((file.requires_python for file in files if file.requires_python), None),
        "yanked": yanked,
        "yanked_reason": next((file.yanked for file in files if file.yanked), None) if yanked else None,
    }
    return info


def _files(project: Project, files: Iterable[File], address: str) -> list[dict[str, Any]]:
    return [_file(project, file, address) for file in files]


def _file(project: Project, file: File, address: str) -> dict[str, Any]:
    uploaded = file.upload_time
    return {
        "comment_text": None,
        "core-metadata": dict(file.core_metadata) or True if file.core_metadata is not None else False,
        "digests": dict(file.digests),
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "md5_digest": file.digests.get("md5"),
        "packagetype": _packagetype(file.filename),
        "python_version": _python_version(file.filename),
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": uploaded.strftime("%Y-%m-%dT%H:%M:%S") if uploaded else None,
        "upload_time_iso_8601": uploaded.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if uploaded else None,
        "url": address + mirrored_path(project.index, project.name, file),
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
    }


def _packagetype(filename: str) -> str:
    if is_wheel(filename):
        return "bdist_wheel"
    if is_sdist(filename):
        return "sdist"
    return {"egg": "bdist_egg", "exe": "bdist_wininst", "msi": "bdist_msi", "rpm": "bdist_rpm"}.get(
        filename.rpartition(".")[2].lower(), "bdist_dumb"
    )


def _python_version(filename: str) -> str:
    if not is_wheel(filename):
        return "source"
    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return ""
    return ".".join(sorted({tag.interpreter for tag in tags}))
