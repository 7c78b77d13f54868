"""Routes, each with the action it is: one without a permission decision cannot be written."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

from attrs import define, field
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod

from cheddar import metrics
from cheddar.deferreds import shielded
from cheddar.errors import CheddarError, Forbidden, NoCredentials, NotFound
from cheddar.interfaces import ILogins, IPermissions
from cheddar.model import TOKEN_USER, Action, Credentials, Identity
from cheddar.names import is_project_name, normalize
from cheddar.web.audited import Audited
from cheddar.web.bodies import Delivery
from cheddar.web.clients import counted_as
from cheddar.web.direct import Shapes
from cheddar.web.errors import MethodNotAllowed, Problems
from cheddar.web.openapi import Operation
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Response, request_header

P = ParamSpec("P")
T = TypeVar("T")
Endpoint = Callable[Concatenate[CheddarRequest, P], Awaitable[Response]]


#: What is open to all, whoever they say they are.
_OPEN = (Action.OBSERVE, Action.IDENTIFY)

_log = Logger()


class UnstatedRoute(Exception):
    """A route was registered without saying what a request for it does: nobody has decided who may ask."""


class InternalError(CheddarError):
    """Something failed that Cheddar had not foreseen; the log has the traceback."""

    def __init__(self) -> None:
        super().__init__("Something went wrong here; the server's log says what.")


def to_its_end(request: CheddarRequest, change: Deferred[T]) -> Deferred[T | None]:
    """
    A change that runs to its end although the client that asked for it leaves. What it would then have been told is
    no fault of the server.
    """

    def ended(result: T | Failure) -> T | Failure | None:
        if not (request.gone and isinstance(result, Failure) and result.check(CheddarError)):
            return result
        _log.info("{error} Its client has left.", error=result.getErrorMessage())
        return None

    return shielded(change.addBoth(ended))


def credentials_of(request: CheddarRequest) -> Credentials | None:
    """
    The name and password that a request carries (RFC 7617), or its token (RFC 6750): None for none.

    @raise NoCredentials: the header is there, and is neither Basic nor Bearer credentials.
    """
    values = request.requestHeaders.getRawHeaders(b"authorization", [])
    if not values:
        return None
    scheme, _, encoded = values[0].partition(b" ")
    if len(values) == 1 and scheme.lower() == b"bearer":
        return Credentials(TOKEN_USER, encoded.strip().decode("latin-1"))
    if len(values) > 1 or scheme.lower() != b"basic":
        raise NoCredentials("Log in with Basic authentication: a user name and a password; or with a Bearer token.")
    try:
        decoded = b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        raise NoCredentials("The Authorization header is not valid Base64.") from None
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        text = decoded.decode("latin-1")  # old clients (RFC 7617, section 2)
    username, colon, password = text.partition(":")
    if not colon:
        raise NoCredentials("The Authorization header holds no colon between name and password.")
    return Credentials(username, password)


@define(eq=False)
class Access:
    """
    Who is asking, and whether they may.

    @ivar _address: this server's own, with a slash at its end.
    """

    _logins: ILogins
    _permissions: IPermissions
    _address: str

    async def check(self, request: CheddarRequest, action: Action, index: str, project: str | None) -> Identity:
        """
        @return: who is asking.
        @raise BadCredentials: a login is wrong, or would be needed.
        @raise TooOften: too many have failed. [Unavailable; Forbidden: a login does not help; NotFound]
        """
        if action not in (Action.READ, *_OPEN):
            self._check_origin(request)
        if request.identity is None and action not in _OPEN:
            address = request.client_address
            request.identity = await self._logins.identify(credentials_of(request), counted_as(address) or address)
        identity = request.identity or Identity()
        await self._permissions.check(identity, action, index, project)
        if action is Action.READ:
            request.sight = await self._permissions.sight(identity)
        return identity

    def _check_origin(self, request: CheddarRequest) -> None:
        # A browser sends the login it knows with whatever a page of another site makes it ask for; tools say neither.
        origin, site = request_header(request, "origin"), request_header(request, "sec-fetch-site")
        own = "{0.scheme}://{0.netloc}".format(urlsplit(self._address)).lower()
        if origin not in (None, own) or site not in (None, "same-origin", "none"):
            raise Forbidden("A page of another site may change nothing here.")


@define(eq=False)
class Routes:
    """
    Where the modules of this room register what they answer: the only way to a route.

    @ivar audited: notes changes.
    @ivar operations: what was registered.
    @ivar shapes: the short way to most of it.
    """

    _app: Klein
    _access: Access
    _delivery: Delivery
    _problems: Problems
    audited: Audited
    _stated: dict[str, frozenset[str]] = field(factory=dict, init=False)
    operations: list[Operation] = field(factory=list, init=False)
    shapes: Shapes = field(factory=Shapes, init=False)

    def authorized_route(
        self, action: Action, rule: str, *, index: str = "combined", methods: tuple[str, ...] = ("GET", "HEAD")
    ) -> Callable[[Endpoint[P]], Endpoint[P]]:
        """
        Register an endpoint: it gets the request and the rule's parts, and returns a L{Response}.

        @param action: what a request for this does; checked before the endpoint is called.
        @param rule: a werkzeug rule; with and without a slash at its end alike.
        @param index: the index that is asked, for the decision; C{<index>} in the rule goes before it.
        @param methods: the HTTP methods that are answered.
        """

        def register(endpoint: Endpoint[P]) -> Endpoint[P]:
            async def handle(request: CheddarRequest, *args: P.args, **kwargs: P.kwargs) -> None:
                began = perf_counter()
                request.route = rule
                try:
                    try:
                        if request.incoming is not None:
                            await request.incoming.admitted()
                        await self._access.check(
                            request, action, str(kwargs.get("index", index)), _project_of(dict(kwargs))
                        )
                        response = await endpoint(request, *args, **kwargs)
                        await self._delivery.deliver(request, response)
                    except CheddarError as error:
                        await self.audited.refused(request, action, _project_of(dict(kwargs)) or "", error)
                        await self._delivery.deliver(request, self._problems.response(request, error))
                except CancelledError:
                    if not request.gone:
                        raise
                except Exception:  # noqa: BLE001  # nobody foresaw it: the client gets a 500, the log the traceback
                    await self.explain_unforeseen(request, Failure())
                finally:
                    request.count(rule)
                    metrics.request_seconds.labels(rule).observe(perf_counter() - began)

            handle.__name__ = f"{endpoint.__module__}.{endpoint.__qualname__}"
            # The endpoint's name says what was decided: the rules and their actions can be read off the map.
            name = f"{action.value} {index} {' '.join(methods)} {rule}"
            self._stated[name] = frozenset(methods)
            self.operations.append(Operation(rule, methods, action))
            self.shapes.add(rule, methods, handle)
            self._app.route(rule, methods=list(methods), endpoint=name)(handle)
            return endpoint

        return register

    def check(self) -> None:
        """
        Every route there is went through L{authorized_route}, and answers no other methods than it said.

        @raise UnstatedRoute: one did not.
        """
        for rule in self._app.url_map.iter_rules():
            # A route that was made without methods answers all of them.
            if set(self._stated.get(str(rule.endpoint), ())) != rule.methods:
                methods = " ".join(sorted(rule.methods or ("every method",)))
                raise UnstatedRoute(f"The route {rule.rule} ({methods}) states no action: use authorized_route.")

    def handle_errors(self) -> None:
        """Explain what no endpoint answers: unknown paths, other methods, and failures that nobody foresaw."""

        async def unmatched(request: CheddarRequest, failure: Failure) -> None:
            cause = failure.value
            error: CheddarError = NotFound("There is nothing at this address.")
            if isinstance(cause, NoSuchMethod):
                error = MethodNotAllowed(sorted(set(cause.valid_methods or ())))
            await self._delivery.deliver(request, self._problems.response(request, error))
            request.count("none")

        app: Any = self._app  # Klein's types know no subclass of its request
        app.handle_errors(HTTPException)(unmatched)
        app.handle_errors(Exception)(self.explain_unforeseen)

    async def explain_unforeseen(self, request: CheddarRequest, failure: Failure) -> None:
        """Answer where something failed that nobody foresaw."""
        _log.failure("A request failed", failure=failure)
        if request.startedWriting:
            await request.cut()
        else:
            await self._delivery.deliver(request, self._problems.response(request, InternalError()))


def _project_of(parts: dict[str, object]) -> str | None:
    project = parts.get("project")
    return normalize(project) if isinstance(project, str) and is_project_name(project) else None
