"""What an upload has to be before it is published: its name, its digests, its archive, its metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cheddar.errors import Invalid
from cheddar.formats import archives, filenames
from cheddar.interfaces import IFileWriter, IUpload
from cheddar.model import CoreMetadata
from cheddar.names import is_filename, is_project_name, normalize

#: The form's digest fields and what they are by the length of their value. Python 3.9 to 3.11 send a BLAKE2b of
#: 64 bytes where 32 are meant (distutils' upload forgot the digest size).
_CLAIMS = {
    ("md5_digest", 32): "md5",
    ("sha256_digest", 64): "sha256",
    ("blake2_256_digest", 64): "blake2b_256",
    ("blake2_256_digest", 128): "blake2b",
}


#: What the form calls the kinds of files that can be published, by what the file's name says.
_FILETYPES = {True: "bdist_wheel", False: "sdist"}
#: The C{pyversion} of an sdist, which wheels cannot have. Of a wheel it is the Python tag, or of old tools the Python
#: that built it.
_SOURCE = "source"
#: Characters of requirements that are read to compare what they mean: some megabytes of them take a minute.
_READ_MOST = 256 * 1024


def check_filename(filename: str) -> None:
    """@raise Invalid: C{filename} names no distribution file that can be kept here."""
    if not is_filename(filename):
        raise Invalid(
            "The file's name is not usable: letters, digits and ._+!- only, at most 200, not beginning with a dot or "
            "a dash."
        )
    if not (filenames.is_wheel(filename) or filenames.is_sdist(filename)):
        raise Invalid(f"{filename} is neither a wheel (.whl) nor an sdist (.tar.gz, .zip).")
    filenames.parse(filename)


def check_kind(upload: IUpload) -> None:
    """
    Compare what the form says of the kind of file with what the file's name says, where the form says it: there are
    clients that leave one or the other out.

    @raise Invalid: they do not agree.
    """
    is_wheel = filenames.is_wheel(upload.filename)
    kind, wanted = "a wheel" if is_wheel else "an sdist", _FILETYPES[is_wheel]
    for given in upload.fields.get("filetype", ()):
        if given != wanted:
            raise Invalid(f"The form's filetype is {given[:40]!r}, but {upload.filename} is {kind}: send {wanted!r}.")
    for given in upload.fields.get("pyversion", ()):
        if (given == _SOURCE) is is_wheel:
            right = "the Python tag of the wheel's name" if is_wheel else repr(_SOURCE)
            raise Invalid(f"The form's pyversion is {given[:40]!r}, but {upload.filename} is {kind}: send {right}.")


def normalized_name(filename: str, project: str, version: str, strict: bool) -> str:
    """
    What the file should be called; its own name where that is right.

    @param strict: whether a file of another name may not be published.
    @raise Invalid: it may not.
    """
    wanted = filenames.normalized(filename, project, version)
    if strict and wanted != filename:
        raise Invalid(
            f"{filename} is not the normalized name of this file, and this server takes no other: it should be "
            f"{wanted}. Build it again with a build tool of today."
        )
    return wanted


def claimed_digests(upload: IUpload) -> dict[str, str]:
    """The digests that the form claims, by algorithm. [Invalid]"""
    claims: dict[str, str] = {}
    for field in ("md5_digest", "sha256_digest", "blake2_256_digest"):
        for value in upload.fields.get(field, ()):
            algorithm = _CLAIMS.get((field, len(value)))
            if algorithm is None:
                raise Invalid(f"The form's {field} is not a hexadecimal digest of the right length.")
            claims[algorithm] = value.lower()
    return claims


def agreed_with_form(upload: IUpload, metadata: CoreMetadata) -> tuple[str, str]:
    """
    In a thread: L{agreed_names}, once it is sure that the form says nothing else than the file.

    @raise Invalid: they do not agree.
    """
    names = agreed_names(upload, metadata)
    check_form(upload, metadata)
    return names


def agreed_names(upload: IUpload, metadata: CoreMetadata) -> tuple[str, str]:
    """
    The normalized project and version on which the file's name, its metadata and the form agree.

    @raise Invalid: they do not agree.
    """
    project, version = archives.agreed_names(upload.filename, metadata)
    names, versions = upload.fields.get("name", ()), upload.fields.get("version", ())
    if any(not is_project_name(name) for name in names):
        raise Invalid("The form's name is not a valid project name.")
    if any(normalize(name) != project for name in names):
        raise Invalid(f"The form says that the project is {names[0][:100]}, the file's name says {project}.")
    if not all(filenames.same_version(given, version) for given in versions):
        raise Invalid(f"The form says that the version is {versions[0][:100]}, the file's name says {version}.")
    return project, version


def check_form(upload: IUpload, metadata: CoreMetadata) -> None:
    """
    Compare what the form says of what a file requires with what the file itself says, which is what is served: a form
    that says something else was made of another file, or hides something from who looks at it. What the form does not
    say is not compared: old clients leave it out, and so do their sdists.

    @raise Invalid: they do not agree.
    """
    given = [value.strip() for value in upload.fields.get("requires_python", ())]
    own = [metadata.requires_python] if metadata.requires_python else []
    if given and set(given) != set(own) and _meanings(given, SpecifierSet) != _meanings(own, SpecifierSet):
        raise Invalid(_differs("Requires-Python", ", ".join(given), ", ".join(own)))
    given = [value.strip() for value in upload.fields.get("requires_dist", ())]
    if not given or not filenames.is_wheel(upload.filename):
        return
    own = [value.strip() for value in metadata.fields.get("requires_dist", ())]
    if set(given) == set(own):
        return
    said, meant = _meanings(given, _requirement), _meanings(own, _requirement)
    if said != meant:
        raise Invalid(_differs("Requires-Dist", _shown(said - meant), _shown(meant - said)))


def _meanings(values: Iterable[str], read: Callable[[str], object]) -> frozenset[object]:
    """What values mean; what means nothing stands for itself, and so does what it would take seconds to read."""
    meanings: set[object] = set()
    values = tuple(values)
    if sum(map(len, values)) > _READ_MOST:
        return frozenset(values)
    for value in values:
        try:
            meanings.add(read(value))
        except ValueError:  # of packaging: InvalidSpecifier, InvalidRequirement
            meanings.add(value)
    return frozenset(meanings)


def _requirement(value: str) -> str:
    requirement = Requirement(value)
    requirement.name = normalize(requirement.name)
    return str(requirement)


def _shown(values: Iterable[object]) -> str:
    return ", ".join(sorted(str(value)[:100] for value in values)[:5])


def _differs(field: str, form: str, file: str) -> str:
    return (
        f"The form's {field} is not the file's own: the form has {form[:300] or 'less'!r}, the file "
        f"{file[:300] or 'nothing of it'!r}. Upload the file with a tool that reads its metadata."
    )


def inspect(writer: IFileWriter, filename: str, known: Mapping[str, str], claims: Mapping[str, str]) -> CoreMetadata:
    """In a thread: compare the digests that the form claims, then check the archive and read its core metadata."""
    with writer.reader() as file:
        hashes: dict[str, Any] = {}
        for algorithm in claims.keys() - known.keys():
            if algorithm == "blake2b_256":
                hashes[algorithm] = hashlib.blake2b(digest_size=32)
            elif algorithm == "blake2b":
                hashes[algorithm] = hashlib.blake2b()
            else:
                hashes[algorithm] = hashlib.md5(usedforsecurity=False)
        if hashes:
            while chunk := file.read(1 << 20):
                for running in hashes.values():
                    running.update(chunk)
        computed = {**known, **{algorithm: running.hexdigest() for algorithm, running in hashes.items()}}
        for algorithm, claimed in claims.items():
            if computed[algorithm] != claimed:
                raise Invalid(
                    f"The file's {algorithm} digest is {computed[algorithm]}, the form says {claimed}: the file was "
                    "changed on its way, or after it was read. Upload it again."
                )
        file.seek(0)
        return archives.read_upload(file, filename)
