"""What somebody may do."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from cheddar.interfaces import IPermissions
from cheddar.model import Action, Identity


@implementer(IPermissions)
@define(eq=False)
class Permissions:
    """
    Whoever is logged in may read and write; whoever is not may read, unless reading needs a login too. Who came by a
    token may do of that what the token is for; and what everybody may.

    @ivar _read_auth: whether reading needs a login.
    """

    _read_auth: bool = False

    def allows(self, identity: Identity, action: Action, index: str, project: str | None) -> bool:
        """See L{IPermissions.allows}."""
        if action in (Action.OBSERVE, Action.IDENTIFY):
            return True
        if action is Action.READ and not self._read_auth:
            return True
        if identity.beyond_scope(action, index, project):
            return False
        return not identity.anonymous
