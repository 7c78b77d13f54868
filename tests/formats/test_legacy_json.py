"""The original's JSON, as its clients know it."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from cheddar.formats import core_metadata, legacy_json
from cheddar.model import File, Project, Release

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
SHA = "ab" * 32
PKG_INFO = """\
Metadata-Version: 1.1
Name: Foo.Bar
Version: 1.0
Summary: Does things
Keywords: a,b
Home-page: https://example.org/
Author: Ann
License: UNKNOWN
Platform: any
Classifier: Programming Language :: Python
Classifier: Programming Language :: Python :: 3
Project-URL: Docs, https://example.org/docs

Long text.
"""


def test_history() -> None:
    """Recent uploads come as C{name/version}, in their order."""
    releases = [Release("foo", "1.1", NOW), Release("bar", "2.0", NOW)]
    assert json.loads(legacy_json.history(releases)) == {"history": ["foo/1.1", "bar/2.0"]}


def test_projects() -> None:
    """Projects are sorted without regard to case."""
    assert json.loads(legacy_json.projects(["foo", "Bar", "baz"])) == {"projects": ["Bar", "baz", "foo"]}


def test_local_project() -> None:
    """Files are listed newest version first, at their short addresses."""
    files = (
        File("foo-1.0.tar.gz", "1.0"),
        File("foo-1.10-py3-none-any.whl", "1.10"),
        File("foo-1.10.tar.gz", "1.10"),
        File("foo-1.9.tar.gz", "1.9"),
        File("foo-2004d.tar.gz", "2004d"),
    )
    answer = json.loads(legacy_json.project(Project("foo", files)))
    assert answer["project"] == "foo"
    assert list(answer["versions"].items()) == [
        ("foo-1.10-py3-none-any.whl", "/local/foo-1.10-py3-none-any.whl"),
        ("foo-1.10.tar.gz", "/local/foo-1.10.tar.gz"),
        ("foo-1.9.tar.gz", "/local/foo-1.9.tar.gz"),
        ("foo-1.0.tar.gz", "/local/foo-1.0.tar.gz"),
        ("foo-2004d.tar.gz", "/local/foo-2004d.tar.gz"),
    ]


def test_remote_project() -> None:
    """Upstream's files are at their addresses on this server: no URL in a query any more."""
    file = File("foo-1.0+x.zip", "1.0+x", digests={"sha256": SHA}, url="https://up.example/foo-1.0+x.zip")
    answer = json.loads(legacy_json.project(Project("foo", (file,), index="remote")))
    assert answer["versions"] == {"foo-1.0+x.zip": f"/remote/files/foo/{SHA}/foo-1.0%2Bx.zip"}


def test_quarantined_project() -> None:
    """A quarantined project offers nothing here either."""
    answer = json.loads(legacy_json.project(Project("foo", (File("foo-1.zip", "1"),), status="quarantined")))
    assert answer == {"project": "foo", "versions": {}}


def test_release() -> None:
    """A release's metadata has pkginfo's names and shapes; what is not said is null, or an empty list."""
    files = (File("Foo.Bar-1.0-py3-none-any.whl", "1.0"), File("Foo.Bar-1.0.tar.gz", "1.0", upload_time=NOW))
    metadata = core_metadata.parse(PKG_INFO.encode())
    answer = json.loads(legacy_json.release("foo-bar", "1.0", files, metadata))
    assert (answer["project"], answer["version"]) == ("foo-bar", "1.0")
    said = answer["metadata"]
    assert said["_filename"] == "Foo.Bar-1.0.tar.gz"
    assert said["_uploaded_timestamp"] == NOW.timestamp()
    assert {key: value for key, value in said.items() if value and not key.startswith("_")} == {
        "metadata_version": "1.1",
        "name": "Foo.Bar",
        "version": "1.0",
        "summary": "Does things",
        "description": "Long text.\n",
        "keywords": "a,b",
        "home_page": "https://example.org/",
        "author": "Ann",
        "platforms": ["any"],
        "classifiers": ["Programming Language :: Python", "Programming Language :: Python :: 3"],
        "project_urls": ["Docs, https://example.org/docs"],
    }
    assert [said[key] for key in ("license", "requires_python", "maintainer", "download_url")] == [None] * 4
    assert [said[key] for key in ("requires_dist", "provides_extras", "obsoletes", "supported_platforms")] == [[]] * 4


def test_release_without_metadata() -> None:
    """A release whose files have no metadata still has its names; the time can be given."""
    answer = json.loads(legacy_json.release("foo", "1.0", (File("foo-1.0-py2.7.egg", "1.0"),), None, uploaded=7.5))
    said = answer["metadata"]
    assert [said[key] for key in ("name", "version", "_filename", "_uploaded_timestamp", "summary", "classifiers")] == [
        "foo",
        "1.0",
        "foo-1.0-py2.7.egg",
        7.5,
        None,
        [],
    ]
