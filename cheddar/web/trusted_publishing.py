"""
Trusted publishing over HTTP: the addresses that uv, twine and others ask on whichever host they publish to, and their
discovery (PEP 807, a draft).
"""

from __future__ import annotations

import json

from cheddar.errors import Invalid, NotFound, UntrustedPublisher
from cheddar.interfaces import ITrustedPublishing
from cheddar.model import Action
from cheddar.web.access import Routes
from cheddar.web.request import UPLOAD_PATHS, CheddarRequest
from cheddar.web.responses import Response

_FRESH = {"Cache-Control": "no-store"}
_PYTP = "application/vnd.pypi.pytp.v1+json"
AUDIENCE, MINT, BURN = "/_/oidc/audience", "/_/oidc/mint-token", "/_/oidc/burn-token"


def trusted_publishing_routes(routes: Routes, publishing: ITrustedPublishing | None, address: str) -> None:
    """
    Register the exchange of identity tokens for API tokens.

    @param publishing: None: the settings know no publisher, and clients are told so by a 404.
    @param address: this server's own, with a slash at its end.
    """

    def offered() -> ITrustedPublishing:
        if publishing is None:
            raise NotFound("Nobody is trusted to publish by an identity token here (tables [[publisher]]).")
        return publishing

    @routes.authorized_route(Action.IDENTIFY, "/.well-known/pytp", index="local")
    async def discover(request: CheddarRequest) -> Response:
        offered()
        if request.args.get(b"discover", [b""])[0] not in UPLOAD_PATHS:
            raise NotFound("Nothing is published at that path.")
        root = address.rstrip("/")
        said = {"audience-endpoint": root + AUDIENCE, "token-mint-endpoint": root + MINT}
        # An earlier draft's name of the same.
        return _json({**said, "mint-token-endpoint": root + MINT}, content_type=_PYTP)

    @routes.authorized_route(Action.IDENTIFY, AUDIENCE, index="local")
    async def audience(request: CheddarRequest) -> Response:
        return _json({"audience": offered().audience})

    @routes.authorized_route(Action.IDENTIFY, MINT, index="local", methods=("POST",))
    async def mint(request: CheddarRequest) -> Response:
        minting = offered()
        try:
            minted = await minting.mint(_token(request), request.client_address)
        except UntrustedPublisher as error:
            return _refusal(error)
        return _json({"success": True, "token": minted.text, "expires": int(minted.token.expires.timestamp())})

    @routes.authorized_route(Action.IDENTIFY, BURN, index="local", methods=("POST",))
    async def burn(request: CheddarRequest) -> Response:
        await offered().burn(_token(request))
        return _json({}, status=202)  # whatever became of it: nobody learns which tokens there are


def _token(request: CheddarRequest) -> str:
    try:
        document = json.loads(request.small_body())
    except (ValueError, RecursionError):
        document = None
    token = document.get("token") if isinstance(document, dict) else None
    if not isinstance(token, str):
        raise Invalid('The body is not of the form {"token": "..."}.')
    return token


def _refusal(error: UntrustedPublisher) -> Response:
    """As PEP 807 has it, and for people: uv prints all of it, twine each description."""
    said = {
        "message": "Token request failed",
        "errors": [{"code": error.code, "description": str(error)}],
        "title": "Token request failed",
        "status": 422,
        "detail": str(error),
    }
    return _json(said, status=422, reason=f"Token request failed: {error}", content_type="application/problem+json")


def _json(document: object, *, status: int = 200, reason: str = "", content_type: str = "application/json") -> Response:
    body = json.dumps(document).encode() + b"\n"
    return Response(status=status, reason=reason, body=body, content_type=content_type, headers=_FRESH)
