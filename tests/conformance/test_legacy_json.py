"""JSON from before the Simple API had it: the public index's JSON API, and the shapes of the first Cheddar."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.served import Served
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel, sha256
from tests.support.server import Answer, basic

#: The JSON API is that of the combined index.
COMBINED = (("combined", "local"), ("combined", "remote"))

TOP = {"info", "last_serial", "urls", "vulnerabilities", "ownership"}
INFO = {
    *("author", "author_email", "bugtrack_url", "classifiers", "description", "description_content_type", "docs_url"),
    *("download_url", "downloads", "dynamic", "home_page", "keywords", "license", "license_expression"),
    *("license_files", "maintainer", "maintainer_email", "name", "package_url", "platform", "project_url"),
    *("project_urls", "provides_extra", "release_url", "requires_dist", "requires_python", "summary", "version"),
    *("yanked", "yanked_reason"),
}
FILE = {
    *("comment_text", "digests", "downloads", "filename", "has_sig", "md5_digest", "packagetype", "python_version"),
    *("requires_python", "size", "upload_time", "upload_time_iso_8601", "url", "yanked", "yanked_reason"),
}


async def document(served: Served, path: str) -> Any:
    """A document of the JSON API; it must be there."""
    answer = await served.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer
    return answer.json()


@pytest.mark.conforms("JSON API", "Project: the newest release's metadata and files, and the files of all releases")
@pytest.mark.parametrize(("index", "origin"), COMBINED)
async def test_a_project(served: Served) -> None:
    """Every key that readers of the public index know, under any spelling of the name; addresses give the bytes."""
    wheel, content = make_wheel("Demo.Pkg", "1.10", requires_python=">=3.8", requires=("flask>=2",))
    await served.publish(wheel, content, project="demo-pkg")
    await served.publish(*make_sdist("Demo.Pkg", "1.9"), project="demo-pkg")
    await served.publish(*make_wheel("Demo.Pkg", "2.0rc1"), project="demo-pkg")
    for path in ("/pypi/demo-pkg/json", "/pypi/Demo.Pkg/json", "/pypi/DEMO_pkg/json/"):
        found = await document(served, path)
        assert set(found) >= TOP | {"releases"}
        assert set(found["info"]) >= INFO
        info = found["info"]
        assert (info["name"], info["version"], info["summary"]) == ("Demo.Pkg", "1.10", "Demo.Pkg for a test")
        assert (info["requires_python"], info["requires_dist"]) == (">=3.8", ["flask>=2"])
        assert (info["yanked"], info["yanked_reason"], info["classifiers"]) == (False, None, [])
        assert list(found["releases"]) == ["1.9", "1.10", "2.0rc1"]
        assert found["releases"]["1.10"] == found["urls"]
        assert (found["vulnerabilities"], type(found["last_serial"])) == ([], int)
        packed = await served.get(path, {"Accept-Encoding": "gzip"})
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    (file,) = found["urls"]
    assert set(file) >= FILE
    assert (file["filename"], file["size"], file["requires_python"]) == (wheel, len(content), ">=3.8")
    assert file["digests"]["sha256"] == sha256(content)
    assert file["core-metadata"] == {"sha256": sha256(core_metadata_of(content))}
    assert (file["packagetype"], file["python_version"], file["has_sig"]) == ("bdist_wheel", "py3", False)
    assert file["upload_time_iso_8601"].startswith(file["upload_time"])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", file["upload_time_iso_8601"])
    (sdist,) = found["releases"]["1.9"]
    assert (sdist["packagetype"], sdist["python_version"]) == ("sdist", "source")
    address = urlsplit(file["url"])
    assert f"{address.scheme}://{address.netloc}/" == "http://cheddar.example/", "never what the request calls the host"
    assert (await served.get(address.path)).body == content


@pytest.mark.conforms("JSON API", "Release: its metadata and files; yanked with the reason")
@pytest.mark.parametrize(("index", "origin"), COMBINED)
async def test_a_release(served: Served) -> None:
    """The version may be spelled otherwise; the releases of others are not in it."""
    await served.publish_wheel("demo", "1.0")
    await served.publish_wheel("demo", "2.0")
    await served.yank("demo", "1.0", "broken")
    for path in ("/pypi/Demo/1.0/json", "/pypi/demo/v1.0/json/", "/pypi/demo/1.0/json"):
        found = await document(served, path)
        assert set(found) >= TOP
        assert "releases" not in found
        assert found["info"]["version"] == "1.0"
        for marked in (found["info"], *found["urls"]):
            assert (marked["yanked"], marked["yanked_reason"]) == (True, "broken")
        assert [file["filename"] for file in found["urls"]] == ["demo-1.0-py3-none-any.whl"]
    assert (await document(served, "/pypi/demo/json"))["info"]["version"] == "2.0"


@pytest.mark.conforms("JSON API", "What is not there: 404, and 405 for what changes something")
@pytest.mark.parametrize(("index", "origin"), COMBINED)
async def test_what_is_not_there(served: Served) -> None:
    """pip-tools, which asks for hashes here, goes on without the document."""
    await served.publish_wheel("demo")
    for path in ("/pypi/demo/3.0/json", "/pypi/nothing/json", "/pypi/nothing/1.0/json", "/pypi/-/json"):
        assert (await served.get(path)).status == 404, path
    for method in ("PUT", "DELETE", "POST"):
        assert (await served.ask(method, "/pypi/demo/json")).status == 405
    assert (await served.get("/pypi/demo/json")).status == 200, "the control"


@pytest.mark.conforms("JSON API", "Upstream in trouble: what is known is told, and what is not is no 404")
@pytest.mark.parametrize(("index", "origin"), COMBINED[1:])
async def test_upstream_in_trouble(served: Served) -> None:
    """The listing alone is worth an answer; metadata that was had once is kept."""
    filename, _ = await served.publish_wheel("demo", requires=("click",), requires_python=">=3.9")
    served.upstream.misbehave(f"/files/{filename}.metadata", status=500, times=1)
    info = (await document(served, "/pypi/demo/json"))["info"]
    assert (info["version"], info["requires_python"], info["requires_dist"]) == ("1.0", ">=3.9", None)
    served.clock.later(60)
    assert (await document(served, "/pypi/demo/json"))["info"]["requires_dist"] == ["click"]
    await served.upstream.stop()
    assert (await document(served, "/pypi/demo/json"))["info"]["requires_dist"] == ["click"]
    assert (await served.get("/pypi/unknown/json")).status == 503


async def first_cheddars(served: Served, path: str) -> Any:
    """What C{Accept: application/json} gets."""
    answer: Answer = await served.get(path, {"Accept": "application/json"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer
    assert "Accept" in answer.headers["vary"]
    return answer.json()


async def test_the_first_cheddars_pages(served: Served) -> None:
    """C{Accept: application/json} gets list and page in the first Cheddar's shapes, newest first; paths give bytes."""
    older, _ = await served.publish_wheel("demo", "1.9")
    newer, content = await served.publish_wheel("demo", "1.10")
    page = await first_cheddars(served, served.page_url("demo"))
    assert (page["project"], list(page["versions"])) == ("demo", [newer, older])
    assert (await served.get(page["versions"][newer])).body == content
    assert await first_cheddars(served, served.list_url) == {"projects": ["demo"]}


