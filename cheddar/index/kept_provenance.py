"""
Provenance of upstream's files (PEP 740), kept beside where the files are.

Unlike core metadata it may change: more attestations may be added to a file that was published long ago. So it is asked
for again when it is old; what is here is served for as long as upstream has nothing better to say.
"""

from __future__ import annotations

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import CheddarError, Invalid, NotFound, TooLarge, UpstreamBroken, UpstreamUnavailable
from cheddar.formats import provenance
from cheddar.index.kept_metadata import keep
from cheddar.index.listings import storage_key
from cheddar.index.sidecars import provenance_key
from cheddar.index.upstreams import Upstreams
from cheddar.interfaces import IFileStorage
from cheddar.model import File

#: Seconds for which an object is served without asking upstream.
FRESH = 24 * 3600.0
#: Seconds after a failure in which what is here is served without asking again.
PAUSE = 300.0
#: Seconds that a client waits for a newer object than the one that is here.
PATIENCE = 3.0
#: How many objects' ages are remembered.
MAX_REMEMBERED = 10_000


class KeptProvenance:
    """Provenance that upstream has: checked for form, and kept once it was asked for. Nothing of it is verified."""

    log = Logger()

    def __init__(self, upstreams: Upstreams, storage: IFileStorage, clock: IReactorTime, wait: float) -> None:
        """
        @param upstreams: where there are none, what is kept is all there is.
        @param wait: seconds that a client waits for an object of which nothing is here.
        """
        self._upstreams = upstreams
        self._storage = storage
        self._clock = clock
        self._wait = wait
        self._flights: SingleFlight[bytes] = SingleFlight()
        # When to ask again. Not known after a restart, nor where another process asked: then it is asked for once.
        self._due: dict[str, float] = {}

    @returns_deferred
    async def get(self, project: str, file: File) -> bytes:
        """
        @param file: for which upstream offers it.
        @raise NotFound: upstream has it no more, and it is not here. [UpstreamUnavailable, UpstreamBroken]
        """
        key = provenance_key(storage_key(project, file))
        kept = await self._kept(key)
        due = self._due.get(key)
        # A clock that was set back makes it due.
        if kept is not None and due is not None and 0 < due - self._clock.seconds() <= FRESH:
            return kept
        fetching = self._flights.run(key, lambda: self._fetch(key, file))
        fetching.addTimeout(self._wait if kept is None else PATIENCE, self._clock)
        try:
            return await fetching
        except (CheddarError, TimeoutError) as error:
            if kept is not None:
                return kept
            if isinstance(error, CheddarError):
                raise
            raise UpstreamUnavailable(
                f"Upstream has not answered for the provenance of {file.filename} in {self._wait:g} s. Ask again."
            ) from error

    async def _kept(self, key: str) -> bytes | None:
        try:
            data: bytes = await self._storage.read(key, provenance.MAX_SIZE)
        except (NotFound, TooLarge):
            return None
        return data

    @returns_deferred
    async def _fetch(self, key: str, file: File) -> bytes:
        now = self._clock.seconds()
        if len(self._due) >= MAX_REMEMBERED:
            self._due.clear()
        self._due[key] = now + PAUSE
        try:
            data = await self._ask(file)
        except CheddarError as error:
            self.log.warn("The provenance of {filename}: {error}", filename=file.filename, error=error)
            raise
        await keep(self._storage, key, data)
        self._due[key] = now + FRESH
        return data

    async def _ask(self, file: File) -> bytes:
        if not self._upstreams or file.provenance is None:
            raise NotFound(f"There is no upstream to get the provenance of {file.filename} from.")
        try:
            data: bytes = await self._upstreams.of(file.upstream).fetch_bytes(file.provenance, provenance.MAX_SIZE)
            provenance.check(data)
        except TooLarge as error:
            raise UpstreamBroken(f"Upstream's provenance of {file.filename} is absurdly long.") from error
        except Invalid as error:
            raise UpstreamBroken(f"Upstream's provenance of {file.filename} {error}. Try again.") from error
        return data
