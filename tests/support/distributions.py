"""Real, small distribution files as bytes: what pip, uv and twine take for wheels and sdists."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import tarfile
import zipfile
from collections.abc import Iterable

_STAMP = (2024, 1, 1, 0, 0, 0)


def make_wheel(
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    requires: Iterable[str] = (),
    size: int = 0,
    extra: Iterable[tuple[str, bytes]] = (),
) -> tuple[str, bytes]:
    """
    A wheel with one module, a METADATA and a true RECORD; the same arguments give the same bytes.

    @param size: bytes of incompressible padding to put in.
    @param extra: more members, as (path, content).
    @return: file name and content.
    """
    module = _module(name)
    info = f"{module}-{version}.dist-info"
    members = [
        (f"{module}/__init__.py", f'__version__ = "{version}"\n'.encode()),
        *extra,
        (f"{info}/METADATA", _metadata(name, version, requires_python, requires)),
        (f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: cheddar-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ]
    if size:
        members.insert(1, (f"{module}/padding.bin", _padding(name, version, size)))
    record = "".join(f"{path},sha256={_record_digest(content)},{len(content)}\n" for path, content in members)
    members.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in members:
            member = zipfile.ZipInfo(path, _STAMP)
            member.external_attr = 0o644 << 16
            # Deflating padding costs seconds where a test wants a big file.
            member.compress_type = zipfile.ZIP_STORED if len(content) > 1 << 20 else zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return f"{module}-{version}-py3-none-any.whl", buffer.getvalue()


def make_sdist(
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    requires: Iterable[str] = (),
    size: int = 0,
    extra: Iterable[tuple[str, bytes]] = (),
    metadata_version: str = "2.1",
    dynamic: Iterable[str] = (),
    builds: bool = True,
) -> tuple[str, bytes]:
    """
    An sdist (C{.tar.gz}) with PKG-INFO and a setup.py that pip can build; the same arguments give the same bytes.

    @param size: bytes of incompressible padding to put in.
    @param extra: more members, as (path below the top folder, content).
    @param metadata_version: of PKG-INFO; from 2.2 on it is static but for what is dynamic.
    @param dynamic: the fields that PKG-INFO says are so.
    @param builds: whether it can be built at all.
    @return: file name and content.
    """
    module = _module(name)
    top = f"{module}-{version}"
    setup = (
        "from setuptools import setup\n"
        f"setup(name={name!r}, version={version!r}, packages=[{module!r}], "
        f"python_requires={requires_python!r}, install_requires={list(requires)!r})\n"
    )
    if not builds:
        setup = 'raise SystemExit("somebody tried to build this")\n'
    members = [
        ("PKG-INFO", _metadata(name, version, requires_python, requires, metadata_version, dynamic)),
        ("setup.py", setup.encode()),
        (f"{module}/__init__.py", f'__version__ = "{version}"\n'.encode()),
        *extra,
    ]
    if size:
        members.append(("padding.bin", _padding(name, version, size)))
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=1, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in members:
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    return f"{top}.tar.gz", packed.getvalue()


def core_metadata_of(wheel_bytes: bytes) -> bytes:
    """The exact METADATA of a wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel_bytes)) as archive:
        (path,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA"))
        return archive.read(path)


def sha256(content: bytes) -> str:
    """The SHA-256 of C{content}, in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _module(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _padding(name: str, version: str, size: int) -> bytes:
    source = random.Random(f"{name} {version}")
    # randbytes takes the number of bits as a C int.
    pieces = [source.randbytes(1 << 24) for _ in range(size >> 24)]
    return b"".join((*pieces, source.randbytes(size & 0xFFFFFF)))


def _record_digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _metadata(
    name: str,
    version: str,
    requires_python: str | None,
    requires: Iterable[str],
    metadata_version: str = "2.1",
    dynamic: Iterable[str] = (),
) -> bytes:
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}"]
    lines += [f"Dynamic: {field}" for field in dynamic]
    lines.append(f"Summary: {name} for a test")
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n\nMade for a test.\n").encode()
