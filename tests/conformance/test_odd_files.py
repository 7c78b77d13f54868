"""Odd versions and odd files: listed, served byte for byte, and under the right project."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from packaging.version import Version

from tests.conformance.served import FROM_UPLOADS, FROM_UPSTREAM, Served
from tests.support.distributions import make_sdist, make_wheel

#: What an upstream may have besides wheels and sdists: file names, and the version that each says.
OLD_KINDS = {
    "demo-1.0-py2.7.egg": "1.0",
    "demo-1.1-py2.7-linux-x86_64.egg": "1.1",
    "demo-1.2.win32-py2.7.exe": "1.2",
    "demo-1.3.win-amd64.exe": "1.3",
    "demo-1.4.win32-py2.7.msi": "1.4",
    "demo-1.5-1.noarch.rpm": "1.5",
    "demo-1.6.tar.bz2": "1.6",
    "demo-1.7.zip": "1.7",
    "demo-1.8.tar.Z": "1.8",
    "demo-1.9.linux-x86_64.tar.gz": "1.9",
}


async def each_is_served(served: Served, project: str, contents: dict[str, bytes]) -> None:
    """The page lists these files and no other, in both formats, and each address gives the bytes."""
    addresses = await served.addresses(project)
    assert sorted(addresses) == sorted(contents)
    page = (await served.page(project, "text/html")).body.decode()
    anchors = {unescape(text): unescape(href) for href, text in re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', page)}
    assert sorted(anchors) == sorted(contents)
    for filename, content in contents.items():
        resolved = urldefrag(urljoin(served.page_url(project), anchors[filename])).url
        assert resolved == addresses[filename]
        assert unquote(resolved.rpartition("/")[2]) == filename
        answer = await served.get(resolved)
        assert (answer.status, answer.body) == (200, content), filename


@pytest.mark.parametrize(
    "version",
    [
        pytest.param("1!2.0", marks=pytest.mark.conforms("PEP 440", "Epochs: the file is listed and served")),
        pytest.param(
            "1.0+cpu.1", marks=pytest.mark.conforms("PEP 440", "Local versions: the file is listed and served")
        ),
        pytest.param("1!1.0.post1.dev2+a.1", marks=pytest.mark.conforms("PEP 440", "All parts at once: just the same")),
    ],
)
async def test_versions_with_special_characters(served: Served, version: str) -> None:
    """Wheel and sdist, however a client spells the sign in the address."""
    contents = dict((make_wheel("demo", version), make_sdist("demo", version)))
    for filename, content in contents.items():
        assert (await served.publish(filename, content)).status == 200
    assert (await served.project_page_json("demo"))["versions"] == [version]
    await each_is_served(served, "demo", contents)
    for filename, address in (await served.addresses("demo")).items():
        plain = unquote(address)
        encoded = plain.replace("+", "%2B").replace("!", "%21")
        assert plain != encoded
        for spelled in (plain, encoded, encoded.replace("%2B", "%2b"), plain.replace("demo", "%64emo")):
            answer = await served.get(spelled)
            assert (answer.status, answer.body) == (200, contents[filename]), spelled
            if filename.endswith(".whl"):
                assert (await served.get(f"{spelled}.metadata")).status == 200


@pytest.mark.conforms("PEP 440", "Pre-, post- and development releases: listed in the order of versions")
async def test_the_order_of_versions(served: Served) -> None:
    """Each is a release of its own; the newest comes last."""
    ordered = [
        "1.0.dev1",
        "1.0a1.dev1",
        "1.0a1",
        "1.0b2",
        "1.0rc1",
        "1.0",
        "1.0.post1.dev2",
        "1.0.post1",
        "1.9",
        "1.10",
    ]
    assert ordered == sorted(ordered, key=Version), "the control"
    contents = dict(make_wheel("demo", version) for version in ordered)
    for filename, content in reversed(contents.items()):
        assert (await served.publish(filename, content)).status == 200
    page = await served.project_page_json("demo")
    assert page["versions"] == ordered
    assert [file["filename"] for file in page["files"]] == list(contents)
    await each_is_served(served, "demo", contents)


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("PEP 440", "Versions from before the standard: listed, and older than all others")
async def test_legacy_versions(served: Served) -> None:
    """They are on public indexes for ever, and break no page."""
    contents = {
        f"demo-{version}.tar.gz": version.encode()
        for version in ("2004d", "1.0-alpha-final", "dev", "0.1.x", "1.0", "r1234", "final", "0.9")
    }
    for filename, content in contents.items():
        await served.publish(filename, content)
    page = await served.project_page_json("demo")
    assert [file["filename"] for file in page["files"]][-2:] == ["demo-0.9.tar.gz", "demo-1.0.tar.gz"]
    assert page["versions"][-2:] == ["0.9", "1.0"]
    await each_is_served(served, "demo", contents)


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param("1abc-py3-none-any", marks=pytest.mark.conforms("PEP 427", "Build tags: each build is a file")),
        pytest.param(
            "py2.py3-none-manylinux1_x86_64.manylinux2010_x86_64",
            marks=pytest.mark.conforms("PEP 427", "Compressed tag sets: the file is listed and served"),
        ),
    ],
)
async def test_tags(served: Served, tags: str) -> None:
    """Beside the plain wheel of the same version, which is another file."""
    plain, content = make_wheel("demo", "1.0")
    _, other = make_wheel("demo", "1.0", size=100)
    contents = {plain: content, f"demo-1.0-{tags}.whl": other}
    for filename, each in contents.items():
        assert (await served.publish(filename, each)).status == 200
    assert (await served.project_page_json("demo"))["versions"] == ["1.0"]
    await each_is_served(served, "demo", contents)


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("PEP 503", "Old kinds of files: listed, under the right release, and served")
async def test_old_kinds_of_files(served: Served) -> None:
    """Eggs, installers, packages of other systems, other archives: as upstream has them."""
    contents = {filename: filename.encode() for filename in OLD_KINDS}
    for filename, content in contents.items():
        await served.publish(filename, content)
    page = await served.project_page_json("demo")
    assert page["versions"] == sorted(OLD_KINDS.values(), key=Version)
    assert [file["filename"] for file in page["files"]] == sorted(OLD_KINDS, key=lambda name: Version(OLD_KINDS[name]))
    assert not any(file.get("core-metadata") for file in page["files"])
    await each_is_served(served, "demo", contents)
    for address in (await served.addresses("demo")).values():
        assert (await served.get(f"{address}.metadata")).status == 404


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("PEP 691", "Files of a kind that is not known here: passed through")
async def test_unknown_kinds_of_files(served: Served) -> None:
    """What a later standard brings, and what lies beside files: as upstream lists it, the rest of the page unharmed."""
    wheel, content = make_wheel("demo", "1.0")
    contents = {
        wheel: content,
        "demo-1.0-variants.json": b"{}",
        f"{wheel}.sig": b"signed",
        "demo-1.0.tar.gz.asc": b"signed",
        "demo.json": b"{}",
        "demo-1.0.conda": b"?",
        "README": b"read me",
    }
    for filename, each in contents.items():
        await served.publish(filename, each, project="demo")
    await each_is_served(served, "demo", contents)


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("PEP 427", "Wheels with a variant label, or with a name that is none: the page stays whole")
async def test_wheels_of_tomorrow(served: Served) -> None:
    """Listed as they are; installers of today pass over them."""
    wheel, content = make_wheel("demo", "1.0")
    contents = {
        wheel: content,
        "demo-1.0-py3-none-any-x86_64_v3.whl": content,
        "demo-1.0-1-py3-none-any-cuda12.whl": content,
        "demo-1.0.whl": content,
        "demo-one-py3-none-any.whl": content,
    }
    for filename, each in contents.items():
        await served.publish(filename, each, project="demo")
    await each_is_served(served, "demo", contents)
    assert "1.0" in (await served.project_page_json("demo"))["versions"]


@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)
@pytest.mark.conforms("PEP 427", "Wheels of old tools, with capitals and dots in the name: of the same project")
async def test_wheels_of_old_tools(served: Served) -> None:
    """Old tools did not escape names; the file keeps its name, the project has one."""
    _, content = make_wheel("Foo.Bar", "1.0")
    contents = {f"{name}-1.{minor}-py3-none-any.whl": content for minor, name in enumerate(("Foo.Bar", "FOO_bar"))}
    for filename, each in contents.items():
        await served.publish(filename, each, project="foo-bar")
    page = await served.project_page_json("foo-bar")
    assert (page["name"], page["versions"]) == ("foo-bar", ["1.0", "1.1"])
    await each_is_served(served, "foo-bar", contents)


@pytest.mark.conforms("PEP 625", "sdists whose name can be read in two ways: of the project that they are of")
@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("a-b-1.0.tar.gz", "a-b", "1.0"),
        ("python-dateutil-2.8.tar.gz", "python-dateutil", "2.8"),
        ("foo-1.0-1.tar.gz", "foo", "1.0.post1"),
        ("foo-2-1.tar.gz", "foo-2", "1"),
        ("Foo.Bar-1.0.tar.gz", "foo-bar", "1.0"),
        ("demo-1.0.zip", "demo", "1.0"),
    ],
)
async def test_ambiguous_sdists(served: Served, filename: str, project: str, version: str) -> None:
    """Metadata, or upstream's page, says which."""
    content = make_zip(project, version) if filename.endswith(".zip") else make_sdist(project, version)[1]
    assert (await served.publish(filename, content, project=project)).status == 200
    versions = (await served.project_page_json(project))["versions"]
    # The upstream of these tests has readings of its own.
    assert versions == [version] if served.origin == "local" else version in versions
    await each_is_served(served, project, {filename: content})


@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS)
@pytest.mark.parametrize(("filename", "project"), [("foo-2-1.tar.gz", "foo-2"), ("foo-1.0-1.tar.gz", "foo")])
async def test_the_originals_address_of_an_ambiguous_sdist(served: Served, filename: str, project: str) -> None:
    """/local/<filename> leads to the file, whichever way its name is read."""
    _, content = make_sdist(project, "1" if project == "foo-2" else "1.0.post1")
    assert (await served.publish(filename, content, project=project)).status == 200
    answer = await served.get(f"/local/{filename}")
    assert (answer.status, answer.body) == (200, content)
    assert (await served.get("/local/foo-3-1.tar.gz")).status == 404


def make_zip(project: str, version: str) -> bytes:
    """An sdist as a zip file, as old tools made them on Windows."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        metadata = f"Metadata-Version: 1.1\nName: {project}\nVersion: {version}\n"
        archive.writestr(f"{project}-{version}/PKG-INFO", metadata)
        archive.writestr(f"{project}-{version}/setup.py", "from setuptools import setup\nsetup()\n")
    return buffer.getvalue()
