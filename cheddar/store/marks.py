"""What people decided about a file, and its bytes don't tell."""

from __future__ import annotations

from attrs import evolve

from cheddar.model import File


def keep_marks(row: File, found: File) -> File:
    """A file as it was C{found} in storage, with its row's yank mark, uploader and upload time."""
    return evolve(
        found,
        yanked=row.yanked,
        uploaded_by=row.uploaded_by or found.uploaded_by,
        upload_time=row.upload_time or found.upload_time,
    )
