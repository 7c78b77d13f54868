"""What the remote index reads in upstream's listings, and what it makes of a listing that changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

from attrs import evolve

from cheddar.formats.links import digest_segment
from cheddar.model import STRONG_DIGESTS, File, Project, is_prerelease

#: Digests that tell whether two files are the same, best first.
COMPARED_DIGESTS = (*STRONG_DIGESTS, "md5")


def storage_key(project: str, file: File) -> str:
    """
    Where a file of upstream lies in storage: releases and pre-releases apart, in a folder by its digest, so that
    other bytes under the same name are another file.
    """
    folder = "pre-releases" if is_prerelease(file.version) else "releases"
    digest = digest_segment(file).rpartition("-")[2]
    return f"{folder}/{project}/{digest[:16]}/{file.filename}"


def metadata_url(url: str) -> str:
    """The address of a file's core metadata: C{.metadata} after the path (PEP 658), the query kept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path}.metadata", fragment=""))


def find_file(project: Project, filename: str, digest: str | None) -> File | None:
    """
    The file that a URL means.

    @param digest: as the URL has it; that of a page served before the file's SHA-256 was known is good for ever.
    """
    for file in project.files:
        if file.filename == filename and (digest is None or digest in _digest_segments(file)):
            return file
    return None


def _digest_segments(file: File) -> Iterable[str]:
    yield digest_segment(file)
    yield digest_segment(evolve(file, digests={name: hex_ for name, hex_ in file.digests.items() if name != "sha256"}))


def compared_digest(one: File, other: File) -> str | None:
    """The best digest that two entries both have, or None."""
    both = one.digests.keys() & other.digests.keys()
    return next((algorithm for algorithm in (*COMPARED_DIGESTS, *sorted(both)) if algorithm in both), None)


def same_bytes(one: File, other: File) -> bool | None:
    """Whether two entries of one name stand for the same bytes, by the best digest that both have, or None."""
    algorithm = compared_digest(one, other)
    return None if algorithm is None else one.digests[algorithm] == other.digests[algorithm]


def with_what_was_learned(before: File, now: File) -> File:
    """
    Upstream's entry of a file, with what was found out here about the same bytes before. They must be right by the
    digests of before too: an entry that has others instead could not be told from that of another file.
    """
    same = bool(same_bytes(before, now))
    if "sha256" in before.digests and "sha256" not in now.digests:
        # Computed here from the bytes upstream sent first.
        same = True
    if not before.digests.keys() <= now.digests.keys():
        now = evolve(now, digests={**before.digests, **now.digests})
    if not same:
        return now
    if now.size is None and before.size is not None:
        now = evolve(now, size=before.size)
    return _with_first_metadata(before, now)


def _with_first_metadata(before: File, now: File) -> File:
    """
    Upstream's entry of a file with the core metadata that was first seen of its bytes, which is served as immutable.
    Where upstream lists none any more, it is as if it had been made here: what is kept is served, and what is not is
    made of the file, if that gives the same.
    """
    first, listed = before.core_metadata, now.core_metadata
    if listed is None and (first or before.made_metadata):
        return evolve(now, core_metadata=first, made_metadata=True)
    if not first or listed is None:
        return now
    algorithm = next((name for name in STRONG_DIGESTS if name in first and name in listed), None)
    if algorithm is None or first[algorithm] == listed[algorithm]:
        return evolve(now, core_metadata={**listed, **first})
    other = f"{algorithm} {listed[algorithm]}"
    return evolve(now, core_metadata=first, made_metadata=before.made_metadata, other_metadata=other)


def pin_file(project: Project, file: File) -> Project:
    """The listing with the digests that C{file} has, for the entry of the same name and address."""
    files = tuple(
        evolve(entry, digests=file.digests, size=file.size)
        if (entry.filename, entry.url) == (file.filename, file.url) and "sha256" not in entry.digests
        else entry
        for entry in project.files
    )
    return evolve(project, files=files)


def replace_files(project: Project, changes: Sequence[tuple[File, File]]) -> Project:
    """
    The listing with what was made of some files.

    @param changes: each file as it was, and as it is to be: its core metadata, and its size. An entry that says
        something else than before is left alone.
    """
    by_name = {before.filename: (before, after) for before, after in changes}
    files = tuple(_replaced(entry, *by_name.get(entry.filename, (None, entry))) for entry in project.files)
    return evolve(project, files=files)


def _replaced(entry: File, before: File | None, after: File) -> File:
    if before is None or digest_segment(before) not in _digest_segments(entry):
        return entry
    if (entry.core_metadata, entry.made_metadata) != (before.core_metadata, before.made_metadata):
        return entry
    size = after.size if entry.size is None else entry.size
    return evolve(entry, core_metadata=after.core_metadata, made_metadata=after.made_metadata, size=size)
