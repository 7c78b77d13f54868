"""Trusted publishing: who shows an identity token of the moment gets an API token for one project, for some minutes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from secrets import token_hex
from typing import Any

from attrs import define, evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.auth.identity_tokens import LEEWAY, LONGEST, IdentityTokens
from cheddar.auth.publishers import Publisher
from cheddar.auth.tokens import new_token
from cheddar.deferreds import returns_deferred
from cheddar.errors import NoRoom, StoreUnavailable, UntrustedPublisher
from cheddar.formats.tokens import parse_token
from cheddar.interfaces import IAuditLog, ILeases, ITokenStore, ITrustedPublishing
from cheddar.model import REFUSED, Action, Event, Minted, Scope

#: For how long what is given is good.
LIFETIME = timedelta(minutes=15)
#: Seconds for which a used token is remembered beyond the time when it could be shown again.
MARGIN = 60


@implementer(ITrustedPublishing)
@define(eq=False)
class TrustedPublishing:
    """
    @ivar _tokens: verifies what is shown. @ivar _publishers: whom it may show.
    @ivar _leases: remembers, on all nodes, which tokens were used. @ivar _store: takes what is given.
    @ivar _audit: notes what is given, and to whom, before it is.
    """

    _tokens: IdentityTokens
    _publishers: Sequence[Publisher]
    _leases: ILeases
    _store: ITokenStore
    _audit: IAuditLog
    _clock: IReactorTime

    _log = Logger()

    @property
    def audience(self) -> str:
        """See L{ITrustedPublishing}."""
        return self._tokens.audience

    @returns_deferred
    async def mint(self, text: str, address: str) -> Minted:
        """See L{ITrustedPublishing.mint}."""
        claims = await self._tokens.verified(text)
        shown = Event(
            action="token.mint", at=self._now(), address=address, detail=f"{claims['iss']} {claims.get('sub', '')}"
        )
        try:
            publisher = self._publisher(claims)
            # After everything else: a token that was refused for the settings' sake can be shown again once they are
            # right.
            await self._use(claims)
        except UntrustedPublisher as error:
            # Only of tokens that an issuer has signed: anybody could fill the log with others.
            await self._note_refusal(evolve(shown, outcome=REFUSED, detail=f"{shown.detail}: {error}"))
            raise
        scope = Scope(frozenset({Action.UPLOAD}), (publisher.project,), ("local",))
        token, secret = new_token(publisher.name, scope, "trusted publishing", self._now(), LIFETIME)
        await self._audit.record([evolve(shown, who=publisher.name, via=token.id, project=publisher.project)])
        await self._store.add_token(token)
        return Minted(secret, token)

    @returns_deferred
    async def burn(self, text: str) -> None:
        """See L{ITrustedPublishing.burn}."""
        try:
            token_id, secret = parse_token(text)
        except ValueError:
            return
        token = await self._store.token(token_id)
        if token is not None and not token.of_user and token.digest == sha256(secret.encode("ascii")).hexdigest():
            await self._store.revoke_token(token_id)

    async def _note_refusal(self, event: Event) -> None:
        try:
            await self._audit.record([event], durable=False)
        except (NoRoom, StoreUnavailable) as error:
            self._log.error("The audit log lacks a refusal ({detail}): {error}", detail=event.detail, error=str(error))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), timezone.utc)

    def _publisher(self, claims: Mapping[str, Any]) -> Publisher:
        fitting, nearest = [], None
        for publisher in self._publishers:
            if publisher.issuer != claims["iss"]:
                continue
            missing = publisher.missing(claims)
            if not missing:
                fitting.append(publisher)
            elif nearest is None or len(missing) < len(nearest):
                nearest = missing
        if len({publisher.project for publisher in fitting}) > 1:
            names = ", ".join(sorted({publisher.project for publisher in fitting}))
            raise UntrustedPublisher(
                "invalid-publisher",
                f"This token is that of a publisher of several projects ({names}), and a token is for one: give each "
                "its own environment or workflow in the settings.",
            )
        if not fitting:
            raise UntrustedPublisher(
                "invalid-publisher",
                f"The token is valid, but no publisher in the settings is its own; the nearest fails since "
                f"{' and '.join(nearest or ())}.",
            )
        return fitting[0]

    async def _use(self, claims: Mapping[str, Any]) -> None:
        """A token is used once: the time for which this is remembered is that for which it could be shown again."""
        # Not every issuer names its tokens (Google does not).
        named = [claims["iss"], claims["jti"]] if isinstance(claims.get("jti"), str) else [dict(claims)]
        name = sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
        seconds = min(LONGEST, max(0.0, claims["exp"] - self._clock.seconds())) + LEEWAY + MARGIN
        if not await self._leases.claim(f"identity-token.{name}", token_hex(16), seconds):
            raise UntrustedPublisher("invalid-reuse-token", "This token was used already: each is good for one use.")
