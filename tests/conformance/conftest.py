"""
Cheddar with an upstream behind it; one test body serves all three indexes.

A test that takes C{served} runs four times: for the pages of the local index, of the remote one, and of the combined
one, there with files of either origin::

    @pytest.mark.conforms("PEP 592", "Yanked files: marked, with the reason")
    async def test_yanked(served: Served) -> None:
        filename, content = await served.publish_wheel("demo", "1.0")
        await served.yank("demo", "1.0", "broken")
        (file,) = (await served.project_page_json("demo"))["files"]
        assert file["yanked"] == "broken"

Where a line is about one origin only: C{@pytest.mark.parametrize(("index", "origin"), FROM_UPSTREAM)}. The parameters
must keep these names: docs/conformance.rst takes its columns from C{index}. See L{tests.conformance.served}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from cheddar.auth.passwords import hash_password
from cheddar.model import User
from cheddar.settings import Settings
from tests.conformance.served import EVERYWHERE, Served
from tests.support.later import LaterReactor
from tests.support.server import PASSWORD, USER, CheddarHere
from tests.support.upstream import EvilUpstream


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All indexes, unless the test says which."""
    said = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    names = [name.strip() for item in said for name in (item.split(",") if isinstance(item, str) else item)]
    if "index" in metafunc.fixturenames and "index" not in names:
        metafunc.parametrize(("index", "origin"), EVERYWHERE)


@pytest_twisted.async_yield_fixture
async def upstream(reactor: Any) -> AsyncIterator[EvilUpstream]:
    """An upstream that does as it is told."""
    server = EvilUpstream(reactor)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def clock(reactor: Any) -> LaterReactor:
    """Cheddar's clock, and its reactor."""
    return LaterReactor(reactor)


@pytest.fixture
def settings(tmp_path: Path, upstream: EvilUpstream) -> Settings:
    """Everything below the test's own directory, the evil upstream behind the remote index."""
    return Settings(data_dir=tmp_path / "data", index_url=upstream.url, public_url="http://cheddar.example/")


@pytest_twisted.async_yield_fixture
async def cheddar(clock: LaterReactor, settings: Settings) -> AsyncIterator[CheddarHere]:
    """A running Cheddar with one user, on SQLite: what is served does not depend on the store."""
    server = await CheddarHere(settings, clock).start()
    await server.service.store.accounts.put_user(User(USER, hash_password(PASSWORD)))
    yield server
    await server.stop()


@pytest.fixture
def served(index: str, origin: str, cheddar: CheddarHere, upstream: EvilUpstream, clock: LaterReactor) -> Served:
    """An index, and the way into it."""
    return Served(index, origin, cheddar, upstream, clock)
