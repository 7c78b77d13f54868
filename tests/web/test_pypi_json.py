"""The public index's JSON API (C{/pypi/<project>/json}), on both stores."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import CheddarHere, basic
from tests.support.upstream import EvilUpstream
from tests.support.upstream_content import UPLOAD_TIME


async def test_a_local_project(cheddar: CheddarHere) -> None:
    """Its newest release's metadata, every release's files, addresses that work."""
    filename, content = make_wheel("Demo.Pkg", "1.10", requires_python=">=3.8", requires=("flask>=2",))
    await cheddar.upload(filename, content)
    await cheddar.upload(*make_sdist("Demo.Pkg", "1.9"))
    await cheddar.upload(*make_wheel("Demo.Pkg", "2.0rc1"))
    for path in ("/pypi/demo-pkg/json", "/pypi/Demo.Pkg/json", "/pypi/demo-pkg/json/"):
        answer = await cheddar.ask("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        document = answer.json()
    info = document["info"]
    assert (info["name"], info["version"], info["requires_python"]) == ("Demo.Pkg", "1.10", ">=3.8")
    assert info["requires_dist"] == ["flask>=2"]
    assert info["yanked"] is False
    assert list(document["releases"]) == ["1.9", "1.10", "2.0rc1"]
    (file,) = document["urls"]
    assert document["releases"]["1.10"] == [file]
    assert file["filename"] == filename
    assert file["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (file["packagetype"], file["python_version"], file["size"]) == ("bdist_wheel", "py3", len(content))
    assert document["releases"]["1.9"][0]["packagetype"] == "sdist"
    assert file["url"].startswith("http://cheddar.example/local/files/demo-pkg/")
    assert (await cheddar.ask("GET", urlsplit(file["url"]).path)).body == content


async def test_a_release(cheddar: CheddarHere) -> None:
    """One release's document; what is not there is 404."""
    await cheddar.upload(*make_wheel("demo", "1.0"))
    await cheddar.upload(*make_wheel("demo", "2.0"))
    await cheddar.ask("PUT", "/simple/demo/1.0/yanked", b"broken", {"Authorization": basic()})
    document = (await cheddar.ask("GET", "/pypi/Demo/1.0/json")).json()
    assert document["info"]["version"] == "1.0"
    assert (document["info"]["yanked"], document["info"]["yanked_reason"]) == (True, "broken")
    assert (document["urls"][0]["yanked"], document["urls"][0]["yanked_reason"]) == (True, "broken")
    assert "releases" not in document
    for path in ("/pypi/demo/3.0/json", "/pypi/nothing/json", "/pypi/-/json"):
        assert (await cheddar.ask("GET", path)).status == 404


async def test_a_remote_project(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Upstream's files at Cheddar's own addresses, its times, and metadata read from upstream's .metadata file."""
    filename, content = make_wheel("flask", "3.0", requires=("click",))
    upstream.add_file("flask", filename, content)
    document = (await cheddar.ask("GET", "/pypi/flask/json")).json()
    assert document["info"]["requires_dist"] == ["click"]
    (file,) = document["urls"]
    assert file["upload_time_iso_8601"] == UPLOAD_TIME
    assert file["url"].startswith("http://cheddar.example/remote/files/flask/")
    assert (await cheddar.ask("GET", urlsplit(file["url"]).path)).body == content
    upstream.misbehave(f"/files/{filename}.metadata", status=500)
    assert (await cheddar.ask("GET", "/pypi/flask/json")).json()["info"]["requires_dist"] == ["click"], "kept"


async def test_the_listing_is_worth_an_answer_alone(cheddar: CheddarHere, upstream: EvilUpstream) -> None:
    """Where upstream's metadata cannot be had, the document has what the listing says."""
    filename, content = make_wheel("flask", "3.0", requires_python=">=3.9")
    upstream.add_file("flask", filename, content)
    upstream.misbehave(f"/files/{filename}.metadata", status=500)
    answer = await cheddar.ask("GET", "/pypi/flask/json")
    assert answer.status == 200
    assert (answer.json()["info"]["version"], answer.json()["info"]["requires_python"]) == ("3.0", ">=3.9")
    await upstream.stop()
    unknown = await cheddar.ask("GET", "/pypi/django/json")
    assert unknown.status == 503, "never 404 for upstream's trouble"


async def test_the_addresses_that_tools_print(cheddar: CheddarHere) -> None:
    """hatch and flit tell people to look below the upload address: that leads to the pages for people."""
    await cheddar.upload(*make_wheel("demo", "1.0+cpu"))
    for path, location in (
        ("/pypi/Demo/", "../../project/demo/"),
        ("/pypi/demo/1.0+cpu/", "../../../simple/demo/1.0%2Bcpu"),
        ("/legacy/demo", "../project/demo/"),
    ):
        answer = await cheddar.ask("GET", path)
        assert (answer.status, answer.headers["location"]) == (302, location)
    assert (await cheddar.ask("GET", "/simple/demo/1.0%2Bcpu")).status == 200
    assert (await cheddar.ask("GET", "/project/demo/")).status == 200
    assert (await cheddar.ask("GET", "/pypi/demo/2.0/")).status == 404
