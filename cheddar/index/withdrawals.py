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
from cheddar.index.listings import compared_digest, same_bytes, with_what_was_learned
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

    A stricter policy than before counts for what was kept under the old one too, from the next refresh on. What is
    withheld stays so under a laxer one, until upstream lists it again.
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
    if known.project is None and known.withdrawn:
        # Maybe somebody else's project by now: worth an event even where no file is another.
        news.note("upstream.restored", detail=f"a project of this name is there again; {len(new.files)} files")
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


def follow_deletion(known: CachedPage, policy: WithdrawalPolicy, at: datetime, *, told: bool = False) -> Followed:
    """
    Upstream has no such project any more, and that is certain.

    @param told: whether that was followed before, and is no event now.
    """
    project = known.project
    if project is None:
        return Followed(None, known.withdrawn, ())
    news = _News(project.name, project.upstream, policy, at)
    if not told:
        news.note("upstream.deleted", detail=f"{len(project.files)} files were known")
    if policy.on_removed == "withhold" or not project.files:
        return Followed(None, _by_name((*known.withdrawn, *project.files)), tuple(news.events))
    for file in project.files:
        news.unlisted(file, True, quiet=True)
    return Followed(news.project(project), _by_name((*known.withdrawn, *news.withdrawn)), tuple(news.events))


def is_settled(page: CachedPage, policy: WithdrawalPolicy) -> bool:
    """
    Whether C{page} is as C{policy} has it. One that was remembered under another policy may not be: then upstream's
    "not modified" says too little.
    """
    if page.project is None or page.project.status == QUARANTINED:
        return True
    if any(file.withdrawal == CHANGED and policy.on_changed == "pin" for file in page.withdrawn):
        return False
    return not any(
        (file.withdrawal == REMOVED and policy.on_removed == "withhold")
        or (file.withdrawal == REMOVED and policy.on_removed == "mark" and file.yanked is None)
        or (file.withdrawal == CHANGED and policy.on_changed == "withhold")
        for file in page.project.files
    )


def why_not_offered(page: CachedPage, filename: str) -> str | None:
    """For people: what upstream did, where that is why a file is not offered; None where it is not."""
    file = next((file for file in page.withdrawn if file.filename == filename), None)
    if page.project is not None and page.project.status == QUARANTINED:
        reason = f" ({page.project.status_reason})" if page.project.status_reason else ""
        return f"Upstream has quarantined {page.project.name}{reason}: none of its files is offered." if file else None
    if file is not None and file.withdrawal == CHANGED:
        return (
            f"Upstream has other bytes than before under the name {filename}, so neither are offered "
            "(the setting ON_CHANGED)."
        )
    if file is not None:
        return f"Upstream has removed {filename}, so it is not offered any more (the setting ON_REMOVED)."
    if page.project is not None and any(
        file.filename == filename and file.withdrawal == CHANGED for file in page.project.files
    ):
        return (
            f"Upstream has other bytes than before under the name {filename}: the first ones are offered, at the "
            "address that the project's page has. Should the others be right, an administrator can forget what is "
            f"remembered: cheddar upstream forget {page.project.name}"
        )
    return None


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
        learned = with_what_was_learned(before, now)
        if learned.other_metadata not in ("", before.other_metadata):
            first = learned.core_metadata or {}
            algorithm = learned.other_metadata.partition(" ")[0]
            detail = f"upstream lists core metadata with the {learned.other_metadata} for the same bytes now"
            self.note("upstream.changed", before, f"{detail}; that with {first[algorithm]} is kept")
        self.offered.append(learned)

    def _changed(self, before: File, now: File) -> None:
        if before.withdrawal != CHANGED:
            algorithm = compared_digest(before, now)
            listed = "other bytes" if algorithm is None else f"the {algorithm} {now.digests[algorithm]}"
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
            # Other bytes are not listed any more either.
            self.withdrawn.append(evolve(file, withdrawal=REMOVED) if file.withdrawal == CHANGED else file)
            return
        first = file.withdrawal != REMOVED
        if first and not quiet:
            self.note("upstream.removed", file)
        if self._policy.on_removed == "withhold":
            self.withdrawn.append(evolve(file, withdrawal=REMOVED))
            return
        if self._policy.on_removed == "mark" and file.yanked is None:
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
