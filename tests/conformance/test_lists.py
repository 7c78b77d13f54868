"""Project lists: who is on them, and what mirrors read off them."""

from __future__ import annotations

from typing import Any

import pytest

from cheddar.names import normalize
from tests.conformance.served import FROM_UPLOADS, Served
from tests.conformance.test_status_and_yank import set_status
from tests.support.distributions import make_wheel
from tests.support.server import JSON


async def project_list(served: Served) -> Any:
    """The list in JSON, parsed."""
    answer = await served.get(served.list_url, {"Accept": JSON})
    assert answer.status == 200
    return answer.json()


@pytest.mark.conforms("PEP 792", "quarantined: on no project list, while the page stays")
async def test_quarantined_projects_are_not_listed(served: Served) -> None:
    """In every format; all other states are listed, and the project is there again once it is none of it."""
    for name in ("demo", "other"):
        await served.publish_wheel(name)
        assert (await served.page(name)).status == 200
    for status, listed in (
        ("archived", ["demo", "other"]),
        ("quarantined", ["other"]),
        ("deprecated", ["demo", "other"]),
        ("quarantined", ["other"]),
        ("active", ["demo", "other"]),
    ):
        await set_status(served, status, "why")
        page = await served.project_page_json("demo")
        assert page.get("project-status", {}).get("status", "active") == status
        assert bool(page["files"]) == (status != "quarantined")
        assert await served.listed() == listed
        text = (await served.get(served.list_url)).body.decode()
        assert [name for name in ("demo", "other") if f'<a href="{name}/">' in text] == listed
        original = (await served.get(served.list_url, {"Accept": "application/json"})).json()
        assert original == {"projects": listed}


@pytest.mark.parametrize(("index", "origin"), FROM_UPLOADS)
async def test_a_quarantined_name_stays_taken(served: Served) -> None:
    """Also in the combined list, where upstream has a project of that name which was asked for before."""
    filename, content = make_wheel("demo", "9.0")
    served.upstream.add_file("demo", filename, content)
    assert (await served.get("/remote/simple/demo/")).status == 200
    await served.publish_wheel("demo")
    assert await served.listed() == ["demo"], "the control"
    await set_status(served, "quarantined")
    assert await served.listed() == []
    assert (await served.project_page_json("demo"))["files"] == []


async def test_serials(served: Served) -> None:
    """
    The local list says what has changed, as the public index's does: each project's serial is that of its page, and the
    list's own is that of the last change of all. Upstream's projects have none, as their changes have no number here;
    and so a list that may have some of them has none of its own.
    """
    for name in ("demo", "Other"):
        await served.publish_wheel(name)
        assert (await served.page(normalize(name))).status == 200

    async def serials() -> tuple[int, dict[str, int]]:
        document = await project_list(served)
        head = await served.ask("HEAD", served.list_url)
        assert int(head.headers["x-pypi-last-serial"]) == document["meta"]["_last-serial"]
        of = {project["name"]: project["_last-serial"] for project in document["projects"]}
        for name, serial in of.items():
            assert int((await served.page(name)).headers["x-pypi-last-serial"]) == serial
        return document["meta"]["_last-serial"], of

    if served.index != "local":
        document = await project_list(served)
        assert document["meta"] == {"api-version": "1.4"}
        assert "x-pypi-last-serial" not in (await served.get(served.list_url)).headers
        for project in document["projects"]:
            local = await served.cheddar.service.store.projects.project(project["name"])
            assert project.get("_last-serial") == (local and local.serial)
        assert len(document["projects"]) == 2
        return
    last, first = await serials()
    assert first.keys() == {"demo", "other"}
    assert last == max(first.values())
    await served.yank("demo", "1.0", "broken")
    yanked, second = await serials()
    assert yanked == second["demo"] > last
    assert second["other"] == first["other"]
    # A mirror sees that a project is gone by the list; that something has happened, by the list's serial.
    await served.remove("demo", "1.0")
    removed, third = await serials()
    assert third == {"other": first["other"]}
    assert removed > yanked
    await set_status(served, "quarantined")
    await served.publish_wheel("other", "2.0")
    assert (await serials())[1]["other"] > removed


async def test_an_empty_list(served: Served) -> None:
    """A server without projects has lists all the same."""
    assert (await project_list(served))["projects"] == []
    assert (await served.get(served.list_url)).headers.get("x-pypi-last-serial") == (
        "0" if served.index == "local" else None
    )
