"""
The core metadata inside of wheels and source distributions.

Archives come from outside: nothing is extracted, every read is bounded, and whatever is wrong with one becomes
L{Invalid}. All of this blocks, and belongs into a thread.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import BinaryIO

from cheddar.errors import Invalid
from cheddar.formats import core_metadata, filenames, tar_stream, wheel_record, zip_archive
from cheddar.model import CoreMetadata
from cheddar.names import is_project_name, normalize

_DIST_INFO = b".dist-info"


def read_core_metadata(file: BinaryIO, filename: str) -> CoreMetadata:
    """
    Read a wheel's METADATA, or the PKG-INFO at the top of a source distribution.

    Whether its name and version are those of the file's name is for the caller to check: a source distribution's
    name can mean more than one project.

    Source: binary distribution format, "File contents"; source distribution format, "Source distribution archive
    features".

    @param file: seekable; its position is changed, and it is not closed.
    @param filename: a wheel's or a source distribution's; it decides how the bytes are read.
    @raise Invalid: it is no such archive, a hostile one, or has no core metadata.
    """
    if filenames.is_wheel(filename):
        raw = _from_wheel(file, filename)
    elif filename.endswith(".zip"):
        raw = _from_zip(file, filename)
    elif filename.endswith(".tar.gz"):
        raw = _from_tar(file, filename)
    else:
        raise Invalid(f"{filename} is neither a wheel (.whl) nor a source distribution (.tar.gz, .zip).")
    return core_metadata.parse(raw)


def read_upload(file: BinaryIO, filename: str) -> CoreMetadata:
    """
    Read the core metadata of a file that is to be published, as L{read_core_metadata} does, and check that it is of a
    version that is known. Of a wheel, check that it is one: that it has the files that installers need, and that its
    RECORD names what it holds.

    Files that were published before these checks are read without them.

    Source: binary distribution format, "File contents"; core metadata specifications, "Metadata-Version".

    @raise Invalid: see L{read_core_metadata}; or it is not a whole wheel, or of a version to come.
    """
    metadata = _read_whole_wheel(file, filename) if filenames.is_wheel(filename) else read_core_metadata(file, filename)
    core_metadata.check_version(metadata)
    return metadata


def _read_whole_wheel(file: BinaryIO, filename: str) -> CoreMetadata:
    entries = zip_archive.check(file, filename)
    metadata = metadata_entry(entries, filename)
    folder = metadata.name.removesuffix(b"/METADATA")
    for name in (b"WHEEL", b"RECORD"):
        if folder + b"/" + name not in entries:
            raise Invalid(f"{filename} has no {name.decode()} in its .dist-info folder. Build it again.")
    record = zip_archive.read(file, filename, entries[folder + b"/RECORD"], wheel_record.MAX_RECORD)
    wheel_record.check(record, entries, folder, filename)
    return core_metadata.parse(zip_archive.read(file, filename, metadata, core_metadata.MAX_CORE_METADATA))


def metadata_entry(entries: Mapping[bytes, zip_archive.Entry], filename: str) -> zip_archive.Entry:
    """
    Where a wheel has its METADATA.

    @param entries: the wheel's files by their paths.
    @raise Invalid: not in the one C{.dist-info} folder of the project and the version that C{filename} names.
    """
    project, version = filenames.parse(filename)
    folders = {name.partition(b"/")[0] for name in entries if b"/" in name}
    folders = {folder for folder in folders if folder.endswith(_DIST_INFO)}
    if len(folders) != 1:
        raise Invalid(f"{filename} must have exactly one .dist-info folder, and has {len(folders)}.")
    folder = folders.pop()
    name, _, written = folder.removesuffix(_DIST_INFO).decode("ascii", "replace").rpartition("-")
    if normalize(name) != project or not filenames.same_version(written.replace("_", "-"), version):
        raise Invalid(f"{filename} has the folder {folder[:100]!r}, which is another project's or version's.")
    entry = entries.get(folder + b"/METADATA")
    if entry is None:
        raise Invalid(f"{filename} has no METADATA in its .dist-info folder. Build it again.")
    return entry


def _from_wheel(file: BinaryIO, filename: str) -> bytes:
    entry = metadata_entry(zip_archive.check(file, filename), filename)
    return zip_archive.read(file, filename, entry, core_metadata.MAX_CORE_METADATA)


def _from_zip(file: BinaryIO, filename: str) -> bytes:
    entries = zip_archive.check(file, filename)
    found = [entry for name, entry in entries.items() if name.endswith(b"/PKG-INFO") and name.count(b"/") == 1]
    if len(found) != 1:
        raise Invalid(f"{filename} must have exactly one PKG-INFO in a folder at its top, and has {len(found)}.")
    return zip_archive.read(file, filename, found[0], core_metadata.MAX_CORE_METADATA)


def _from_tar(file: BinaryIO, filename: str) -> bytes:
    file.seek(0)
    # Some installers look at the bytes and not at the name, and would take it for a ZIP archive.
    if zipfile.is_zipfile(file):
        raise Invalid(f"{filename} is a ZIP archive too: tools would not agree on what it holds. Build it again.")
    return tar_stream.read_one(file, filename, "PKG-INFO", core_metadata.MAX_CORE_METADATA)


def agreed_names(filename: str, metadata: CoreMetadata) -> tuple[str, str]:
    """
    The normalized project and version on which a file's name and its own metadata agree.

    The name of an old sdist can be read in two ways (C{foo-2-1.tar.gz}): the metadata tells which is meant.

    @raise Invalid: they do not agree.
    """
    said = normalize(metadata.name) if is_project_name(metadata.name) else ""
    project, version = filenames.parse(filename, said)
    if said != project:
        raise Invalid(
            f"The file's own metadata says that its project is {metadata.name[:100]}, its name says {project}."
        )
    if not filenames.same_version(metadata.version, version):
        raise Invalid(
            f"The file's own metadata says that its version is {metadata.version[:100]}, its name says {version}."
        )
    return project, version
