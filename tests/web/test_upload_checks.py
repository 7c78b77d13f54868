"""What a file has to be before it is published, over HTTP, on both stores: its name, its archive, its metadata."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import attrs
import pytest
import pytest_twisted
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel, sha256
from tests.support.server import PASSWORD, USER, CheddarHere, basic, upload_form
from tests.web.test_uploads import page, spooled

#: (the name that an old tool gives a file, what it should be called).
OLD_NAMES = {
    "Demo.Pkg-1.0-py3-none-any.whl": "demo_pkg-1.0-py3-none-any.whl",
    "demo_pkg-01.0-py3-none-any.whl": "demo_pkg-1.0-py3-none-any.whl",
    "Demo.Pkg-1.0.tar.gz": "demo_pkg-1.0.tar.gz",
    "demo-pkg-1.0.tar.gz": "demo_pkg-1.0.tar.gz",
    "Demo_Pkg-1.0.zip": "demo_pkg-1.0.tar.gz",
}
NEW_NAMES = (
    "demo_pkg-1.0-py3-none-any.whl",
    "demo_pkg-1.0-2-py2.py3-none-any.whl",
    "demo_pkg-1.0.tar.gz",
)

WHEEL_NAMES = ("PEP 427", "File name: the project's name normalized with underscores, the version as PEP 440")
SDIST_NAMES = ("PEP 625", "File name: exactly name-version.tar.gz, the name normalized with underscores")


def zip_sdist() -> bytes:
    """An sdist as distutils makes it on Windows."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("Demo_Pkg-1.0/PKG-INFO", "Metadata-Version: 1.0\nName: Demo.Pkg\nVersion: 1.0\n")
        archive.writestr("Demo_Pkg-1.0/setup.py", "")
    return buffer.getvalue()


def content_for(filename: str) -> bytes:
    """A file that may be called so."""
    if filename.endswith(".zip"):
        return zip_sdist()
    return (make_wheel if filename.endswith(".whl") else make_sdist)("Demo.Pkg", "1.0")[1]


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the log warns of."""
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") == LogLevel.warn:
            said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize("filename", OLD_NAMES)
async def test_old_names_are_taken_with_a_warning(cheddar: CheddarHere, warnings: list[str], filename: str) -> None:
    """What old tools named can be published; the log says which file it is, whose, and what it should be called."""
    content = content_for(filename)
    for _ in range(2):
        assert (await cheddar.upload(filename, content)).status == 200
    (file,) = (await page(cheddar, "demo-pkg", "/local"))["files"]
    assert file["filename"] == filename
    assert (await cheddar.ask("GET", f"/local/{filename}")).body == content
    (warning,) = warnings
    assert warning.startswith(f"{filename}, which {USER} published, should be called {OLD_NAMES[filename]}: ")


async def test_right_names_are_taken_in_silence(cheddar: CheddarHere, warnings: list[str]) -> None:
    """The log does not speak of what is as it should be."""
    for filename in NEW_NAMES:
        assert (await cheddar.upload(filename, content_for(filename))).status == 200
    assert warnings == []


@pytest_twisted.async_yield_fixture
async def strict(reactor: Any, tmp_path: Path) -> Any:
    """A Cheddar that takes normalized names only."""
    settings = Settings(data_dir=tmp_path / "strict", index_url="", strict_names=True)
    server = await CheddarHere(settings, reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


@pytest.mark.conforms(*WHEEL_NAMES)
@pytest.mark.conforms(*SDIST_NAMES)
@pytest.mark.parametrize("filename", OLD_NAMES)
async def test_old_names_can_be_refused(strict: CheddarHere, filename: str) -> None:
    """With STRICT_NAMES they are a 400 that says the right name, and nothing is kept."""
    answer = await strict.upload(filename, content_for(filename))
    assert answer.status == 400
    assert filename in answer.reason
    assert f"it should be {OLD_NAMES[filename]}. " in answer.json()["detail"]
    assert (await strict.ask("GET", "/local/simple/demo-pkg/")).status == 404
    assert [path for path in strict.settings.data_dir.rglob("*emo*") if path.is_file()] == []


@pytest.mark.conforms(*WHEEL_NAMES)
@pytest.mark.conforms(*SDIST_NAMES)
async def test_right_names_are_never_refused(strict: CheddarHere) -> None:
    """With STRICT_NAMES too, what the tools of today build is published."""
    for filename in NEW_NAMES:
        assert (await strict.upload(filename, content_for(filename))).status == 200


async def test_what_is_published_already_stays_published(reactor: Any, tmp_path: Path) -> None:
    """A file from before STRICT_NAMES is served on, and uploading its bytes once more is no error."""
    filename, settings = "Demo.Pkg-1.0.tar.gz", Settings(data_dir=tmp_path, index_url="")
    for strict in (False, True):
        server = await CheddarHere(attrs.evolve(settings, strict_names=strict), reactor).start()
        try:
            await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
            assert (await server.upload(filename, content_for(filename))).status == 200
            assert (await server.ask("GET", f"/local/{filename}")).body == content_for(filename)
            other = await server.upload(f"Demo{'-' if strict else '_'}Pkg-1.0.zip", zip_sdist())
            assert other.status == (400 if strict else 200), "the control"
        finally:
            await server.stop()


def rezipped(content: bytes, *, drop: str = "", add: tuple[str, ...] = ()) -> bytes:
    """A wheel that somebody changed after it was built."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            if name != drop:
                archive.writestr(name, source.read(name))
        for name in add:
            archive.writestr(name, b"")
    return target.getvalue()


