"""
What a metadata store keeps of a value: compact text, without loss.

A record is JSON, one value a line: a listing is a head and then a line per file. So a listing of thousands of files
is written and read in small steps, and a thread that does it leaves the others their turn: one C{json.loads} of all
of it would hold the interpreter's lock to its end. The text is ASCII, and a value that is absent takes no room.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from cheddar.errors import StoreUnavailable
from cheddar.model import NO_DIGESTS, CachedPage, File, Project, Validators, sort_files

P = ParamSpec("P")
T = TypeVar("T")

#: How many lines are parsed at a time: a millisecond's work.
_STEP = 200

_write = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def dump_file(file: File) -> str:
    """One line that L{load_files} reads."""
    record: dict[str, Any] = {"filename": file.filename, "version": file.version}
    if file.size is not None:
        record["size"] = file.size
    if file.digests:
        record["digests"] = dict(file.digests)
    if file.upload_time is not None:
        record["upload_time"] = file.upload_time.isoformat()
    if file.requires_python is not None:
        record["requires_python"] = file.requires_python
    if file.yanked is not None:
        record["yanked"] = file.yanked
    if file.core_metadata is not None:
        record["core_metadata"] = dict(file.core_metadata)
    if file.provenance is not None:
        record["provenance"] = file.provenance
    if file.url:
        record["url"] = file.url
    if file.key:
        record["key"] = file.key
    if file.uploaded_by:
        record["uploaded_by"] = file.uploaded_by
    if file.made_metadata:
        record["made_metadata"] = True
    if file.upstream:
        record["upstream"] = file.upstream
    if file.withdrawal:
        record["withdrawal"] = file.withdrawal
    if file.other_metadata:
        record["other_metadata"] = file.other_metadata
    return _write(record)


def load_files(lines: Iterable[str]) -> tuple[File, ...]:
    """
    The files that these lines describe, in their order.

    @raise StoreUnavailable: a line is damaged.
    """
    return _checked(_files, list(lines))


def dump_project(project: Project) -> str:
    """Text that L{load_project} reads."""
    return "\n".join((_write(_project_head(project)), *map(dump_file, project.files)))


def load_project(text: str) -> Project:
    """@raise StoreUnavailable: the text is damaged."""
    head, *lines = text.split("\n")
    return _checked(_project, head, lines)


def dump_page(page: CachedPage) -> str:
    """Text that L{load_page} reads."""
    head: dict[str, Any] = {"checked_at": page.checked_at, "asked_at": page.asked_at}
    if page.validators.etag is not None:
        head["etag"] = page.validators.etag
    if page.validators.last_modified is not None:
        head["last_modified"] = page.validators.last_modified
    if page.validators.serial is not None:
        head["serial"] = page.validators.serial
    if page.validators.url:
        head["url"] = page.validators.url
    if page.missing_since is not None:
        head["missing_since"] = page.missing_since
    if page.withdrawn:
        head["withdrawn"] = len(page.withdrawn)
    parts = [_write(head), *map(dump_file, page.withdrawn)]
    if page.project is not None:
        parts.append(dump_project(page.project))
    return "\n".join(parts)


def load_page(text: str) -> CachedPage:
    """@raise StoreUnavailable: the text is damaged."""
    head, *lines = text.split("\n")
    return _checked(_page, head, lines)


def dump_status(status: str, reason: str | None) -> str:
    """A project's status marker as a line; empty for C{active} without a reason."""
    return "" if status == "active" and not reason else json.dumps([status, reason])


def load_status(line: str) -> tuple[str, str | None]:
    """The opposite of L{dump_status}. @raise StoreUnavailable: the line is damaged."""

    def read() -> tuple[str, str | None]:
        status, reason = json.loads(line)
        return str(status), reason

    return _checked(read) if line else ("active", None)


def assemble_project(name: str, display_name: str, serial: int, lines: Iterable[str], status: str = "") -> Project:
    """
    A local project from what a store keeps of it: its files in the order of an index, and their versions.

    @param lines: a line of L{dump_file} for each file, in any order.
    @param status: a line of L{dump_status}.
    @raise StoreUnavailable: a line is damaged.
    """
    files = sort_files(load_files(lines))
    versions = tuple(dict.fromkeys(file.version for file in files))
    marker, reason = load_status(status)
    return Project(
        name=name,
        files=files,
        versions=versions,
        display_name=display_name,
        status=marker,
        status_reason=reason,
        serial=serial,
    )


def _checked(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return read(*args, **kwargs)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreUnavailable(
            f"A record in the metadata store is damaged ({type(error).__name__}: {error}). Stop what else writes to "
            "the store, then restore a backup of it, or make the rows of local files anew with `cheddar rebuild`."
        ) from error


def _objects(lines: list[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(lines), _STEP):
        step = lines[start : start + _STEP]
        objects = json.loads("[" + ",".join(step) + "]")
        if len(objects) != len(step):
            raise ValueError("a line is not one value")
        yield from objects


def _files(lines: list[str]) -> tuple[File, ...]:
    return tuple(map(_file, _objects(lines)))


def _file(record: dict[str, Any]) -> File:
    # By position: a listing may have thousands of files, and keywords cost a third more.
    get = record.get
    upload_time = get("upload_time")
    return File(
        record["filename"],
        record["version"],
        get("size"),
        get("digests", NO_DIGESTS),
        None if upload_time is None else datetime.fromisoformat(upload_time),
        get("requires_python"),
        get("yanked"),
        get("core_metadata"),
        get("provenance"),
        get("url", ""),
        get("key", ""),
        get("uploaded_by", ""),
        get("made_metadata", False),
        get("upstream", ""),
        get("withdrawal", ""),
        get("other_metadata", ""),
    )


def _project_head(project: Project) -> dict[str, Any]:
    head: dict[str, Any] = {"name": project.name}
    if project.versions:
        head["versions"] = project.versions
    if project.display_name:
        head["display_name"] = project.display_name
    if project.status != "active":
        head["status"] = project.status
    if project.status_reason is not None:
        head["status_reason"] = project.status_reason
    if project.index != "local":
        head["index"] = project.index
    if project.serial:
        head["serial"] = project.serial
    if project.upstream:
        head["upstream"] = project.upstream
    return head


def _project(head: str, lines: list[str]) -> Project:
    record = json.loads(head)
    return Project(
        name=record["name"],
        files=_files(lines),
        versions=tuple(record.get("versions", ())),
        display_name=record.get("display_name", ""),
        status=record.get("status", "active"),
        status_reason=record.get("status_reason"),
        index=record.get("index", "local"),
        serial=record.get("serial", 0),
        upstream=record.get("upstream", ""),
    )


def _page(head: str, lines: list[str]) -> CachedPage:
    record = json.loads(head)
    count: int = record.get("withdrawn", 0)
    withdrawn, lines = lines[:count], lines[count:]
    return CachedPage(
        project=_project(lines[0], lines[1:]) if lines else None,
        validators=Validators(
            record.get("etag"), record.get("last_modified"), record.get("serial"), record.get("url", "")
        ),
        checked_at=record["checked_at"],
        asked_at=record["asked_at"],
        missing_since=record.get("missing_since"),
        withdrawn=_files(withdrawn),
    )
