"""What people decided about a file or a project, and the bytes don't tell."""

from __future__ import annotations

from attrs import evolve

from cheddar.errors import Forbidden
from cheddar.formats.records import load_status
from cheddar.model import CLOSED_STATUSES, File


def keep_marks(row: File, found: File) -> File:
    """A file as it was C{found} in storage, with its row's yank mark, uploader and upload time."""
    return evolve(
        found,
        yanked=row.yanked,
        uploaded_by=row.uploaded_by or found.uploaded_by,
        upload_time=row.upload_time or found.upload_time,
    )


def refuse_closed(project: str, line: str) -> None:
    """@raise Forbidden: the status that C{line} says lets the project take no files (PEP 792)."""
    status, reason = load_status(line)
    if status in CLOSED_STATUSES:
        why = f" ({reason})" if reason else ""
        raise Forbidden(
            f"{project} is {status}{why} and takes no files; `cheddar project activate {project}` ends that."
        )
