"""Roles and groups in Redis."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import IRightsStore
from cheddar.model import Right, Rights, Role
from cheddar.store.changes import EVERYTHING
from cheddar.store.redis import keys, rights_scripts
from cheddar.store.redis.connection import RedisConnection

#: Bytes of roles that are parsed at once on the reactor's thread.
SMALL = 16 * 1024

KEYS = (keys.RIGHTS_SERIAL, keys.RIGHTS, keys.GROUPS)


@implementer(IRightsStore)
@define(eq=False)
class RedisRights:
    """Every change moves the serial on, in its own script."""

    _connection: RedisConnection

    @returns_deferred
    async def serial(self) -> int:
        """The number of the last change; 0 before the first. It grows with the clock, so never by one only."""
        return int(await self._connection.command("GET", keys.RIGHTS_SERIAL) or 0)

    @returns_deferred
    async def rights(self) -> Rights:
        """All roles and groups."""
        read = await self._connection.script(rights_scripts.READ, KEYS)
        return await self._connection.work(len(read) > SMALL, _parse, read)

    @returns_deferred
    async def put(self, right: Right) -> None:
        """Give a role."""
        await self._change(rights_scripts.GIVE, right.target, _line(right))

    @returns_deferred
    async def remove(self, right: Right) -> bool:
        """Take a role back. @return: whether it was given."""
        return bool(await self._change(rights_scripts.TAKE_BACK, right.target, _line(right)))

    @returns_deferred
    async def add_member(self, group: str, user: str) -> None:
        """Put a user into a group."""
        await self._change(rights_scripts.ADD_MEMBER, group, user)

    @returns_deferred
    async def remove_member(self, group: str, user: str) -> bool:
        """Take a user out of a group. @return: whether it was in it."""
        return bool(await self._change(rights_scripts.REMOVE_MEMBER, group, user))

    @returns_deferred
    async def remove_group(self, group: str) -> bool:
        """Remove a group, and its roles. @return: whether it had members or roles."""
        return bool(await self._change(rights_scripts.REMOVE_GROUP, group))

    async def _change(self, script: str, *words: str) -> object:
        return await self._connection.change(script, KEYS, words, EVERYTHING)


def _line(right: Right) -> str:
    return f"{right.role.value} {right.holder}"


def _parse(read: bytes) -> Rights:
    serial, rights, groups = read.decode().split("\f")
    held = []
    for target, lines in _pairs(rights):
        for line in lines.split("\n"):
            role, _, holder = line.partition(" ")
            held.append(Right(holder, Role(role), target))
    return Rights.of(int(serial), held, {group: users.split("\n") for group, users in _pairs(groups)})


def _pairs(part: str) -> list[tuple[str, str]]:
    words = part.split("\v") if part else []
    return list(zip(words[::2], words[1::2], strict=True))
