"""
The like of read_with_pypi_simple.py by mousebender, which leaves the asking to others::

    python -W error read_with_mousebender.py INDEX [INDEX...]
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from mousebender import simple
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

# It reads what is new in 1.4 from JSON, and nothing that is new from HTML, where it warns of 1.2 and later: with that
# one warning it says what is so.
warnings.filterwarnings("ignore", category=simple.APIVersionWarning)

FORMATS = (simple.ACCEPT_JSON_V1, "application/vnd.pypi.simple.v1+html", "text/html")


def get(url: str, accept: str) -> tuple[str, str, str]:
    """A page, its content type, and where it came from in the end."""
    with urlopen(Request(url, headers={"Accept": accept}), timeout=60) as answer:
        return answer.read().decode(), answer.headers["Content-Type"], answer.url


def version_of(filename: str) -> str | None:
    """What C{packaging} takes a file for."""
    try:
        return str((parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename)(filename)[1])
    except (InvalidSdistFilename, InvalidWheelFilename):
        return None


def read(index: str, accept: str) -> dict[str, Any]:
    """All projects of an index."""
    page, content_type, _ = get(index, accept)
    listed = simple.parse_project_index(page, content_type)
    return {project["name"]: read_project(index, project["name"], accept) for project in listed["projects"]}


def read_project(index: str, name: str, accept: str) -> dict[str, Any]:
    """A project."""
    page, content_type, url = get(simple.create_project_url(index, name), accept)
    details: Any = simple.parse_project_details(page, content_type, name)
    assert details["name"] == name
    files: dict[str, Any] = {}
    for entry in details["files"]:
        assert entry["filename"] not in files
        metadata, yanked = entry.get("core-metadata", False), entry.get("yanked", False)
        assert entry.get("dist-info-metadata", False) == metadata
        files[entry["filename"]] = {
            "url": urljoin(url, entry["url"]),
            "digests": entry["hashes"],
            "version": version_of(entry["filename"]),
            "requires-python": entry.get("requires-python"),
            "yanked": None if yanked is False else "" if yanked is True else yanked,
            "core-metadata": None if metadata is False else {} if metadata is True else metadata,
            "provenance": entry.get("provenance"),
            "size": entry.get("size"),
            "upload-time": entry.get("upload-time"),
        }
    status = details.get("project-status", {})
    return {
        "status": status.get("status"),
        "reason": status.get("reason"),
        "versions": details.get("versions"),
        "files": files,
    }


if __name__ == "__main__":
    print(json.dumps({index: {accept: read(index, accept) for accept in FORMATS} for index in sys.argv[1:]}))
