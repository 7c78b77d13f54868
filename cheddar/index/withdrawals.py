"""
What upstream takes back: files removed, yanked or changed, projects quarantined or deleted.

A file name stands for the bytes that it was first seen with, for ever: even a file that is no longer offered is
remembered with its digests, so that it cannot come back as something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from attrs import define, evolve, field, frozen

from cheddar.formats.links import digest_segment
from cheddar.index.listings import COMPARED_DIGESTS, same_bytes, with_what_was_learned
from cheddar.model import (
    CHANGED,
    QUARANTINED,
    REMOVED,
    CachedPage,
    Event,
    File,
    Project,
    sort_files,
    sort_versions,
)


@frozen
class WithdrawalPolicy:
    """
    What becomes of files that were seen.

    @ivar on_removed: of those that upstream no longer lists: C{withhold} (not offered any more), C{mark} (offered as
        yanked), C{keep} (offered as before).
    @ivar on_changed: of those under whose name upstream has other bytes now: C{pin} (the first ones are offered),
        C{withhold}.
    """

    on_removed: Literal["withhold", "mark", "keep"] = "withhold"
    on_changed: Literal["pin", "withhold"] = "pin"


SAFE = WithdrawalPolicy()


@frozen
class Followed:
    """
    A listing after upstream's news.

    @ivar project: what is offered; None where nothing is.
    @ivar withdrawn: what was seen and is not offered.
    @ivar events: what upstream has taken back, or back again, with this.
    """

    project: Project | None
    withdrawn: tuple[File, ...]
    events: tuple[Event, ...]


def follow(known: CachedPage | None, new: Project, policy: WithdrawalPolicy, at: datetime) -> Followed:
    """
    Upstream's new listing beside what is known.

    @param at: now, for marks and events.
    """
    if known is None:
        return Followed(new, (), ())
    news = _News(new.name, new.upstream, policy, at)
    before = () if known.project is None else known.project.files
    if new.status == QUARANTINED:
        if known.project is not None and known.project.status != QUARANTINED:
            news.note("upstream.quarantined", detail=new.status_reason or "")
        # Nothing of it is offered (PEP 792); what was seen stays pinned.
        return Followed(evolve(new, files=()), _by_name((*known.withdrawn, *before, *new.files)), tuple(news.events))
    if known.project is not None and known.project.status == QUARANTINED:
        news.note("upstream.released", detail="no longer quarantined")
    remembered = {file.filename: file for file in (*known.withdrawn, *before)}
    for file in new.files:
        news.listed(remembered.pop(file.filename, None), file)
    offered_before = {file.filename for file in before}
    for file in remembered.values():
        news.unlisted(file, file.filename in offered_before)
    return Followed(news.project(new), _by_name(news.withdrawn), tuple(news.events))


def follow_deletion(known: CachedPage, policy: WithdrawalPolicy, at: datetime) -> Followed:
    """Upstream has no such project any more, and that is certain."""
    project = known.project
    if project is None:
        return Followed(None, known.withdrawn, ())
    news = _News(project.name, project.upstream, policy, at)
    news.note("upstream.deleted", detail=f"{len(project.files)} files were known")
    if policy.on_removed == "withhold" or not project.files:
        return Followed(None, _by_name((*known.withdrawn, *project.files)), tuple(news.events))
    for file in project.files:
        news.unlisted(file, True, quiet=True)
    return Followed(news.project(project), _by_name((*known.withdrawn, *news.withdrawn)), tuple(news.events))


@define(eq=False)
class _News:
    """Goes through what upstream says of one project."""

    _project: str
    _upstream: str
    _policy: WithdrawalPolicy
    _at: datetime
    events: list[Event] = field(factory=list)
    offered: list[File] = field(factory=list)
    withdrawn: list[File] = field(factory=list)
    _kept: list[File] = field(factory=list)

    def note(self, action: str, file: File | None = None, detail: str = "") -> None:
        """Make an event."""
        self.events.append(
            Event(
                action=action,
                at=self._at,
                project=self._project,
                filename="" if file is None else file.filename,
                digest="" if file is None or not file.digests else digest_segment(file),
                who=self._upstream,
                detail=detail,
            )
        )

    def listed(self, before: File | None, now: File) -> None:
        """Upstream lists C{now}; C{before} is what is known of a file of this name."""
        if before is None:
            self.offered.append(now)
            return
        if same_bytes(before, now) is False:
            self._changed(before, now)
            return
        if before.withdrawal:
            self.note("upstream.restored", now, "listed again as it was first seen")
        self._note_yank(before, now)
        self.offered.append(with_what_was_learned(before, now))

    def _changed(self, before: File, now: File) -> None:
        if before.withdrawal != CHANGED:
            listed = next(
                now.digests[name] for name in COMPARED_DIGESTS if name in now.digests and name in before.digests
            )
            self.note("upstream.changed", before, f"upstream lists {listed} under this name now")
        self._note_yank(before, now)
        pinned = evolve(before, yanked=now.yanked, withdrawal=CHANGED)
        (self.offered if self._policy.on_changed == "pin" else self.withdrawn).append(pinned)

    def _note_yank(self, before: File, now: File) -> None:
        # A mark that was made here is no yank of upstream's.
        if now.yanked is not None and (before.yanked is None or before.withdrawal == REMOVED):
            self.note("upstream.yanked", now, now.yanked)
        elif now.yanked is None and before.yanked is not None and before.withdrawal != REMOVED:
            self.note("upstream.unyanked", now)

    def unlisted(self, file: File, was_offered: bool, *, quiet: bool = False) -> None:
        """Upstream does not list a file that is known."""
        if not was_offered:
            self.withdrawn.append(file)
            return
        first = file.withdrawal != REMOVED
        if first and not quiet:
            self.note("upstream.removed", file)
        if self._policy.on_removed == "withhold":
            self.withdrawn.append(evolve(file, withdrawal=REMOVED))
            return
        if first and self._policy.on_removed == "mark" and file.yanked is None:
            file = evolve(file, yanked=f"Removed by upstream, as seen on {self._at.date().isoformat()}.")
        self._kept.append(evolve(file, withdrawal=REMOVED))

    def project(self, new: Project) -> Project:
        """The listing that is offered."""
        if not self._kept:
            return evolve(new, files=tuple(self.offered))
        versions = {file.version for file in self._kept if file.version}
        return evolve(
            new,
            files=sort_files([*self.offered, *self._kept]),
            versions=sort_versions([*versions, *new.versions]) if new.versions else new.versions,
        )


def _by_name(files: Iterable[File]) -> tuple[File, ...]:
    """Each name once, as it was first seen."""
    kept: dict[str, File] = {}
    for file in files:
        kept.setdefault(file.filename, file)
    return tuple(kept.values())
