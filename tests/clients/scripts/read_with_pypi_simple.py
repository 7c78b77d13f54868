"""
Read every page of indexes by pypi-simple, in both formats, and print what it makes of them as JSON::

    python -W error read_with_pypi_simple.py INDEX [INDEX...]

By index and format: the projects; of each its status and, by name, its files.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pypi_simple import PyPISimple

FORMATS = ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html", "text/html")


def read(index: str, accept: str) -> dict[str, Any]:
    """All projects of an index."""
    with PyPISimple(index, accept=accept) as client:
        return {name: read_project(client, name) for name in client.get_index_page().projects}


def read_project(client: PyPISimple, name: str) -> dict[str, Any]:
    """A project, and of its files' core metadata those that tell what they are to be, which pypi-simple checks."""
    page = client.get_project_page(name)
    assert page.project == name
    files: dict[str, Any] = {}
    for package in page.packages:
        assert package.filename not in files
        files[package.filename] = {
            "url": package.url,
            "digests": package.digests,
            "version": package.version,
            "type": package.package_type,
            "requires-python": package.requires_python,
            "yanked": (package.yanked_reason or "") if package.is_yanked else None,
            "core-metadata": package.metadata_digests,
            "provenance": package.provenance_url,
            "size": package.size,
            "upload-time": package.upload_time and package.upload_time.isoformat(),
        }
        if package.metadata_digests and len(page.packages) < 100:
            files[package.filename]["metadata"] = client.get_package_metadata(package, verify=True)
    return {
        "status": page.status and page.status.value,
        "reason": page.status_reason,
        "versions": page.versions,
        "files": files,
    }


if __name__ == "__main__":
    print(json.dumps({index: {accept: read(index, accept) for accept in FORMATS} for index in sys.argv[1:]}))
