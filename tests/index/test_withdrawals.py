"""What upstream takes back is followed, marked or pinned, as the settings have it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from attrs import evolve

from cheddar.index.withdrawals import Followed, WithdrawalPolicy, follow, follow_deletion
from cheddar.model import CHANGED, REMOVED, CachedPage, File, Project

AT = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
SAFE = WithdrawalPolicy()

ONE = File("p-1.0.tar.gz", "1.0", size=1, digests={"sha256": "1" * 64}, url="http://u.example/1")
TWO = File("p-2.0.tar.gz", "2.0", size=2, digests={"sha256": "2" * 64}, url="http://u.example/2")
OTHER_TWO = evolve(TWO, digests={"sha256": "f" * 64}, size=9)


def listing(*files: File, **more: Any) -> Project:
    return Project("p", files, tuple(file.version for file in files), index="remote", **more)


def known(*files: File, withdrawn: tuple[File, ...] = (), **more: Any) -> CachedPage:
    return CachedPage(listing(*files, **more), withdrawn=withdrawn)


def page(followed: Followed) -> CachedPage:
    return CachedPage(followed.project, withdrawn=followed.withdrawn)


def actions(followed: Followed) -> list[tuple[str, str]]:
    return [(event.action, event.filename) for event in followed.events]


def test_nothing_happened() -> None:
    """A new file is no event, and neither is the first listing."""
    assert follow(None, listing(ONE), SAFE, AT) == Followed(listing(ONE), (), ())
    assert follow(known(ONE), listing(ONE, TWO), SAFE, AT) == Followed(listing(ONE, TWO), (), ())


def test_a_removed_file_is_withheld() -> None:
    """It is offered no more, told once, and listed again when upstream lists it again."""
    gone = follow(known(ONE, TWO), listing(ONE), SAFE, AT)
    assert gone.project == listing(ONE)
    assert actions(gone) == [("upstream.removed", TWO.filename)]
    still = follow(page(gone), listing(ONE), SAFE, AT)
    assert (still.project, still.withdrawn, still.events) == (listing(ONE), gone.withdrawn, ())
    back = follow(page(still), listing(ONE, TWO), SAFE, AT)
    assert back.project == listing(ONE, TWO)
    assert actions(back) == [("upstream.restored", TWO.filename)]
    assert back.withdrawn == ()


def test_a_removed_file_does_not_come_back_as_something_else() -> None:
    """Its name is pinned to the first bytes, whatever happened in between."""
    gone = follow(known(ONE, TWO), listing(ONE), SAFE, AT)
    other = follow(page(gone), listing(ONE, OTHER_TWO), SAFE, AT)
    assert other.project is not None
    assert other.project.files == (ONE, evolve(TWO, withdrawal=CHANGED))
    assert actions(other) == [("upstream.changed", TWO.filename)]


@pytest.mark.parametrize("policy", [WithdrawalPolicy("mark"), WithdrawalPolicy("keep")])
def test_a_removed_file_stays(policy: WithdrawalPolicy) -> None:
    """Marked as yanked, with the day on which it was noticed, or as it was; the release stays too."""
    gone = follow(known(ONE, TWO), listing(ONE), policy, AT)
    assert actions(gone) == [("upstream.removed", TWO.filename)]
    assert gone.project is not None
    assert gone.project.versions == ("1.0", "2.0")
    kept = gone.project.files[1]
    assert kept.withdrawal == REMOVED
    assert kept.yanked == ("Removed by upstream, as seen on 2026-11-22." if policy.on_removed == "mark" else None)
    later = follow(page(gone), listing(ONE), policy, AT.replace(day=23))
    assert later.project == gone.project
    assert later.events == ()
    back = follow(page(later), listing(ONE, TWO), policy, AT)
    assert back.project == listing(ONE, TWO)


def test_changed_bytes_are_pinned() -> None:
    """The first ones stay listed; it is told once; yank marks are followed all the same."""
    changed = follow(known(ONE, TWO), listing(ONE, OTHER_TWO), SAFE, AT)
    assert changed.project is not None
    assert changed.project.files[1] == evolve(TWO, withdrawal=CHANGED)
    (event,) = changed.events
    assert (event.action, event.digest) == ("upstream.changed", "2" * 64)
    assert "f" * 64 in event.detail
    again = follow(page(changed), listing(ONE, evolve(OTHER_TWO, yanked="bad")), SAFE, AT)
    assert actions(again) == [("upstream.yanked", TWO.filename)]
    assert again.project is not None
    assert again.project.files[1].yanked == "bad"
    back = follow(page(again), listing(ONE, TWO), SAFE, AT)
    assert back.project == listing(ONE, TWO)


def test_other_digests_than_before() -> None:
    """Those first seen go on being asked of the bytes: a listing cannot leave them out to have others accepted."""
    bare = evolve(ONE, digests={"md5": "a" * 32})
    followed = follow(known(bare), listing(ONE), SAFE, AT)
    assert followed.project is not None
    assert followed.project.files == (evolve(ONE, digests={"md5": "a" * 32, "sha256": "1" * 64}),)
    assert followed.events == ()
    weak = evolve(ONE, digests={"sha1": "a" * 40})
    (event,) = follow(known(weak), listing(evolve(ONE, digests={"sha1": "b" * 40})), SAFE, AT).events
    assert (event.action, event.detail) == (
        "upstream.changed",
        f"upstream lists the sha1 {'b' * 40} under this name now",
    )


def test_changed_bytes_are_withheld() -> None:
    """Where the setting says so, nobody gets either."""
    policy = WithdrawalPolicy(on_changed="withhold")
    changed = follow(known(ONE, TWO), listing(ONE, OTHER_TWO), policy, AT)
    assert changed.project is not None
    assert changed.project.files == (ONE,)
    assert actions(changed) == [("upstream.changed", TWO.filename)]
    again = follow(page(changed), listing(ONE, OTHER_TWO), policy, AT)
    assert (again.project, again.events) == (changed.project, ())


def test_a_yank_is_an_event() -> None:
    """And so is its end."""
    yanked = follow(known(ONE), listing(evolve(ONE, yanked="broken")), SAFE, AT)
    assert [(event.action, event.detail) for event in yanked.events] == [("upstream.yanked", "broken")]
    assert actions(follow(page(yanked), listing(ONE), SAFE, AT)) == [("upstream.unyanked", ONE.filename)]


@pytest.mark.parametrize("on_removed", ["withhold", "mark", "keep"])
def test_a_quarantined_project_offers_nothing(on_removed: Any) -> None:
    """Whatever the settings say of removed files; one event tells of all of them, and of their return."""
    policy = WithdrawalPolicy(on_removed)
    quarantined = follow(known(ONE, TWO), listing(status="quarantined", status_reason="malware"), policy, AT)
    assert quarantined.project is not None
    assert quarantined.project.files == ()
    assert [(event.action, event.detail) for event in quarantined.events] == [("upstream.quarantined", "malware")]
    still = follow(page(quarantined), listing(status="quarantined", status_reason="malware"), policy, AT)
    assert still.events == ()
    free = follow(page(still), listing(ONE, OTHER_TWO), policy, AT)
    assert actions(free) == [("upstream.released", ""), ("upstream.changed", TWO.filename)]
    assert free.project is not None
    assert free.project.files == (ONE, evolve(TWO, withdrawal=CHANGED))


def test_a_quarantined_project_that_still_lists_files() -> None:
    """An upstream that has not read PEP 792 to its end gets none of them through."""
    followed = follow(known(ONE), listing(ONE, TWO, status="quarantined"), SAFE, AT)
    assert followed.project is not None
    assert followed.project.files == ()
    assert followed.withdrawn == (ONE, TWO)


def test_a_deleted_project_is_withheld() -> None:
    """Nothing is offered, and a project of that name that comes later gets no old name with new bytes."""
    gone = follow_deletion(known(ONE, TWO), SAFE, AT)
    assert gone.project is None
    assert [event.action for event in gone.events] == ["upstream.deleted"]
    assert follow_deletion(page(gone), SAFE, AT).events == ()
    back = follow(page(gone), listing(OTHER_TWO), SAFE, AT)
    assert back.project is not None
    assert back.project.files == (evolve(TWO, withdrawal=CHANGED),)
    assert actions(back) == [("upstream.restored", ""), ("upstream.changed", TWO.filename)]


@pytest.mark.parametrize("on_removed", ["mark", "keep"])
def test_a_deleted_project_stays(on_removed: Any) -> None:
    """Where the setting says so, with one event for all of it."""
    gone = follow_deletion(known(ONE, TWO), WithdrawalPolicy(on_removed), AT)
    assert gone.project is not None
    assert [file.filename for file in gone.project.files] == [ONE.filename, TWO.filename]
    assert all((file.yanked is not None) == (on_removed == "mark") for file in gone.project.files)
    assert [event.action for event in gone.events] == ["upstream.deleted"]


def test_a_digest_learned_here_is_kept() -> None:
    """A listing without digests goes on being compared with what was computed of the bytes."""
    bare = evolve(ONE, digests={})
    followed = follow(known(ONE), listing(bare), SAFE, AT)
    assert followed.project == listing(ONE)
    assert followed.events == ()
