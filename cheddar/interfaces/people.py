"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from cheddar.model import Action, Credentials, Event, Identity


class IAuthenticator(Interface):
    """Knows who somebody is."""

    def identify(credentials: Credentials | None) -> Deferred[Identity]:
        """@return: who it is; L{cheddar.model.ANONYMOUS} for no credentials. [BadCredentials, Unavailable]"""


class ILogins(Interface):
    """Knows who somebody is, and lets nobody guess without end."""

    def identify(credentials: Credentials | None, client: str) -> Deferred[Identity]:
        """
        @param client: where the request comes from, in the form in which clients are counted.
        @return: who it is; L{cheddar.model.ANONYMOUS} for no credentials. [BadCredentials, TooOften, Unavailable]
        """


class IAuditLog(Interface):
    """Remembers what happened, for those who must find it again."""

    def record(events: Sequence[Event], durable: bool = True) -> Deferred[None]:
        """
        Note events, in this order; they are noted when this fires.

        @param durable: whether a power failure must not undo it. [NoRoom, StoreUnavailable]
        """


class IPermissions(Interface):
    """Knows what somebody may do."""

    def allows(identity: Identity, action: Action, index: str, project: str | None) -> bool:
        """
        Plain call. Whether C{identity} may do this; C{project} is None where it is not known yet, or all are meant.
        """
