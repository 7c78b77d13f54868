"""The combined index: each name belongs to one of two, whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from cheddar.errors import NotFound
from cheddar.index.combined import CombinedIndex
from cheddar.interfaces import IIndex
from cheddar.model import File, Project
from cheddar.names import normalize
from tests.index.test_downloads import take
from tests.support.distributions import core_metadata_of, make_wheel
from tests.support.upstream import EvilUpstream

PROVENANCE = b'{"version":1,"attestation_bundles":[{"publisher":{"kind":"A"},"attestations":[{}]}]}'


@implementer(IIndex)
class Private:
    """A local index with names, some of which have a file."""

    name = "local"

    def __init__(self, projects: dict[str, tuple[File, ...]]) -> None:
        self.projects = projects
        self.stored: Any = object()

    def owns(self, name: str) -> Deferred[bool]:
        return succeed(name in self.projects)

    def project_names(self) -> Deferred[tuple[str, ...]]:
        return succeed(tuple(name for name, files in self.projects.items() if files))

    def owned_names(self) -> Deferred[frozenset[str]]:
        return succeed(frozenset(self.projects))

    def project(self, name: str) -> Deferred[Project]:
        return succeed(Project(name, self.projects[name])) if self.projects[name] else fail(NotFound(name))

    def file(self, project: str, filename: str, digest: str | None) -> Deferred[Any]:
        return succeed(self.stored) if self.projects[project] else fail(NotFound(filename))

    def core_metadata(self, project: str, filename: str, digest: str | None) -> Deferred[bytes]:
        return succeed(b"local") if self.projects[project] else fail(NotFound(filename))

    def provenance(self, project: str, filename: str, digest: str | None) -> Deferred[bytes]:
        return succeed(b"{}") if self.projects[project] else fail(NotFound(filename))


async def test_a_local_name_hides_upstreams(make_node: Callable[..., Any], evil: EvilUpstream) -> None:
    """Page, file and what is beside a file: of a local name all are local, its files gone or not."""
    local = Private({"acme": (File("acme-1.0.tar.gz", "1.0"),), "emptied": ()})
    node = await make_node(local.owns)
    combined = CombinedIndex(local, node.index)
    verifyObject(IIndex, combined)
    contents = {}
    for name in ("acme", "emptied", "flask"):
        filename, contents[name] = make_wheel(name, "9.9")
        evil.add_file(name, filename, contents[name], provenance=f"{evil.origin}/provenance")
    evil.misbehave("/provenance", status=200, body=PROVENANCE)
    wheel = "{}-9.9-py3-none-any.whl".format
    assert [file.version for file in (await combined.project("acme")).files] == ["1.0"]
    assert await combined.file("acme", wheel("acme"), None) is local.stored
    assert await combined.core_metadata("acme", wheel("acme"), None) == b"local"
    assert await combined.provenance("acme", wheel("acme"), None) == b"{}"
    for ask in (
        combined.project("emptied"),
        combined.file("emptied", wheel("emptied"), None),
        combined.core_metadata("emptied", wheel("emptied"), None),
        combined.provenance("emptied", wheel("emptied"), None),
    ):
        with pytest.raises(NotFound):
            await ask
    assert evil.hits.total() == 0
    # The control: a name that is nobody's here is upstream's.
    assert [file.version for file in (await combined.project("flask")).files] == ["9.9"]
    assert await take(await combined.file("flask", wheel("flask"), None)) == contents["flask"]
    assert await combined.core_metadata("flask", wheel("flask"), None) == core_metadata_of(contents["flask"])
    assert await combined.provenance("flask", wheel("flask"), None) == PROVENANCE
    assert evil.hits.total() == 4
    assert await combined.project_names() == ("acme", "flask")


async def test_a_name_that_was_taken_leaves_upstreams_list(make_node: Callable[..., Any], evil: EvilUpstream) -> None:
    """A public project that was asked for is listed until its name is taken here, even if that project is empty."""
    local = Private({})
    node = await make_node(local.owns)
    combined = CombinedIndex(local, node.index)
    evil.add_file("acme", *make_wheel("acme", "2.0"))
    await combined.project("acme")
    assert await combined.project_names() == ("acme",)
    local.projects["acme"] = ()
    assert await combined.project_names() == ()


async def test_a_released_name_is_upstreams(make_node: Callable[..., Any], evil: EvilUpstream) -> None:
    """A name that was given up is asked of upstream again."""
    local = Private({normalize("Acme"): ()})
    node = await make_node(local.owns)
    combined = CombinedIndex(local, node.index)
    evil.add_file("acme", *make_wheel("acme", "2.0"))
    with pytest.raises(NotFound):
        await combined.project("acme")
    del local.projects["acme"]
    assert [file.version for file in (await combined.project("acme")).files] == ["2.0"]
