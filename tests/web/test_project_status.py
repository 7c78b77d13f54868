"""PEP 792: what a project's status means for its page, its files and its uploads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.distributions import make_wheel
from tests.support.server import JSON, CheddarHere


@pytest.mark.parametrize("status", ["archived", "deprecated", "quarantined"])
async def test_a_local_project_has_a_status(cheddar: CheddarHere, status: str) -> None:
    """
    The page says status and reason in both formats; archived takes no uploads and goes on serving, quarantined offers
    no files either, deprecated changes nothing.
    """
    filename, content = make_wheel("demo", "1.0")
    await cheddar.upload(filename, content)

    async def page() -> Any:
        return (await cheddar.ask("GET", "/simple/demo/", headers={"Accept": JSON})).json()

    before = await page()
    assert "project-status" not in before
    address = "/" + before["files"][0]["url"].removeprefix("../../")
    await cheddar.service.store.projects.set_status("demo", status, 'moved to "new" & co')
    document = await page()
    assert document["project-status"] == {"status": status, "reason": 'moved to "new" & co'}
    text = (await cheddar.ask("GET", "/simple/demo/")).body.decode()
    assert f'<meta name="pypi:project-status" content="{status}">' in text
    assert '<meta name="pypi:project-status-reason" content="moved to &#34;new&#34; &amp; co">' in text.replace(
        "&quot;", "&#34;"
    )
    offered = [] if status == "quarantined" else [filename]
    assert [file["filename"] for file in document["files"]] == offered
    expected = 404 if status == "quarantined" else 200
    assert (await cheddar.ask("GET", address)).status == expected
    assert (await cheddar.ask("GET", f"{address}.metadata")).status == expected
    assert (await cheddar.ask("GET", f"/local/{filename}")).status == expected
    again = await cheddar.upload(*make_wheel("demo", "2.0"))
    assert again.status == (200 if status == "deprecated" else 403)
    if status != "deprecated":
        assert status in again.reason
    await cheddar.service.store.projects.set_status("demo", "active", None)
    assert (await cheddar.upload(*make_wheel("demo", "3.0"))).status == 200
    assert (await cheddar.ask("GET", address)).body == content
