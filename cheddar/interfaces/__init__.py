"""
Where rooms meet. Every method returns a Deferred unless its docstring says "plain call".

Failures are part of the contract: the errors in square brackets are the ones a caller may count on, and any
method that reaches a store may fail with L{StoreUnavailable<cheddar.errors.StoreUnavailable>}.
"""

from __future__ import annotations

from cheddar.interfaces.files import IArriving, IDescriptorConsumer, IFileStorage, IFileView, IFileWriter, IStoredFile
from cheddar.interfaces.indexes import IIndex, IOwningIndex, IPublishable, IRefreshable, IUpload
from cheddar.interfaces.people import IAuditLog, IAuthenticator, ILogins, IPermissions, ITrustedPublishing
from cheddar.interfaces.stores import (
    IAccountStore,
    IChanges,
    IEventStore,
    ILeases,
    IPageCache,
    IProjectStore,
    IRightsStore,
    IStore,
    ITokenStore,
)
from cheddar.interfaces.upstreams import IBodyReceiver, IUpstream, IUpstreams

__all__ = [
    "IAccountStore",
    "IArriving",
    "IAuditLog",
    "IAuthenticator",
    "IBodyReceiver",
    "IChanges",
    "IDescriptorConsumer",
    "IEventStore",
    "IFileStorage",
    "IFileView",
    "IFileWriter",
    "IIndex",
    "ILeases",
    "ILogins",
    "IOwningIndex",
    "IPageCache",
    "IPermissions",
    "IProjectStore",
    "IPublishable",
    "IRefreshable",
    "IRightsStore",
    "IStore",
    "IStoredFile",
    "ITokenStore",
    "ITrustedPublishing",
    "IUpload",
    "IUpstream",
    "IUpstreams",
]
