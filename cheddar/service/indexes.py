"""The indexes and all that is behind them, put together by the settings: for the server, and for commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cheddar.auth.known_rights import KnownRights
from cheddar.auth.permissions import Permissions, Rules
from cheddar.errors import NoRoom
from cheddar.index.downloads import Downloads
from cheddar.index.local import LocalIndex
from cheddar.index.made_metadata import NEWEST, MadeMetadata
from cheddar.index.remembered import Remembered, weight_of
from cheddar.index.remote import MAX_FILES_KEPT, RemoteIndex
from cheddar.index.reservations import Reservations
from cheddar.index.store_memory import StoreMemory
from cheddar.index.upstreams import Source, Upstreams
from cheddar.index.withdrawals import WithdrawalPolicy
from cheddar.interfaces import IAuditLog, IStore
from cheddar.settings import Settings
from cheddar.storage.cache_folder import CacheFolder
from cheddar.storage.filesystem import FilesystemStorage
from cheddar.storage.housekeeping import Housekeeping
from cheddar.storage.last_use import LastUse
from cheddar.upstream import configured

_log = Logger()


@frozen
class Indexes:
    """The parts that others need."""

    local: LocalIndex
    remote: RemoteIndex
    upstreams: Upstreams
    local_storage: FilesystemStorage
    remote_storage: FilesystemStorage
    permissions: Permissions
    reservations: Reservations


def start_pool(name: str, threads: int, stops: list[Callable[[], Deferred[Any]]]) -> ThreadPool:
    """
    A pool of threads that runs.

    @param stops: takes what stops it.
    """
    pool = ThreadPool(0, threads, name=f"cheddar-{name}")
    pool.start()
    stops.append(partial(maybeDeferred, pool.stop))
    return pool


async def open_indexes(
    settings: Settings,
    store: IStore,
    audit: IAuditLog,
    reactor: Any,
    *,
    work: ThreadPool,
    files: ThreadPool,
    stops: list[Callable[[], Deferred[Any]]],
    newest: int = NEWEST,
) -> Indexes:
    """
    Start storages, upstreams and what downloads from them.

    @param store: started.
    @param audit: where it is noted what upstream takes back.
    @param work: where pages and archives are read.
    @param files: where the disk is waited for.
    @param stops: takes what is to be called in the end, last first, each waited for; also of what was started before
        something failed.
    @param newest: of how many releases of a listing core metadata is made before anybody asks.
    @raise NoRoom: local storage cannot be written. [SettingsError]
    """
    local_storage = FilesystemStorage(settings.local_dir, reactor, files)
    housekeeping = _housekeeping(settings, reactor, start_pool("cache", 1, stops))
    last_use = LastUse(reactor, housekeeping.came)
    remote_storage = FilesystemStorage(settings.remote_dir, reactor, files, uses=last_use)
    await local_storage.start()
    stops.append(local_storage.stop)
    try:
        await remote_storage.start()
    except NoRoom as error:
        # A disk that is full now may have room later; until then upstream's files are passed on.
        _log.error("Files from upstream are not kept: {error}", error=error)
    stops.append(remote_storage.stop)
    stops.append(housekeeping.stop)
    housekeeping.start()
    sources = []
    for of_one in settings.upstreams:
        upstream = configured(of_one, os.environ, reactor=reactor, pool=work, max_file=settings.max_download)
        stops.append(upstream.stop)
        sources.append(Source(of_one.name, upstream, of_one.may_be_asked_for, of_one.merge))
    upstreams = Upstreams(sources, settings.offline)
    downloads = Downloads(remote_storage, upstreams, reactor, reactor, audit)
    stops.append(downloads.stop)
    made = None
    if upstreams:
        # Offline too: what was made is here, and more can be made of the wheels that are.
        made = MadeMetadata(upstreams, remote_storage, reactor, work, reactor, newest)
        stops.append(made.stop)
    memory = StoreMemory(store.projects, local_storage, reactor, store.changes)
    rights = KnownRights(store.rights, reactor, store.changes)
    for told in (memory.changed, rights.changed):
        store.changes.watch(told)
    permissions = Permissions(
        rights,
        store.accounts.grants,
        store.projects.owned_names,
        Rules(
            login_to_read=settings.read_auth,
            private_projects=settings.private_projects,
            creators=settings.create_projects,
        ),
    )
    reservations = Reservations(settings.reserved_names, permissions.creatable)
    local = LocalIndex(
        store.projects,
        memory,
        local_storage,
        reactor,
        reactor,
        work,
        permissions,
        allow_reuse=settings.filename_reuse == "allow",
        reservations=reservations,
        strict_names=settings.strict_names,
        remembered=Remembered(reactor, store.changes, weight_of, MAX_FILES_KEPT),
    )
    remote = RemoteIndex(
        upstreams,
        store.pages,
        downloads,
        remote_storage,
        reactor,
        store.changes,
        short_ttl=settings.versions_short_ttl,
        long_ttl=settings.versions_long_ttl,
        negative_ttl=settings.negative_ttl,
        wait=settings.listing_wait,
        owns=local.owns,
        owned_names=local.owned_names,
        concurrency=settings.refresh_concurrency,
        made=made,
        reservations=reservations,
        policy=WithdrawalPolicy(settings.on_removed, settings.on_changed),
        audit=audit,
    )
    return Indexes(local, remote, upstreams, local_storage, remote_storage, permissions, reservations)


def _housekeeping(settings: Settings, reactor: Any, pool: ThreadPool) -> Housekeeping:
    folder = CacheFolder(settings.remote_dir)
    # What nobody could fetch again is not evicted.
    limit = settings.remote_cache_size if settings.upstreams and not settings.offline else 0
    if limit:
        folder.check_apart(settings.local_dir)
    return Housekeeping(folder, limit, reactor, pool)
