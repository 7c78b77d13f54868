"""What the form of an upload may have, as the settings say it: all that is over it is told so and leaves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_twisted

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.support.distributions import make_wheel
from tests.support.server import JSON, PASSWORD, USER, CheddarHere, basic
from tests.web.test_uploads import spooled

#: What each form has beside what a test adds: the action, the protocol, the name and the file.
PARTS = 4
FILENAME, CONTENT = make_wheel("demo", "1.0")


def form(*fields: tuple[str, str]) -> bytes:
    """The body of an upload of the same file, with more fields; the file comes last."""
    parts = ((":action", "file_upload"), ("protocol_version", "1"), ("name", "demo"), *fields)
    lines = [f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts]
    file = f'--frontier\r\nContent-Disposition: form-data; name="content"; filename="{FILENAME}"\r\n\r\n'
    return "".join((*lines, file)).encode() + CONTENT + b"\r\n--frontier--\r\n"


@pytest_twisted.async_yield_fixture
async def bounded(reactor: Any, settings: Settings) -> AsyncIterator[CheddarHere]:
    """A Cheddar that takes little."""
    little = attrs.evolve(
        settings, form_parts=PARTS + 4, form_field_size=1000, form_fields_size=3000, max_upload=len(CONTENT)
    )
    server = await CheddarHere(little, reactor).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


@pytest.mark.parametrize(
    ("fitting", "over", "said"),
    [
        ([("summary", "x" * 1000)], [("summary", "x" * 1001)], "field 'summary' is too large: one may have 1000 bytes"),
        (
            # The action, the protocol and the name count as well.
            [("classifiers", "x" * 994)] * 3,
            [("classifiers", "x" * 995)] * 3,
            "all of them together 3000",
        ),
        ([("classifiers", "x")] * 4, [("classifiers", "x")] * 5, "more than 8 parts"),
        ([("comment", "")] * 4, [("comment", "")] * 5, "more than 8 parts"),
    ],
)
async def test_a_form_has_its_limits(
    bounded: CheddarHere, settings: Settings, fitting: list[Any], over: list[Any], said: str
) -> None:
    """
    FORM_FIELD_SIZE, FORM_FIELDS_SIZE and FORM_PARTS: a form that has just as much is taken, and one that has more is a
    413 that says of which there is too much.
    """
    headers = {"Content-Type": "multipart/form-data; boundary=frontier", "Authorization": basic()}
    refused = await bounded.ask("POST", "/pypi/", form(*over), headers)
    assert refused.status == 413, refused
    assert said in refused.json()["detail"], refused.body
    assert said[:40] in refused.reason, "the one line that old clients show"
    assert spooled(settings) == []
    assert (await bounded.ask("GET", "/simple/demo/", headers={"Accept": JSON})).status == 404
    taken = await bounded.ask("POST", "/pypi/", form(*fitting), headers)
    assert taken.status == 200, taken
    assert (await bounded.ask("GET", "/simple/demo/", headers={"Accept": JSON})).status == 200


async def test_a_request_has_so_many_headers(reactor: Any, settings: Settings) -> None:
    """HEADER_COUNT of them, those that the client adds by itself among them; one more is a 431."""
    server = await CheddarHere(attrs.evolve(settings, header_count=10), reactor).start()
    try:
        for number, status in ((8, 200), (9, 431)):
            headers = {f"X-{at}": "x" for at in range(number)}  # beside Host and Accept-Encoding
            assert (await server.ask("GET", "/health/live", headers=headers)).status == status
    finally:
        await server.stop()
