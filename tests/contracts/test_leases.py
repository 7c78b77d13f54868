"""What every ILeases does."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from cheddar.interfaces import ILeases
from tests.contracts.conftest import StoreUnderTest
from tests.contracts.test_project_store import ODD_NAMES


async def test_one_holder(under_test: StoreUnderTest) -> None:
    """Of many who claim a lease at once, on two nodes, one gets it; another lease is another's."""
    verifyObject(ILeases, under_test.store.leases)
    nodes = [under_test.store, await under_test.another()]
    claims = await gatherResults([nodes[i % 2].leases.claim("refresh", f"holder {i}", 30) for i in range(10)])
    assert sorted(claims) == [False] * 9 + [True]
    assert await nodes[0].leases.claim("other", "somebody else", 30)


async def test_only_the_holder_prolongs(under_test: StoreUnderTest) -> None:
    """A lease ends by itself unless its holder prolongs it; nobody else can."""
    leases = under_test.store.leases
    assert await leases.claim("refresh", "ann", 0.5)
    assert await leases.claim("refresh", "ann", 60)
    await under_test.pass_time(0.7)
    assert not await leases.claim("refresh", "bob", 60)
    assert await leases.claim("refresh", "ann", 0.3)
    assert not await leases.claim("refresh", "bob", 60)
    await under_test.pass_time(0.4)
    assert await leases.claim("refresh", "bob", 60)
    assert not await leases.claim("refresh", "ann", 60)


async def test_release(under_test: StoreUnderTest) -> None:
    """A lease that its holder gives back is free; others cannot give it back."""
    leases = under_test.store.leases
    assert await leases.claim("refresh", "ann", 60)
    await leases.release("refresh", "bob")
    assert not await leases.claim("refresh", "bob", 60)
    await leases.release("refresh", "ann")
    await leases.release("refresh", "ann")
    assert await leases.claim("refresh", "bob", 60)


async def test_names_are_never_patterns(under_test: StoreUnderTest) -> None:
    """A lease's name means that lease alone."""
    leases = under_test.store.leases
    for name in ODD_NAMES:
        assert await leases.claim(name, name, 60)
    for name in ODD_NAMES:
        assert not await leases.claim(name, "another", 60)