def bomb() -> bytes:
    """An sdist of one file that unpacks to a thousand times its size."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as packed:
        member = tarfile.TarInfo("demo-1.0/data.bin")
        member.size = 100 * 1024 * 1024
        packed.write(member.tobuf())
        for _ in range(100):
            packed.write(bytes(1024 * 1024))
        packed.write(bytes(1024))
    return buffer.getvalue()


def sparse() -> bytes:
    """An sdist with a file that has a hole."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("demo-1.0/PKG-INFO")
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(member)
    return buffer.getvalue()


def wrong_archives() -> list[tuple[str, str, bytes, str]]:
    """(what is wrong, file name, content, what the answer says)."""
    wheel, built = make_wheel("demo", "1.0")
    info = "demo-1.0.dist-info"
    return [
        ("unlisted", wheel, rezipped(built, add=("demo/new.py",)), "holds 'demo/new.py', which its RECORD does not"),
        ("absent", wheel, rezipped(built, drop="demo/__init__.py"), "names 'demo/__init__.py', which it does not hold"),
        ("no RECORD", wheel, rezipped(built, drop=f"{info}/RECORD"), "no RECORD"),
        ("no WHEEL", wheel, rezipped(built, drop=f"{info}/WHEEL"), "no WHEEL"),
        ("no METADATA", wheel, rezipped(built, drop=f"{info}/METADATA"), "no METADATA"),
        ("two projects", wheel, rezipped(built, add=("other-1.0.dist-info/METADATA",)), "one .dist-info folder"),
        ("path upwards", wheel, rezipped(built, add=("../x",)), "not allowed"),
        ("something before", wheel, b"#!/bin/sh\n" + built, "not a ZIP archive that can be taken"),
        ("something behind", wheel, built + b"x", "not a ZIP archive that can be taken"),
        ("bomb", "demo-1.0.tar.gz", bomb(), "out of proportion"),
        ("sparse", "demo-1.0.tar.gz", sparse(), "sparse"),
        ("both kinds", "demo-1.0.tar.gz", make_sdist("demo", "1.0")[1] + built, ""),
        ("wheel as sdist", "demo-1.0.tar.gz", built, ""),
        ("sdist as wheel", wheel, make_sdist("demo", "1.0")[1], ""),
    ]


@pytest.mark.conforms("Upload API", "Archives: broken, ambiguous, hostile or not what the name says: refused")
@pytest.mark.parametrize("wrong", wrong_archives(), ids=lambda wrong: wrong[0])
async def test_wrong_archives(cheddar: CheddarHere, settings: Settings, wrong: Any) -> None:
    """400, with what is wrong; nothing is kept, and the right file can be published afterwards."""
    _, filename, content, says = wrong
    answer = await cheddar.upload(filename, content)
    assert answer.status == 400, answer
    assert says in answer.json()["detail"]
    assert [path for path in settings.data_dir.rglob("*demo*") if path.is_file()] == []
    assert spooled(settings) == []
    assert (await cheddar.upload(*make_wheel("demo", "1.0"))).status == 200, "the control"


OFFERED = ("PEP 658", "Sdists: core metadata is offered, with its hash, where it is static")


@pytest.mark.conforms(*OFFERED)
@pytest.mark.parametrize("index", ["local", "combined"])
async def test_static_metadata_of_sdists_is_offered(cheddar: CheddarHere, index: str) -> None:
    """The page gives its hash in both formats, and beside the file it is, byte for byte."""
    filename, content = make_sdist("demo", "1.0", metadata_version="2.2", requires=("leaf>=1",), dynamic=("Summary",))
    assert (await cheddar.upload(filename, content)).status == 200
    root = "" if index == "combined" else "/local"
    (file,) = (await page(cheddar, "demo", root))["files"]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.extractfile("demo-1.0/PKG-INFO")
        assert member is not None
        raw = member.read()
    assert file["core-metadata"] == file["dist-info-metadata"] == {"sha256": sha256(raw)}
    address = urlsplit(urljoin(f"http://x{root}/simple/demo/", file["url"])).path
    answer = await cheddar.ask("GET", f"{address}.metadata")
    assert (answer.status, answer.body) == (200, raw)
    html = await cheddar.ask("GET", f"{root}/simple/demo/", headers={"Accept": "text/html"})
    assert f'data-core-metadata="sha256={sha256(raw)}"'.encode() in html.body


