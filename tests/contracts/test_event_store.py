"""What every IEventStore does."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from cheddar.interfaces import IEventStore, IStore
from cheddar.model import BEGUN, DONE, REFUSED, Event, EventQuery
from tests.contracts.conftest import EVENTS_KEPT, StoreUnderTest
from tests.contracts.test_project_store import ODD_NAMES

AT = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
EVERYTHING = EventQuery()


async def test_all_of_an_event_is_kept(store: IStore) -> None:
    """Whatever an event says is said again, in whatever script, and the newest comes first."""
    verifyObject(IEventStore, store.events)
    first = Event(action="a", at=AT)
    second = Event(
        action="file.upload", at=AT + timedelta(microseconds=1), project="p", filename="f\n", digest="d" * 64,
        who="é\x1b", via="token", address="::1", outcome=REFUSED, detail="why\u2028", operation="one",
    )  # fmt: skip
    await store.events.add([])
    await store.events.add([first, second])
    assert await store.events.find(EVERYTHING, 10) == (second, first)
    assert await store.events.find(EVERYTHING, 1) == (second,)


async def test_the_end_of_an_operation_takes_the_place_of_its_begin(under_test: StoreUnderTest) -> None:
    """On any node; operations are told apart, and events that are no operation's never replace each other."""
    events, others = under_test.store.events, (await under_test.another()).events
    for operation in ("1", "2"):
        await events.add([Event(action="upload", at=AT, outcome=BEGUN, operation=operation)])
    await events.add([Event(action="seen", at=AT), Event(action="seen", at=AT)])
    await others.add([Event(action="upload", at=AT, outcome=DONE, operation="1")])
    found = await events.find(EVERYTHING, 10)
    assert [(event.action, event.operation, event.outcome) for event in found] == [
        ("seen", "", DONE),
        ("seen", "", DONE),
        ("upload", "2", BEGUN),
        ("upload", "1", DONE),
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (EventQuery(project="p"), [1, 0]),
        (EventQuery(who="ann"), [2, 0]),
        (EventQuery(project="p", who="ann"), [0]),
        (EventQuery(action="upstream"), [3]),
        (EventQuery(action="upstream.removed"), [3]),
        (EventQuery(action="up"), []),
        (EventQuery(outcome=REFUSED), [1]),
        (EventQuery(since=AT + timedelta(seconds=2)), [3, 2]),
        (EventQuery(project="q" * 100), []),
    ],
)
async def test_what_is_looked_for(store: IStore, query: EventQuery, found: list[int]) -> None:
    """All that fits each of what is given, and nothing else."""
    said: list[dict[str, Any]] = [
        {"action": "upload", "project": "p", "who": "ann"},
        {"action": "upload", "project": "p", "who": "bob", "outcome": REFUSED},
        {"action": "yank", "project": "q", "who": "ann"},
        {"action": "upstream.removed", "project": "r", "who": "public"},
    ]
    events = [Event(at=AT + timedelta(seconds=number), **values) for number, values in enumerate(said)]
    await store.events.add(events)
    assert await store.events.find(query, 10) == tuple(events[number] for number in found)


async def test_names_are_never_patterns(store: IStore) -> None:
    """A project's or a user's name means that one alone, and an operation's that operation."""
    events = [Event(action="a", at=AT, project=name, who=name, operation=name) for name in ODD_NAMES]
    await store.events.add(events)
    for event in events:
        assert await store.events.find(EventQuery(project=event.project), 10) == (event,)
        assert await store.events.find(EventQuery(who=event.who), 10) == (event,)


async def test_only_so_many_are_kept(store: IStore) -> None:
    """The oldest go; an operation whose begin has gone is noted anew when it ends."""
    await store.events.add([Event(action="first", at=AT, operation="long", outcome=BEGUN)])
    for number in range(EVENTS_KEPT):
        await store.events.add([Event(action=f"later {number}", at=AT, operation=str(number))])
    found = await store.events.find(EVERYTHING, 1000)
    assert [event.action for event in found] == [f"later {number}" for number in reversed(range(EVENTS_KEPT))]
    await store.events.add([Event(action="first", at=AT, operation="long")])
    found = await store.events.find(EVERYTHING, 1000)
    assert (len(found), found[0].action, found[0].outcome) == (EVENTS_KEPT, "first", DONE)


async def test_many_at_once(under_test: StoreUnderTest) -> None:
    """Two nodes that note at the same moment lose nothing."""
    nodes = [under_test.store.events, (await under_test.another()).events]
    await gatherResults([nodes[number % 2].add([Event(action=str(number), at=AT)]) for number in range(20)])
    assert {event.action for event in await nodes[0].find(EVERYTHING, 100)} == set(map(str, range(20)))