@pytest.mark.parametrize(("index", "origin"), [("combined", "local")])
async def test_the_first_cheddars_history_and_releases(served: Served) -> None:
    """So do the front page, the recent uploads, and a release, its metadata."""
    filename, content = make_sdist("demo", "1.0", requires=("click",))
    await served.publish(filename, content)
    await served.publish_wheel("demo", "1.1")
    assert await first_cheddars(served, "/") == {"history": ["demo/1.1", "demo/1.0"]}
    release = await first_cheddars(served, "/simple/demo/1.0")
    assert (release["project"], release["version"]) == ("demo", "1.0")
    assert release["metadata"]["_filename"] == filename
    assert release["metadata"]["requires_dist"] == ["click"]


@pytest.mark.parametrize(("index", "origin"), [("combined", "local")])
async def test_the_addresses_that_tools_print(served: Served) -> None:
    """hatch and flit tell people to look below the upload address: that leads to the pages for people."""
    await served.publish_wheel("demo", "1.0+cpu")
    for path, location in (
        ("/pypi/Demo/", "../../project/demo/"),
        ("/pypi/demo/1.0+cpu/", "../../../simple/demo/1.0%2Bcpu"),
        ("/legacy/demo", "../project/demo/"),
    ):
        answer = await served.get(path)
        assert (answer.status, answer.headers["location"]) == (302, location)
    assert (await served.get("/simple/demo/1.0%2Bcpu")).status == 200
    assert (await served.get("/project/demo/")).status == 200
    assert (await served.get("/pypi/demo/2.0/")).status == 404
    assert (await served.ask("DELETE", "/pypi/demo/1.0+cpu/", {"Authorization": basic()})).status == 405
