"""
Record the tree of a real application for L{benchmarks.resolve}: names, versions, what requires what, sizes::

    python benchmarks/record.py jupyterlab pandas > benchmarks/tree.json

Nothing of the distributions themselves is kept. It asks the public index, at the settings' default.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cheddar.settings import public_index
from tests.support.clients import output, run
from tests.support.server import JSON


def report(roots: list[str]) -> list[Any]:
    """What pip would install."""
    with TemporaryDirectory() as home:
        done = run(
            "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--index-url",
            public_index(), *roots, home=Path(home),
        )  # fmt: skip
    assert done.returncode == 0, output(done)
    installed: list[Any] = json.loads(done.stdout)["install"]
    return installed


def page(project: str) -> Any:
    """A project's page."""
    with urlopen(Request(f"{public_index()}{project}/", headers={"Accept": JSON}), timeout=60) as answer:
        return json.load(answer)


def record(roots: list[str]) -> dict[str, Any]:
    """The tree: each project with the requirements that lead to others of it."""
    installed = report(roots)
    names = {canonicalize_name(item["metadata"]["name"]) for item in installed}
    projects = {}
    for item in installed:
        name = canonicalize_name(item["metadata"]["name"])
        requires = []
        for text in item["metadata"].get("requires_dist", ()):
            requirement = Requirement(text)
            extras = item.get("requested_extras") or [""]
            wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in extras)
            if wanted and canonicalize_name(requirement.name) in names:
                requires.append(f"{canonicalize_name(requirement.name)}{requirement.specifier}")
        listing = page(name)
        filename = item["download_info"]["url"].rpartition("/")[2]
        projects[name] = {
            "version": item["metadata"]["version"],
            "requires": sorted(set(requires)),
            "size": next(file["size"] for file in listing["files"] if file["filename"] == filename),
            "releases": len(listing["versions"]),
        }
    return {"roots": roots, "projects": dict(sorted(projects.items()))}


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1:]), indent=1))
