"""What another server says, and what is remembered of it."""

from __future__ import annotations

from attrs import field, frozen

from cheddar.model.projects import QUARANTINED, File, Project


@frozen
class Validators:
    """
    What a conditional request to upstream needs (RFC 9110, section 13), and what shows that an answer is an old one.

    @ivar etag: the C{ETag} as upstream sent it.
    @ivar last_modified: the C{Last-Modified} as upstream sent it.
    @ivar serial: the C{X-PyPI-Last-Serial} as upstream sent it: it grows with each change of the project.
    @ivar url: the address of the upstream that sent them: to another one they say nothing.
    """

    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None
    url: str = ""


@frozen
class Fetched:
    """Upstream's answer for a project: its page, and the validators for the next question."""

    project: Project
    validators: Validators


@frozen
class NotModified:
    """Upstream's answer that the page is still what it was."""


@frozen
class Ranged:
    """
    A part of one of upstream's files.

    @ivar data: the bytes; never none.
    @ivar first: the position of the first of them.
    @ivar total: how many bytes the whole file has.
    """

    data: bytes = field(repr=False)
    first: int
    total: int


@frozen
class CachedPage:
    """
    A remembered answer of upstream.

    @ivar project: the listing, or None where upstream said that there is none (404).
    @ivar validators: for the next conditional request.
    @ivar checked_at: when upstream last confirmed this, in seconds since the epoch.
    @ivar asked_at: when a client last asked for it, in seconds since the epoch.
    @ivar missing_since: when upstream first answered 404 for a project that this still lists, or None.
    @ivar withdrawn: files that were seen and are offered no more; their digests are remembered all the same.
    """

    project: Project | None
    validators: Validators = Validators()
    checked_at: float = 0.0
    asked_at: float = 0.0
    missing_since: float | None = None
    withdrawn: tuple[File, ...] = ()

    @property
    def listed(self) -> bool:
        """Whether the project belongs on a project list (PEP 792)."""
        return self.project is not None and self.project.status != QUARANTINED
