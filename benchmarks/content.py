"""
What the generated upstream has, as files that nginx serves: pages in HTML and JSON, each also in gzip, and wheels.
Made once, and kept: most of it is listed and never downloaded, as on a real index.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.support.distributions import make_wheel

MB = 1_000_000

#: To be moved on when what is made changes.
VERSION = 3

PROJECTS = 2000
MEDIAN = 40
HUGE = 10_000

#: Files of which every round takes one that nobody has asked for before.
COLD_ROUNDS = 5
SIZES: Mapping[str, int] = {"warm-5": 5 * MB, "warm-200": 200 * MB}
COLD_SIZES: Mapping[str, int] = {"cold-5": 5 * MB, "cold-50": 50 * MB, "cold-200": 200 * MB}


@frozen
class Listed:
    """A file on a page, in the words of the Simple API."""

    filename: str
    sha256: str
    size: int
    metadata_sha256: str | None = None
    requires_python: str = ">=3.8"

    def entry(self, root: str) -> dict[str, Any]:
        """Its part of the JSON. @param root: the address of the folder it is in, or the way there."""
        return {
            "filename": self.filename,
            "url": root + self.filename,
            "hashes": {"sha256": self.sha256},
            "requires-python": self.requires_python,
            "size": self.size,
            "upload-time": "2024-01-02T03:04:05.678901Z",
            "yanked": False,
            "core-metadata": {"sha256": self.metadata_sha256} if self.metadata_sha256 else False,
        }

    def anchor(self, root: str) -> str:
        """Its line of the HTML."""
        beside = f' data-core-metadata="sha256={self.metadata_sha256}"' if self.metadata_sha256 else ""
        return (
            f'<a href="{root}{self.filename}#sha256={self.sha256}" data-requires-python='
            f'"{escape(self.requires_python)}"{beside}>{self.filename}</a><br/>\n'
        )


def write_page(folder: Path, name: str, versions: Sequence[str], files: Sequence[Listed], root: str) -> None:
    """Write a project's page in every representation."""
    entries = [file.entry(root) for file in files]
    page = {"meta": {"api-version": "1.1"}, "name": name, "versions": list(versions), "files": entries}
    _write(folder / name / "index.json", json.dumps(page).encode())
    links = "".join(file.anchor(root) for file in files)
    _write(folder / name / "index.html", _html(f"Links for {name}", links))


def write_root(folder: Path, names: Iterable[str]) -> None:
    """Write the list of projects."""
    listed = sorted(names)
    root = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in listed]}
    _write(folder / "index.json", json.dumps(root).encode())
    _write(folder / "index.html", _html("Simple index", "".join(f'<a href="{n}/">{n}</a><br/>\n' for n in listed)))


def _html(title: str, links: str) -> bytes:
    head = '<meta name="pypi:repository-version" content="1.1">'
    return f"<!DOCTYPE html>\n<html><head>{head}<title>{title}</title></head>\n<body>\n{links}</body></html>\n".encode()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    # As nginx's manual advises: of the same time as the page.
    compressed = path.with_name(path.name + ".gz")
    compressed.write_bytes(gzip.compress(content, 6, mtime=0))
    shutil.copystat(path, compressed)


def invented(name: str, number: int) -> list[Listed]:
    """Wheels and sdists, in turn, that are listed and are not there; wheels have core metadata, as most have today."""
    files = []
    for index in range(number):
        version = f"{index // 200}.{index // 2 % 100}.0"
        suffix = "-py3-none-any.whl" if index % 2 == 0 else ".tar.gz"
        filename = f"{name}-{version}{suffix}"
        digest = hashlib.sha256(filename.encode()).hexdigest()
        files.append(Listed(filename, digest, 12_345, digest if index % 2 == 0 else None))
    return files


def versions_of(files: Iterable[Listed]) -> list[str]:
    """The versions of L{invented} files."""
    return list(dict.fromkeys(file.filename.split("-")[1].removesuffix(".tar.gz") for file in files))


def large_wheel(name: str, version: str, size: int) -> tuple[str, bytes, bytes]:
    """A wheel of about C{size} bytes that is like no other. @return: its name, its bytes, its core metadata."""
    padding = (f"{name.replace('-', '_')}/data.bin", _padding(f"{name} {version}", size))
    filename, content = make_wheel(name, version, extra=[padding])
    return filename, content, metadata_of(content)


def metadata_of(wheel: bytes) -> bytes:
    """The METADATA of a wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return archive.read(name)


def _padding(seed: str, size: int) -> bytes:
    # make_wheel's own is random throughout, which takes seconds.
    piece = random.Random(seed).randbytes(min(size, MB))
    return (piece * (size // len(piece) + 1))[:size]


def keep_wheel(folder: Path, filename: str, content: bytes, metadata: bytes | None) -> Listed:
    """Put a wheel into C{folder}, and its core metadata, if it has any there, beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / filename).write_bytes(content)
    if metadata is not None:
        (folder / f"{filename}.metadata").write_bytes(metadata)
    digest = None if metadata is None else hashlib.sha256(metadata).hexdigest()
    return Listed(filename, hashlib.sha256(content).hexdigest(), len(content), digest)


def _bulk(folder: Path) -> list[str]:
    names = []
    for name, size in {**SIZES, **COLD_SIZES}.items():
        rounds = COLD_ROUNDS if name in COLD_SIZES else 1
        versions = [f"{number + 1}.0" for number in range(rounds)]
        files = [keep_wheel(folder / "files", *large_wheel(name, version, size)) for version in versions]
        write_page(folder / "simple", name, versions, files, "../../files/")
        names.append(name)
    return names


def make_index(folder: Path) -> None:
    """The upstream of all but the trees: C{folder/simple} and C{folder/files}."""
    stamp = folder / f".made-{VERSION}"
    if stamp.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    names = [f"proj{number:04}" for number in range(PROJECTS)]
    for name in names:
        files = invented(name, 6)
        write_page(folder / "simple", name, versions_of(files), files, "../../files/")
    for name, number in (("median", MEDIAN), ("huge", HUGE)):
        files = invented(name, number)
        write_page(folder / "simple", name, versions_of(files), files, "../../files/")
        names.append(name)
    # One page for each client of each round that comes to a cold one.
    for number in range(COLD_ROUNDS):
        name = f"cold-page-{number}"
        files = invented(name, MEDIAN)
        write_page(folder / "simple", name, versions_of(files), files, "../../files/")
        names.append(name)
    names += _bulk(folder)
    write_root(folder / "simple", names)
    stamp.touch()


def make_tree(folder: Path, metadata: bool) -> None:
    """
    The tree of a real application (L{benchmarks.upstream}) as an upstream of files.

    @param metadata: whether it has core metadata beside its wheels.
    """
    from benchmarks.upstream import make_files

    stamp = folder / f".made-{VERSION}"
    if stamp.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    pages = make_files(folder / "files")
    for name, raw in pages.items():
        page = json.loads(raw)
        files = []
        for entry in page["files"]:
            filename, digest = entry["filename"], None
            if metadata:
                beside = metadata_of((folder / "files" / filename).read_bytes())
                (folder / "files" / f"{filename}.metadata").write_bytes(beside)
                digest = hashlib.sha256(beside).hexdigest()
            files.append(Listed(filename, entry["hashes"]["sha256"], entry["size"], digest))
        write_page(folder / "simple", name, page["versions"], files, "../../files/")
    write_root(folder / "simple", pages)
    os.utime(folder)
    stamp.touch()
