"""Files of upstream on their first way through: each once, whole, and with the bytes that the page promised."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from tests.conformance.served import FROM_UPSTREAM, Served
from tests.support.distributions import make_wheel, sha256

WHEEL, CONTENT = make_wheel("demo", "1.0", size=400_000)
FILE = f"/files/{WHEEL}"

pytestmark = pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)


@pytest.mark.deadline(60)
@pytest.mark.conforms("RFC 9110", "Upstream's files: fetched once, however many ask at the same time")
async def test_many_at_once(served: Served) -> None:
    """Each of them gets every byte."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    answers = await gatherResults([served.cheddar.ask("GET", address) for _ in range(20)])
    assert {(answer.status, sha256(answer.body)) for answer in answers} == {(200, sha256(CONTENT))}
    assert (await served.get(address)).body == CONTENT
    assert served.upstream.hits[f"GET {FILE}"] == 1


@pytest.mark.conforms("RFC 9110", "Upstream's files: HEAD and ranges are answered before the file is here")
async def test_parts_of_what_is_not_here(served: Served) -> None:
    """HEAD fetches nothing; the first range gets its bytes, the end of the file included."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    head = await served.ask("HEAD", address)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(CONTENT)), b"")
    assert served.upstream.hits[f"GET {FILE}"] == 0
    size = len(CONTENT)
    for asked, first, last in (("-1000", size - 1000, size - 1), ("5-99", 5, 99), ("0-0", 0, 0)):
        part = await served.get(address, {"Range": f"bytes={asked}"})
        assert (part.status, part.body) == (206, CONTENT[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    beyond = await served.get(address, {"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.conforms("RFC 9110", "Upstream's files: what is cut or changed on its way never arrives whole")
@pytest.mark.parametrize(
    "fault", [{"reset_after": 1000}, {"close_after": 300_000}, {"flip": 12_345}, {"content_length": 600_000}]
)
async def test_wrong_bytes(served: Served, fault: dict[str, Any]) -> None:
    """The client sees an error or a cut connection, nothing is kept, and the next one gets the right bytes."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    served.upstream.ranges = False  # else a download that is cut goes on where it was
    served.upstream.misbehave(FILE, **fault)
    for _ in range(2):
        try:
            answer = await served.get(address)
            assert answer.status in (502, 503), answer.status
        except (http.client.IncompleteRead, ConnectionError):
            pass
    served.upstream.behave()
    served.clock.later(60)
    asked = served.upstream.hits[f"GET {FILE}"]
    assert (await served.get(address)).body == CONTENT
    assert served.upstream.hits[f"GET {FILE}"] == asked + 1, "nothing was kept of what was wrong"


@pytest.mark.conforms("PEP 503", "Upstream's files: a file that is on the page and gone upstream is a 404")
async def test_a_file_that_is_gone(served: Served) -> None:
    """Upstream's trouble with a file is no 404."""
    await served.publish(WHEEL, CONTENT)
    (address,) = (await served.addresses("demo")).values()
    served.upstream.misbehave(FILE, status=500)
    assert (await served.get(address)).status == 503
    served.upstream.behave()
    served.upstream.misbehave(FILE, status=404)
    assert (await served.get(address)).status == 404
