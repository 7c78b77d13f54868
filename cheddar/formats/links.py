"""How a file is addressed under Cheddar's own URLs: index, project, digest and file name, and no query."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

from cheddar.model import STRONG_DIGESTS, File


def digest_segment(file: File) -> str:
    """
    The digest part of a file's URL: the SHA-256, or C{<algorithm>-<hex>} of the best digest there is, or, for a
    file whose listing gives none, C{url-<hex>}: the SHA-256 of its upstream address.
    """
    if "sha256" in file.digests:
        return file.digests["sha256"]
    for algorithm in (*STRONG_DIGESTS, *sorted(file.digests)):
        if algorithm in file.digests:
            return f"{algorithm.replace('_', '')}-{file.digests[algorithm]}"
    return "url-" + sha256(file.url.encode()).hexdigest()


def file_path(index: str, project: str, file: File) -> str:
    """The path of a file below the root of the server, without a leading slash, percent-encoded."""
    return f"{index}/files/{project}/{digest_segment(file)}/{quote(file.filename)}"


def mirrored_path(index: str, project: str, file: File) -> str:
    """
    The path that the JSON API gives: the same below C{packages/}, where the public index has its files. bandersnatch
    keeps a file under its path, and takes no file from anywhere else.
    """
    return "packages/" + file_path(index, project, file)
