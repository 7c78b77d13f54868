"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from cheddar.model import Action, Credentials, Event, Identity, Minted, Sight


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

    def check(identity: Identity, action: Action, index: str, project: str | None) -> Deferred[None]:
        """
        Whether C{identity} may do this. What of an index it may read is L{sight}'s to say.

        @param project: the normalized name; None where it is not known yet, or all are meant.
        @raise BadCredentials: a login would help. @raise Forbidden: it would not; the message says who could help.
        @raise NotFound: C{identity} may not know that there is such a project.
        """

    def sight(identity: Identity) -> Deferred[Sight]:
        """What C{identity} may read, as of a second ago at most."""

    def founder(identity: Identity, project: str) -> Deferred[str]:
        """The user who will own a project that C{identity} creates; empty where it is somebody's already."""


class ITrustedPublishing(Interface):
    """Gives API tokens to who shows an identity token of a publisher that the settings trust."""

    audience: str = Attribute("What an identity token for this server must have for its audience.")

    def mint(text: str, address: str) -> Deferred[Minted]:
        """
        @param text: the identity token (a signed JWT).
        @param address: where it is shown from, for the audit log.
        @return: an API token for uploads to one project, for a few minutes.
        @raise UntrustedPublisher: the token is not valid, was used before, or is nobody's whom the settings know.
            [Unavailable: its issuer's keys cannot be had; NoRoom: it cannot be noted]
        """

    def burn(text: str) -> Deferred[None]:
        """Revoke a token that L{mint} gave; nothing for any other."""
