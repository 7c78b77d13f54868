"""
Cheddar with an upstream in which everything goes wrong at once, and many clients who compare every byte::

    python -m tests.faults.chaos --seconds 600 --seed 7

In the end upstream behaves, everything must work, and nothing may be left of the trouble.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.threadpool import ThreadPool

from cheddar.settings import Settings
from tests.faults.chaos_clients import Asker, Installers, Watchers
from tests.faults.chaos_upstream import ChaosUpstream
from tests.faults.conftest import Ending
from tests.support.clients import environment
from tests.support.server import CheddarHere

CLIENTS = 12
#: Seconds between two releases of upstream's, and between the beginnings of two rounds of installers.
RELEASES, ROUNDS = 1.5, 25.0
#: Seconds before the end of the trouble after which no installers begin.
LAST = 10.0
#: Seconds until everything must work once upstream behaves: a pause after failures lasts so long at most.
HEALING = 75.0
#: Bytes of a file that never ends: the clients keep them all.
MAX_DOWNLOAD = 8 * 1024**2


@define(eq=False)
class Chaos:
    """
    One run.

    @ivar _installing: whether pip and uv are among the clients.
    @ivar wrong: what was not as it should be, a line each; where there is none, all went well.
    """

    _reactor: Any
    _folder: Path
    _seed: int
    _seconds: float
    _installing: bool = True
    wrong: list[str] = field(factory=list)
    report: dict[str, Any] = field(factory=dict)

    async def run(self) -> None:
        """Trouble, calm, and the end."""
        for client in ("pip", "uv"):
            environment(client)
        upstream = ChaosUpstream(self._reactor, self._seed)
        await upstream.start()
        settings = Settings(
            data_dir=self._folder / "data",
            index_url=upstream.url,
            get_timeout=2,
            listing_wait=1,
            negative_ttl=1,
            versions_short_ttl=1,
            refresh_interval=1,
            max_download=MAX_DOWNLOAD,
        )
        cheddar = await CheddarHere(settings, self._reactor).start()
        globalLogPublisher.addObserver(self._observe)
        threads = ThreadPool(0, 6, "installers")
        threads.start()
        watchers = Watchers(upstream, cheddar.port, self._reactor, self.wrong)
        try:
            await self._trouble(watchers, threads)
            upstream.calm = True
            await self._calm(watchers, threads)
            ending = Ending(self._reactor, cheddar, [upstream])
            await ending.nothing_is_left(20)
            await ending.stop(20)
        except AssertionError as error:
            watchers.note(f"something is left: {error}")
        finally:
            globalLogPublisher.removeObserver(self._observe)
            await cheddar.stop()
            await upstream.stop()
            threads.stop()
        self.report = {
            "answers": dict(sorted(watchers.answers.items())),
            "upstream's requests": len(upstream.requests),
            "of them wrong": dict(sorted(upstream.wrong.items())),
            "files": len(upstream.truth),
        }

    async def _trouble(self, watchers: Watchers, threads: ThreadPool) -> None:
        end = self._reactor.seconds() + self._seconds
        installers = Installers(watchers, self._folder / "installers")

        async def ask(number: int) -> None:
            asker = Asker(watchers, Random(f"{self._seed} {number}"))
            while self._reactor.seconds() < end:
                await asker.ask_something()
                # Who begins at once again after an error asks for nothing but errors.
                await deferLater(self._reactor, 0.02)
            await asker.close()

        async def publish() -> None:
            while self._reactor.seconds() < end:
                watchers.upstream.publish()
                await deferLater(self._reactor, RELEASES)

        async def install() -> None:
            while self._installing and (begun := self._reactor.seconds()) < end - LAST:
                await gatherResults([self._in_thread(threads, run) for run in installers.runs()])
                await deferLater(self._reactor, max(0, min(end, begun + ROUNDS) - self._reactor.seconds()))

        work = [*map(ask, range(CLIENTS)), publish(), install()]
        await gatherResults(map(Deferred.fromCoroutine, work), consumeErrors=True)

    async def _calm(self, watchers: Watchers, threads: ThreadPool) -> None:
        """Everything works: every page has every file, every file is right, and pip and uv install."""
        asker = Asker(watchers, Random(self._seed), patient=True)
        begun = monotonic()
        for project, files in watchers.upstream.projects.items():
            expected = {file.filename for file in files}
            while set(await asker.page(project) or ()) != expected:
                if monotonic() - begun > HEALING:
                    watchers.note(f"the page of {project} does not heal")
                    break
                await deferLater(self._reactor, 0.2)
        for project, files in watchers.upstream.projects.items():
            for file in files:
                known = (file.filename, watchers.shown.get(project, {}).get(file.filename, "/"), file.content)
                metadata = (asker.metadata,) if file.filename.endswith(".whl") else ()
                for question in (asker.whole, asker.head, *metadata):
                    while not await question(*known):
                        if monotonic() - begun > HEALING:
                            watchers.note(f"{file.filename} does not heal ({question.__name__})")
                            break
                        await deferLater(self._reactor, 0.2)
        self.report["healed"] = monotonic() - begun
        for run in Installers(watchers, self._folder / "calm").runs() if self._installing else ():
            if not await self._in_thread(threads, run):
                watchers.note("an installer gives up though upstream behaves")
        await asker.close()

    def _in_thread(self, threads: ThreadPool, run: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, threads, run)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_level") == LogLevel.critical and "log_failure" in event:
            self.wrong.append(event["log_failure"].getTraceback())


def main() -> None:
    """Run, and exit with 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    arguments = parser.parse_args()

    async def run(reactor: Any) -> None:
        print(f"seed {arguments.seed}", flush=True)
        with TemporaryDirectory() as folder:
            chaos = Chaos(reactor, Path(folder), arguments.seed, arguments.seconds)
            await chaos.run()
        for name, value in chaos.report.items():
            print(f"{name}: {value}")
        for problem in chaos.wrong:
            print(f"WRONG: {problem}")
        print(f"{len(chaos.wrong)} things were wrong")
        if chaos.wrong:
            raise SystemExit(1)

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    sys.exit(main())
