"""A file that is deleted while somebody is being sent it."""

from __future__ import annotations

import http.client

import pytest
from twisted.internet.threads import deferToThread

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from tests.conformance.served import Served
from tests.faults.conftest import Ending, gives_the_file
from tests.support.distributions import make_wheel, sha256
from tests.support.server import PASSWORD, USER, basic

pytestmark = pytest.mark.deadline(60)


async def test_d8_delete_during_a_download(served: Served, nothing_left: Ending) -> None:
    """Who is being sent it gets all of it; the page forgets it at once, and its address is never other bytes'."""
    filename, content = make_wheel("ours", "1.0", size=30_000_000)
    cheddar, login = served.cheddar, {"Authorization": basic()}
    await cheddar.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    assert (await cheddar.upload(filename, content)).status == 200
    newer = make_wheel("ours", "1.1")
    assert (await cheddar.upload(*newer)).status == 200
    address = (await served.addresses("ours"))[filename]
    slow = http.client.HTTPConnection("127.0.0.1", cheddar.port, timeout=30)
    slow.request("GET", address)
    response = await deferToThread(slow.getresponse)
    begin = await deferToThread(response.read, 1000)
    assert (await cheddar.ask("DELETE", "/simple/ours/1.0", headers=login)).status == 200
    assert filename not in await served.addresses("ours")
    assert (await served.get(address)).status in (404, 410)
    rest = await deferToThread(response.read)
    slow.close()
    assert sha256(begin + rest) == sha256(content)
    other = make_wheel("ours", "1.0", size=10)[1]
    assert (await cheddar.upload(filename, other)).status == 200
    again = (await served.addresses("ours"))[filename]
    assert again != address
    assert (await served.get(again)).body == other
    assert (await served.get(address)).status in (404, 410)
    assert (await served.get((await served.addresses("ours"))[newer[0]])).body == newer[1], "the control"
    await gives_the_file(served)
