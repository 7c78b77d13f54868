"""Who asks, and what they may do."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Interface

from cheddar.model import Action, Credentials, Identity


class IAuthenticator(Interface):
    """Knows who somebody is."""

    def identify(credentials: Credentials | None) -> Deferred[Identity]:
        """@return: who it is; L{cheddar.model.ANONYMOUS} for no credentials. [BadCredentials, Unavailable]"""


class IPermissions(Interface):
    """Knows what somebody may do."""

    def allows(identity: Identity, action: Action, index: str, project: str | None) -> bool:
        """
        Plain call. Whether C{identity} may do this; C{project} is None where it is not known yet, or all are meant.
        """
