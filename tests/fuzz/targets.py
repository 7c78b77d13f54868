"""What is fuzzed: each target takes any bytes, and fails where its reader does anything but read or refuse them."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import frozen
from twisted.web.http_headers import Headers

from cheddar.errors import CheddarError
from cheddar.formats import archives, core_metadata, filenames, negotiation, simple_html, simple_json
from cheddar.formats.byte_ranges import Span, parse_range
from cheddar.formats.tokens import format_token, parse_token
from cheddar.formats.upload_form import FormLimits, UploadFormParser
from cheddar.formats.wanted import read_wanted
from cheddar.index.upload_checks import check_form
from cheddar.model import is_prerelease, normalize_version, sort_versions
from cheddar.web.access import credentials_of
from tests.support.distributions import core_metadata_of, make_sdist, make_wheel
from tests.support.server import basic, upload_form

SAMPLES = Path(__file__).parent.parent / "formats" / "wanted" / "samples"
ADDRESS = "https://upstream.example/simple/demo/"
_WHEEL, _WHEEL_BYTES = make_wheel("demo", "1.0", requires_python=">=3.8", requires=("flask>=2",))
_SDIST, _SDIST_BYTES = make_sdist("demo", "1.0")
_FORM, _FORM_TYPE = upload_form(_WHEEL, b"content" * 20, {"name": "demo", "version": "1.0"})
_PAGE = {
    "meta": {"api-version": "1.4"},
    "name": "demo",
    "versions": ["1.0"],
    "files": [
        {
            "filename": _WHEEL, "url": "demo/" + _WHEEL, "hashes": {"sha256": "ab" * 32}, "size": 7,
            "requires-python": ">=3.8", "yanked": "bad", "core-metadata": {"sha256": "cd" * 32},
            "upload-time": "2024-01-02T03:04:05.678901Z", "provenance": "https://upstream.example/p",
        }
    ],
}  # fmt: skip
_HTML = (
    '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.1"><base href="/x/"></head><body>'
    f'<a href="{_WHEEL}#sha256={"ab" * 32}" data-requires-python="&gt;=3.8" data-yanked="" '
    'data-core-metadata="sha256=cd">demo</a></body></html>'
)


@frozen
class Target:
    """
    @ivar read: what is fuzzed; errors of Cheddar's own are refusals.
    @ivar seeds: good inputs to begin with.
    """

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]

    def __call__(self, data: bytes) -> None:
        """Read, or refuse."""
        try:
            self.read(data)
        except CheddarError as error:
            if not str(error):
                raise AssertionError("a refusal says why") from error


def _form(data: bytes) -> object:
    taken: list[bytes] = []
    step = 1 + (data[0] if data else 0)
    parser = UploadFormParser(_FORM_TYPE, taken.append, FormLimits(file=10_000))
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
    form = parser.finish()
    assert sum(map(len, taken)) <= 10_000
    return form


def _range(data: bytes) -> object:
    size = len(data)
    found = parse_range(data.decode("latin-1"), size)
    assert not isinstance(found, Span) or 0 <= found.first <= found.last < size
    return found


def _accept(data: bytes) -> object:
    values = [value.decode("latin-1") for value in data.split(b"\n")]
    return negotiation.choose_simple(values), negotiation.wants_html(values), negotiation.wants_legacy_json(values)


def _authorization(data: bytes) -> object:
    request: Any = SimpleNamespace(requestHeaders=Headers({b"authorization": data.split(b"\n")}))
    return credentials_of(request)


def _version(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    return normalize_version(normalize_version(text)), is_prerelease(text), sort_versions([text, "1.0", "", text + "0"])


def _requirement(data: bytes) -> object:
    """As a form has it: a line for Python, and others."""
    python, *others = data.decode("utf-8", "replace").split("\n")
    upload: Any = SimpleNamespace(filename=_WHEEL, fields={"requires_python": (python,), "requires_dist": others})
    return check_form(upload, core_metadata.parse(core_metadata_of(_WHEEL_BYTES)))


def _token(data: bytes) -> object:
    try:
        return parse_token(data.decode("latin-1"))
    except ValueError:
        return None


def _archive(filename: str) -> Callable[[bytes], object]:
    return lambda data: archives.read_upload(BytesIO(data), filename)


def _lock(name: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        def file(path: str) -> bytes:
            return data if path == name else b""

        return read_wanted(name, file)

    return read


def _samples(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLES.glob(f"{name}*"))]


def _zip_of_sdist() -> bytes:
    """The source distribution as a zip."""
    made = BytesIO()
    with tarfile.open(fileobj=BytesIO(_SDIST_BYTES)) as tar, zipfile.ZipFile(made, "w") as archive:
        for member in tar.getmembers():
            if member.isfile():
                archive.writestr(member.name, tar.extractfile(member).read())  # type: ignore[union-attr]  # it is a file
    return made.getvalue()


TARGETS: Mapping[str, Target] = {
    "form": Target(_form, [_FORM]),
    "json page": Target(lambda data: simple_json.parse_project(data, "demo", ADDRESS), [json.dumps(_PAGE).encode()]),
    "html page": Target(
        lambda data: simple_html.parse_project(data, "text/html; charset=utf-8", "demo", ADDRESS), [_HTML.encode()]
    ),
    "core metadata": Target(core_metadata.parse, [core_metadata_of(_WHEEL_BYTES)]),
    "wheel": Target(_archive(_WHEEL), [_WHEEL_BYTES]),
    "tar": Target(_archive(_SDIST), [_SDIST_BYTES]),
    "zip": Target(_archive("demo-1.0.zip"), [_zip_of_sdist(), _WHEEL_BYTES]),
    "file name": Target(
        lambda data: filenames.parse(data.decode("latin-1")), [_WHEEL.encode(), _SDIST.encode(), b"foo-2-1.tar.gz"]
    ),
    "version": Target(_version, [b"1.0", b"1!2.0rc1.post2.dev3+local.4", b"v1-2"]),
    "requirement": Target(
        _requirement, [b">= 3.8\nflask >=2", b"<4\nfoo[bar]>=1,<2; python_version < '3.9'\nbaz @ https://e.example/x"]
    ),
    "range": Target(_range, [b"bytes=0-10", b"bytes=-5", b"bytes=3-"]),
    "accept": Target(_accept, [b"text/html;q=0.5, application/vnd.pypi.simple.v1+json", b"*/*;q=0.1\ntext/*"]),
    "authorization": Target(_authorization, [basic().encode(), b"Bearer chd_x"]),
    "token": Target(_token, [format_token("a" * 12, "b" * 32).encode()]),
    "requirements": Target(_lock("requirements.txt"), [b"flask>=2 ; python_version < '3.12' \\\n  --hash=sha256:ab\n"]),
    "pylock": Target(_lock("pylock.toml"), _samples("pylock")),
    "uv.lock": Target(_lock("uv.lock"), _samples("uv")),
    "poetry.lock": Target(_lock("poetry.lock"), _samples("poetry")),
}
