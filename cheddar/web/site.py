"""The whole HTTP surface: every route, under one factory of connections."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.threadpool import ThreadPool

from cheddar.formats.upload_form import FormLimits
from cheddar.interfaces import (
    IAuditLog,
    IFileStorage,
    IIndex,
    ILogins,
    IOwningIndex,
    IPermissions,
    IPublishable,
    IStore,
    ITrustedPublishing,
    IUpstreams,
)
from cheddar.model import Sight
from cheddar.web.access import Access, Routes
from cheddar.web.access_log import AccessLog, NoLog
from cheddar.web.audited import Audited
from cheddar.web.bodies import Delivery
from cheddar.web.channel import Limits
from cheddar.web.direct import DirectResource
from cheddar.web.errors import Problems
from cheddar.web.files import file_routes
from cheddar.web.handing_over import HandOver
from cheddar.web.hot import HotAnswers
from cheddar.web.indexes import Shown
from cheddar.web.manage import manage_routes
from cheddar.web.modified import Sightings
from cheddar.web.pages import Pages
from cheddar.web.people import people_routes
from cheddar.web.pypi_json import Documents, pypi_json_routes
from cheddar.web.request import CheddarRequest, CheddarSite
from cheddar.web.simple import SimplePages, simple_routes
from cheddar.web.status import openapi_routes, status_routes
from cheddar.web.trusted_publishing import trusted_publishing_routes
from cheddar.web.upload import IncomingUpload, upload_routes


@frozen(kw_only=True)
class Behind:
    """
    What stands behind the HTTP surface.

    @ivar local: the local index. @ivar remote: the remote one.
    @ivar view: the local one, and both combined, as somebody sees them.
    @ivar logins: knows who somebody is. @ivar permissions: knows what they may do.
    @ivar store: asked whether it answers. @ivar storage: where uploads go. @ivar cache: where upstream's files are.
    @ivar audit: where changes are noted.
    @ivar upstreams: shown in readiness. @ivar address: the address that users see, with a slash at its end.
    @ivar publishing: gives tokens to trusted publishers; None: there are none.
    @ivar forms: what the form of an upload may have.
    @ivar limits: what a client may take of connections and time.
    @ivar access_log: notes the requests.
    @ivar hand_over: tells a server in front to send files; None: there is none that does.
    """

    local: IPublishable
    remote: IIndex
    view: Callable[[Sight], tuple[IOwningIndex, IIndex]]
    logins: ILogins
    permissions: IPermissions
    store: IStore
    storage: IFileStorage
    cache: IFileStorage
    audit: IAuditLog
    upstreams: IUpstreams
    publishing: ITrustedPublishing | None
    address: str
    forms: FormLimits = FormLimits()
    limits: Limits = Limits()
    access_log: AccessLog = NoLog()
    hand_over: HandOver | None = None


def make_site(behind: Behind, reactor: IReactorFromThreads, clock: IReactorTime, pool: ThreadPool) -> CheddarSite:
    """
    @param pool: renders large pages and descriptions.
    @return: the factory to listen with.
    """
    states = behind.upstreams.states()
    offline = all(state.get("offline") for state in states)
    pages = Pages(behind.address, bool(states), reactor, pool, offline)
    problems = Problems(pages.problem)
    access = Access(behind.logins, behind.permissions, behind.address)
    shown = Shown(behind.view, behind.remote)
    app = Klein()
    # A slash more or less is redirected by the endpoints themselves: werkzeug would build an absolute address from
    # the request's Host.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    routes = Routes(app, access, Delivery(reactor, pool, behind.hand_over), problems, Audited(behind.audit, clock))
    simple_routes(routes, shown, SimplePages(reactor, pool, Sightings(clock), behind.address, clock))
    file_routes(routes, shown, clock)
    upload_routes(routes, behind.local)
    manage_routes(routes, behind.local)
    people_routes(routes, shown, pages)
    pypi_json_routes(routes, Documents(shown, reactor, pool, behind.address))
    status_routes(routes, behind.store, behind.local, behind.storage, behind.cache, behind.upstreams)
    trusted_publishing_routes(routes, behind.publishing, behind.address)
    openapi_routes(routes, behind.address)
    routes.handle_errors()
    routes.check()

    def receive(request: CheddarRequest, length: int | None) -> IncomingUpload:
        return IncomingUpload(request, access, behind.local, behind.storage, routes.audited, behind.forms, length)

    hot = HotAnswers(clock, behind.store.changes)
    resource = DirectResource(routes.shapes, app.resource(), routes.explain_unforeseen)
    return CheddarSite(resource, clock, receive, problems.response, behind.limits, hot, behind.access_log)
