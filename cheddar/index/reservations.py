"""
Names that are the organisation's own before anybody has published them: what PEP 752 is for, without its API.

An installer that asks for such a name gets the organisation's project or none, never what somebody has put upstream
under that name; and not everybody who may upload may found a project of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound, Reserved
from cheddar.model import Identity
from cheddar.names import is_of_pattern, names_and_beginnings


def _none_granted(user: str) -> Deferred[tuple[str, ...]]:
    return succeed(())


@define(eq=False)
class Reservations:
    """
    @ivar patterns: the reserved names (L{cheddar.names.normalize_pattern}).
    @ivar _grants: the patterns that a user was granted, in whatever way.
    """

    patterns: tuple[str, ...] = ()
    _grants: Callable[[str], Deferred[tuple[str, ...]]] = _none_granted

    _log = Logger()

    def pattern(self, name: str) -> str | None:
        """Plain call. The first pattern that reserves a (normalized) name; None where none does."""
        return next((pattern for pattern in self.patterns if is_of_pattern(name, pattern)), None)

    def without(self, names: Iterable[str]) -> tuple[str, ...]:
        """Plain call. Those of C{names} that are not reserved."""
        whole, beginnings = names_and_beginnings(self.patterns)
        return tuple(name for name in names if name not in whole and not name.startswith(beginnings))

    def explain(self, name: str, otherwise: str) -> str:
        """Plain call. Why there is no project C{name}: that it is reserved; C{otherwise} where it is not."""
        pattern = self.pattern(name)
        if pattern is None:
            return otherwise
        return f"There is no project {name}: the name is reserved here ({pattern}), so upstream is not asked for it."

    def no_project(self, name: str) -> NotFound:
        """Plain call. What is said of a project that is nowhere."""
        return NotFound(self.explain(name, f"There is no project {name} here. Check the spelling."))

    def no_local_project(self, name: str) -> NotFound:
        """Plain call. What is said of a project that is not here, wherever else it may be."""
        return NotFound(self.explain(name, f"There is no local project {name}."))

    @returns_deferred
    async def check_founder(self, name: str, by: Identity) -> None:
        """
        Whether C{by} may create a project that is not there yet.

        @raise Reserved: the name is reserved, and nobody has granted it to C{by} (PEP 752, section "Uploads").
            [StoreUnavailable]
        """
        pattern = self.pattern(name)
        if pattern is None or any(is_of_pattern(name, granted) for granted in await self._grants(by.name)):
            return
        self._log.info("{by} was refused the reserved name {name}", by=by.name or "somebody", name=name)
        # Not a word of something that is there already: this is what an uploader's user gets to read.
        raise Reserved(
            f"The name {name} is reserved ({pattern}), and {by.name} may not create it. Ask an administrator for "
            f"`cheddar user grant {by.name} {name}`."
        )
