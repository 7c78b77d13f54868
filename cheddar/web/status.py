"""Whether Cheddar lives, whether it can serve, and what it counts."""

from __future__ import annotations

import json

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from cheddar import metrics
from cheddar.errors import CheddarError
from cheddar.interfaces import IFileStorage, IPublishable, IStore, IUpstreams
from cheddar.model import Action
from cheddar.web.access import Routes
from cheddar.web.openapi import PATH, description_of
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Response, page_etag

_FRESH = {"Cache-Control": "no-store"}


#: What the one upstream of INDEX_URL is called in metrics.
UNNAMED = "default"
#: States of a circuit breaker.
_BREAKERS = ("closed", "open", "half-open")


def status_routes(
    routes: Routes,
    store: IStore,
    local: IPublishable,
    storage: IFileStorage,
    cache: IFileStorage,
    upstreams: IUpstreams,
) -> None:
    """
    Register health and metrics.

    @param storage: where uploads go. @param cache: where upstream's files are kept.
    """

    @routes.authorized_route(Action.OBSERVE, "/health/live")
    async def live(request: CheddarRequest) -> Response:
        return Response(body=b"live\n", headers=_FRESH)

    @routes.authorized_route(Action.OBSERVE, "/health/ready")
    async def ready(request: CheddarRequest) -> Response:
        states: dict[str, object] = {}
        well = True
        for name, check in (("store", store.check), ("projects", local.check), ("storage", storage.check)):
            try:
                await check()
                states[name] = "ok"
            except CheddarError as error:
                states[name] = str(error)
                well = False
        # Without its upstreams Cheddar goes on serving what it has: that is what it is for. And what it cannot keep it
        # passes on. So neither makes it less than ready.
        try:
            await cache.check()
            states["cache"] = "ok"
        except CheddarError as error:
            states["cache"] = f"Files from upstream are passed on and not kept. {error}"
        states["upstreams"] = upstreams.states()
        body = json.dumps({"ready": well, **states}, indent=1).encode() + b"\n"
        return Response(
            status=200 if well else 503,
            body=body,
            content_type="application/json",
            headers=_FRESH if well else {**_FRESH, "Retry-After": "5"},
        )

    @routes.authorized_route(Action.OBSERVE, "/metrics")
    async def counted(request: CheddarRequest) -> Response:
        _tell_states(upstreams)
        request.site.hot.count()
        return Response(body=metrics.exposed(), content_type=CONTENT_TYPE_LATEST, headers=_FRESH)


def openapi_routes(routes: Routes, address: str) -> None:
    """Register the description of all routes, after all the others. [UndescribedRoute]"""

    @routes.authorized_route(Action.OBSERVE, PATH)
    async def openapi(request: CheddarRequest) -> Response:
        return described

    body = description_of(routes.operations, address)
    described = Response(body=body, content_type="application/json", etag=page_etag(body))


def _tell_states(upstreams: IUpstreams) -> None:
    """Bring the gauges of upstreams up to date. The labels are names in the settings: few, and none of a client's."""
    gauges = (metrics.upstream_up, metrics.upstream_failures, metrics.upstream_breaker)
    for gauge in () if metrics.shared() else gauges:
        gauge.clear()
    for state in upstreams.states():
        if state.get("offline"):
            continue  # nobody knows
        name = str(state["name"]) or UNNAMED
        metrics.upstream_up.labels(name).set(1 if state["ok"] else 0)
        metrics.upstream_failures.labels(name).set(float(str(state["failures"])))
        for breaker in _BREAKERS:
            metrics.upstream_breaker.labels(name, breaker).set(1 if state["breaker"] == breaker else 0)
