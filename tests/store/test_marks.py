"""What a rebuild leaves alone."""

from __future__ import annotations

from datetime import datetime, timezone

from cheddar.model import File
from cheddar.store.marks import keep_marks

NOON = datetime(2026, 11, 5, 12, tzinfo=timezone.utc)


def test_row_decides() -> None:
    """Yank mark, uploader and time are the row's; the rest is the file's."""
    row = File("a", "1", size=1, yanked="", uploaded_by="ann", upload_time=NOON)
    found = File("a", "1", size=2, yanked=None, uploaded_by="", upload_time=NOON.replace(hour=13))
    assert keep_marks(row, found) == File("a", "1", size=2, yanked="", uploaded_by="ann", upload_time=NOON)


def test_file_fills_gaps() -> None:
    """Where the row has no uploader or time, the file's are taken."""
    found = File("a", "1", uploaded_by="bob", upload_time=NOON)
    assert keep_marks(File("a", "1"), found) == found