@pytest.mark.conforms("PEP 658", "Sdists: nothing is offered of one that must be built to know what it needs")
@pytest.mark.parametrize("index", ["local", "combined"])
async def test_other_metadata_of_sdists_is_not(cheddar: CheddarHere, index: str) -> None:
    """Old metadata, and fields that the build decides: no mark on the page, and nothing beside the file."""
    root = "" if index == "combined" else "/local"
    for version, arguments in (
        ("1.0", {"metadata_version": "2.1"}),
        ("1.1", {"metadata_version": "2.4", "dynamic": ("Requires-Dist",)}),
        ("1.2", {"metadata_version": "2.6", "dynamic": ("Summary", "requires-python")}),
    ):
        assert (await cheddar.upload(*make_sdist("demo", version, **arguments))).status == 200  # type: ignore[arg-type]
    files = (await page(cheddar, "demo", root))["files"]
    assert len(files) == 3
    for file in files:
        assert not file.get("core-metadata")
        assert not file.get("dist-info-metadata")
        address = urlsplit(urljoin(f"http://x{root}/simple/demo/", file["url"])).path
        assert (await cheddar.ask("GET", address)).status == 200
        assert (await cheddar.ask("GET", f"{address}.metadata")).status == 404
    html = await cheddar.ask("GET", f"{root}/simple/demo/", headers={"Accept": "text/html"})
    assert b"core-metadata" not in html.body
    filename, content = make_wheel("demo", "1.0")
    assert (await cheddar.upload(filename, content)).status == 200
    files = (await page(cheddar, "demo", root))["files"]
    (offered,) = (file["url"] for file in files if file.get("core-metadata"))
    beside = urlsplit(urljoin(f"http://x{root}/simple/demo/", offered)).path + ".metadata"
    assert (await cheddar.ask("GET", beside)).body == core_metadata_of(content), "the control"


#: (what the form says, what the file says, whether they agree).
REQUIREMENTS = [
    (("foo>=1", "bar; extra == 'x'"), ("foo>=1", "bar; extra == 'x'"), True),
    (('Bar;extra=="x"', "foo (>=1)"), ("foo>=1", "bar; extra == 'x'"), True),
    ((), ("foo>=1",), True),
    (("foo>=1",), ("foo>=1", "evil"), False),
    (("foo>=1", "bar"), ("foo>=1",), False),
    (("foo>=1",), ("foo>=2",), False),
    (("foo>=1",), ("foo@ https://evil.example/foo.whl",), False),
    (("foo>=1",), (), False),
    (("no requirement at all",), ("no requirement at all",), True),
]
PYTHONS = [
    (">=3.8,<4", "<4, >=3.8", True),
    (">=3.8", ">=3.8", True),
    (">=3.8", ">=3.9", False),
    (">=3.8", None, False),
    ("", ">=3.8", True),
    ("nonsense", "nonsense", True),
]


def form_of(filename: str, content: bytes, fields: list[tuple[str, str]]) -> tuple[bytes, str]:
    """An upload whose form repeats fields."""
    body, content_type = upload_form(filename, content)
    parts = "".join(f'--frontier\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields)
    return parts.encode() + body, content_type


@pytest.mark.deadline(40)
async def test_a_form_that_hides_requirements(cheddar: CheddarHere) -> None:
    """
    What a form says that a file requires is what the file says, by its meaning, or the upload is refused and the file
    not kept. What is served is the file's own, to the byte.
    """
    cases = [
        ([("requires_dist", line) for line in said], {"requires": own}, agrees) for said, own, agrees in REQUIREMENTS
    ] + [([("requires_python", said)], {"requires_python": own}, agrees) for said, own, agrees in PYTHONS]
    for number, (fields, made_of, agrees) in enumerate(cases):
        filename, content = make_wheel("demo", f"{number}.0", **made_of)
        body, content_type = form_of(filename, content, fields)
        headers = {"Content-Type": content_type, "Authorization": basic()}
        answer = await cheddar.ask("POST", "/pypi/", body, headers)
        assert answer.status == (200 if agrees else 400), (fields, made_of, answer.reason)
        listed = {file["filename"]: file for file in (await page(cheddar, "demo"))["files"]} if number else {}
        if number:
            assert (filename in listed) is agrees, fields
        if agrees and number:
            assert listed[filename].get("requires-python") == made_of.get("requires_python")
            path = urlsplit(urljoin("http://x/simple/demo/", listed[filename]["url"])).path
            served = (await cheddar.ask("GET", path + ".metadata")).body
            assert served == core_metadata_of(content)
            assert listed[filename]["core-metadata"]["sha256"] == sha256(served)
        if not agrees:
            assert "is not the file's own" in answer.reason
    sdist = make_sdist("demo", "99.0", requires=("foo",))
    body, content_type = form_of(*sdist, [("requires_dist", "bar")])
    answer = await cheddar.ask("POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": basic()})
    assert answer.status == 200, "what an sdist requires is known when it is built"
