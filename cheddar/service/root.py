"""The composition root: settings and a reactor become a service. With C{indexes} beside it, it knows every room."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cheddar.auth.attempts import Attempts
from cheddar.auth.checkers import Checkers, named
from cheddar.auth.logins import LimitedLogins
from cheddar.auth.passwords import PasswordAuthenticator
from cheddar.auth.tokens import TokenAuthenticator
from cheddar.clock_steps import ClockSteps
from cheddar.deferreds import returns_deferred
from cheddar.errors import CheddarError
from cheddar.formats.upload_form import FormLimits
from cheddar.index.refresh import RefreshService
from cheddar.index.seen import Views
from cheddar.interfaces import IAuditLog, IStore
from cheddar.service.announcements import Watchdog, announce, tell_systemd
from cheddar.service.doors import Doors
from cheddar.service.indexes import open_indexes, start_pool
from cheddar.service.lag import LagProbe
from cheddar.service.place import READY, Place
from cheddar.settings import Settings
from cheddar.storage.audit import AuditFile, AuditTrail
from cheddar.store.sqlite import SQLiteStore
from cheddar.web.access_log import AccessLog, JSONLines, NoLog, TextLines
from cheddar.web.channel import Limits
from cheddar.web.clients import TrustedProxies
from cheddar.web.handing_over import HandOver
from cheddar.web.site import Behind, make_site


def open_store(settings: Settings, reactor: Any) -> IStore:
    """The metadata store that the settings name; not started yet. [SettingsError]"""
    if settings.redis:
        # Here, since its driver and connections are a good part of the start of those who don't use it.
        from cheddar.store.redis import RedisStore

        return RedisStore(settings.redis, settings.history_size, reactor, settings.audit_kept)
    return SQLiteStore(
        settings.data_dir / "cheddar.sqlite", settings.history_size, reactor, reactor, settings.audit_kept
    )


def open_audit(settings: Settings, store: IStore, reactor: Any, pool: ThreadPool) -> IAuditLog:
    """
    The audit log that the settings name.

    @param pool: writes the file.
    """
    return AuditTrail(AuditFile(settings.audit_file, reactor, pool), store.events)


def make_service(settings: Settings, reactor: Any, place: Place | None = None) -> Cheddar:
    """
    The whole of Cheddar, not started yet. [SettingsError]

    @param place: where this process stands among several; None: it is the only one.
    """
    return Cheddar(settings, reactor, open_store(settings, reactor), named(settings.auth), place)


def make_lasting_service(settings: Settings, reactor: Any, place: Place | None = None) -> Cheddar:
    """The same, for a process that does nothing else: once it is started, it no longer looks for garbage in itself."""
    service = make_service(settings, reactor, place)
    reactor.callWhenRunning(_settle, service)
    return service


@returns_deferred
async def _settle(service: Cheddar) -> None:
    if not service.running:
        return
    await service.started()
    # What was loaded stays for good: to go through all of it again and again would stop the reactor for some 50 ms each
    # time.
    gc.collect()
    gc.freeze()


@define(eq=False)
class Cheddar(Service):
    """
    Stores, storage, upstream, refresh, listener: started in this order, each waited for, and stopped in reverse.

    A plain MultiService waits for nobody: it would listen before the store is open.
    """

    _settings: Settings
    _reactor: Any
    store: IStore
    _checkers: tuple[ICredentialsChecker, ...] = ()
    _place: Place | None = None
    name: str = "cheddar"
    _stops: list[Callable[[], Deferred[Any]]] = field(factory=list, init=False)
    _starting: Deferred[None] | None = field(default=None, init=False)
    ports: list[IListeningPort] = field(factory=list, init=False)

    _log = Logger()

    def startService(self) -> None:
        """Begin to start; what goes wrong ends the process with one line that says what."""
        super().startService()
        self._starting = self._start()
        self._starting.addErrback(self._not_started)

    @returns_deferred
    async def started(self) -> None:
        """Fires when everything listens."""
        if self._starting is not None:
            await self._starting

    def _not_started(self, failure: Any) -> None:
        if failure.check(CheddarError, OSError) is None:
            self._log.failure("This was not foreseen", failure=failure)
        self._log.error("Cheddar could not start: {reason}", reason=failure.getErrorMessage())
        # twistd ends with 0 whenever the reactor was stopped in good order.
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    @returns_deferred
    async def _start(self) -> None:
        settings, reactor = self._settings, self._reactor
        steps = ClockSteps(reactor)
        self._stops.append(lambda: maybeDeferred(steps.stop))
        steps.start()
        work = self._pool("work", 4)
        files = self._pool("files", 4)
        await self.store.start()
        self._stops.append(self.store.stop)
        audit = open_audit(settings, self.store, reactor, files)
        indexes = await open_indexes(settings, self.store, audit, reactor, work=work, files=files, stops=self._stops)
        local, remote, upstreams = indexes.local, indexes.remote, indexes.upstreams
        if upstreams and not settings.offline:
            holder = f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}"
            refresh = RefreshService(remote, self.store.leases, reactor, settings.refresh_interval, holder)
            refresh.startService()
            self._stops.append(lambda: maybeDeferred(refresh.stopService))
        trusted = TrustedProxies.named(settings.trusted_proxies)
        publishing = None
        if settings.publisher:
            # Here for the same reason as Redis: it reads tokens and keys of kinds that nothing else has to do with.
            from cheddar.service.publishing import trusted_publishing

            publishing = trusted_publishing(settings, self.store, audit, reactor, work, self._stops)
        site = make_site(
            Behind(
                local=local,
                remote=remote,
                view=Views(local, remote, indexes.reservations),
                logins=self._logins(),
                permissions=indexes.permissions,
                store=self.store,
                storage=indexes.local_storage,
                cache=indexes.remote_storage,
                audit=audit,
                upstreams=upstreams,
                publishing=publishing,
                address=settings.address,
                forms=FormLimits(
                    file=settings.max_upload,
                    parts=settings.form_parts,
                    field=settings.form_field_size,
                    fields=settings.form_fields_size,
                ),
                limits=Limits(
                    head_bytes=settings.header_size,
                    headers=settings.header_count,
                    header_seconds=settings.header_timeout,
                    body_rate=settings.body_rate,
                    stall_seconds=settings.stall_timeout,
                    connections=settings.max_connections,
                    per_address=settings.max_connections_per_address,
                    trusted=trusted,
                ),
                access_log=self._access_log(trusted),
                hand_over=self._hand_over(trusted),
            ),
            reactor,
            reactor,
            work,
        )
        doors = Doors(settings, reactor)
        self._stops.append(doors.close)
        place = self._place
        await doors.open(site, place.entrance(reactor) if place is not None else reactor)
        self.ports = doors.ports
        lag = LagProbe(reactor)
        self._stops.append(lag.stop)
        lag.start()
        if place is None:
            announce(settings, self.store.description)
        else:
            if place.announces:
                announce(settings, self.store.description)
            place.tell(READY)
        watchdog = Watchdog(reactor, work, *(tell_systemd() if place is None else place.pulse()))
        self._stops.append(watchdog.stop)
        watchdog.start()

    def _access_log(self, trusted: TrustedProxies) -> AccessLog:
        settings, reactor = self._settings, self._reactor
        if settings.access_log == "off":
            return NoLog()
        lines: TextLines | JSONLines = TextLines(reactor, trusted)
        if settings.access_log == "json":
            lines = JSONLines(settings.requests_file, reactor, reactor, self._pool("log", 1), trusted)
        self._stops.append(lines.stop)
        lines.start()
        return lines

    def _hand_over(self, trusted: TrustedProxies) -> HandOver | None:
        settings = self._settings
        if settings.x_accel_redirect:
            folders = (("local", settings.local_dir), ("remote", settings.remote_dir))
            return HandOver.by_x_accel_redirect(trusted, settings.x_accel_redirect, folders)
        return HandOver.by_x_sendfile(trusted) if settings.x_sendfile else None

    def _logins(self) -> LimitedLogins:
        settings, reactor = self._settings, self._reactor
        others = Checkers(self._checkers, reactor, self._pool("checkers", 2)) if self._checkers else None
        hashing = self._pool("passwords", 2)
        passwords = PasswordAuthenticator(
            self.store.accounts, reactor, reactor, hashing, settings.plaintext_passwords, others
        )
        return LimitedLogins(
            TokenAuthenticator(self.store.tokens, reactor, passwords),
            Attempts(
                reactor,
                settings.failed_logins,
                settings.failed_logins_per_address,
                settings.failed_logins_seconds,
            ),
        )

    def _pool(self, name: str, threads: int) -> ThreadPool:
        return start_pool(name, threads, self._stops)

    @returns_deferred
    async def stopService(self) -> None:
        """Stop what was started, in reverse, each waited for."""
        super().stopService()
        if self._starting is not None:
            await self._starting
        while self._stops:
            try:
                await self._stops.pop()()
            except Exception:  # noqa: BLE001  # the others are stopped all the same
                self._log.failure("A part did not stop in good order")
