"""What Cheddar is to reach: ratios to others in the same run, and a few figures of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from benchmarks import files, growth, pages, resolving, uploads
from benchmarks.results import Results, Spread

BARE = "bare Twisted"
CHEDDAR, WORKERS = "cheddar", "cheddar, 2 workers"
STATIC, CACHE, DEVPI, PYPISERVER, PROXPI = "nginx static", "nginx cache", "devpi-server", "pypiserver", "proxpi"


@frozen
class Goal:
    """
    Something to reach.

    @ivar text: what. @ivar bound: the number. @ivar most: whether it is an upper bound.
    @ivar measure: finds in results what was reached; None: that was not measured.
    @ivar unit: of the number; C{x}: a ratio.
    """

    text: str
    bound: float
    most: bool
    measure: Callable[[Results], Spread | None]
    unit: str = "x"


@frozen
class Outcome:
    """What became of a goal. @ivar reached: None: it was not measured."""

    goal: Goal
    found: Spread | None

    @property
    def reached(self) -> bool | None:
        """By the median of the rounds."""
        if self.found is None:
            return None
        return self.found.middle <= self.goal.bound if self.goal.most else self.found.middle >= self.goal.bound

    @property
    def verdict(self) -> str:
        """In words."""
        return {None: "not measured", True: "reached", False: "not reached"}[self.reached]


def _least(text: str, bound: float, metric: str, case: str, other: str, own: str = CHEDDAR) -> Goal:
    return Goal(text, bound, False, lambda results: results.ratio(metric, (case, own), (case, other)))


def _most(text: str, bound: float, metric: str, case: str, other: str, own: str = CHEDDAR) -> Goal:
    return Goal(text, bound, True, lambda results: results.ratio(metric, (case, own), (case, other)))


def _below(text: str, bound: float, metric: str, case: str, unit: str) -> Goal:
    return Goal(text, bound, True, lambda results: results.spread(case, CHEDDAR, metric), unit)


def _pages() -> Iterator[Goal]:
    for bound, other in ((0.35, STATIC), (50, DEVPI), (20, PROXPI)):
        yield _least(f"median page, c16: answers a second, of {other}'s", bound, "rate", pages.MEDIAN_JSON, other)
    yield _least(f"304, c16: answers a second, of {STATIC}'s", 0.35, "rate", pages.NOT_MODIFIED, STATIC)
    yield _least(f"huge page, gzip, c16: answers a second, of {STATIC}'s", 0.5, "rate", pages.HUGE_GZIP, STATIC)


def _files() -> Iterator[Goal]:
    for title, case in (("200 MB, warm", files.WARM_200), ("5 MB, c16", files.WARM_5)):
        yield _least(f"{title}: MB a second, of {STATIC}'s", 0.85, "bandwidth", case, STATIC)
        yield _most(f"{title}: CPU for each GB, of {STATIC}'s", 2, "cpu_per_gb", case, STATIC)
    far = [(f"5 MB, upstream {latency * 1000:.0f} ms away", resolving.far_file(latency)) for latency in resolving.AWAY]
    for size, case in (("5 MB", files.COLD_5), ("200 MB", files.COLD_200), *far):
        yield _most(f"cold file of {size}: first byte, of {CACHE}'s", 1.5, "first", case, CACHE)
    yield _most(f"slowest of 20 on a cold 50 MB, of {CACHE}'s", 1.2, "slowest", files.HERD_FILE, CACHE)
    yield _least(f"upload of 200 MB: MB a second, of {PYPISERVER}'s", 3, "bandwidth", uploads.LARGE, PYPISERVER)
    yield _most(f"small uploads: time for each, of {PYPISERVER}'s", 1, "each", uploads.SMALL, PYPISERVER)


def _resolving() -> Iterator[Goal]:
    for kind in resolving.KINDS:
        case = kind.case(resolving.UV)
        yield _most(f"{case}: time, of {CACHE}'s", 1.1, "seconds", case, CACHE)
        if kind.latency or not kind.metadata:
            yield _most(f"{case}: time, of a direct client's", 1, "seconds", case, resolving.Direct.name)


def _processes() -> Iterator[Goal]:
    def workers(metric: str, case: str) -> Callable[[Results], Spread | None]:
        return lambda results: results.ratio(metric, (case, WORKERS), (case, CHEDDAR))

    # On two processors the load takes one where a page comes from memory, and none where a user logs in for it.
    for text, case in (("page for who logs in", pages.FOR_A_USER), ("page from memory", pages.MEDIAN_JSON)):
        yield Goal(f"two workers, {text}: CPU for each request, of one process's", 1.1, True, workers("cpu", case))
        yield Goal(f"two workers, {text}: answers a second, of one process's", 1, False, workers("rate", case))
    full = growth.START_FULL
    yield Goal(
        "start to the first answer with 100,000 files",
        *(2, True, lambda results: results.spread(full, growth.ALONE, "seconds"), "s"),
    )
    yield Goal(
        "idle memory with 100,000 files",
        *(100, True, lambda results: results.spread(full, growth.ALONE, "memory"), "MiB"),
    )
    yield _below("idle memory", 100, "memory", growth.START, "MiB")


def _growth() -> Iterator[Goal]:
    for part in (growth.PAGE, growth.UNCHANGED, growth.FILE):
        yield Goal(f"growth, {part}: CPU of the largest store's, of the smallest's", 1.2, True, _flat(part, "cpu"))


def _flat(part: str, metric: str) -> Callable[[Results], Spread | None]:
    def measure(results: Results) -> Spread | None:
        sizes = [size for size in growth.SIZES if growth.case(part, *size) in results.cases]
        if len(sizes) < 2:
            return None
        largest, smallest = (growth.case(part, *size) for size in (sizes[-1], sizes[0]))
        return results.ratio(metric, (largest, growth.ALONE), (smallest, growth.ALONE))

    return measure


GOALS = (*_pages(), *_files(), *_resolving(), *_processes(), *_growth())


def outcomes(results: Results) -> list[Outcome]:
    """What became of each."""
    return [Outcome(goal, goal.measure(results)) for goal in GOALS]
