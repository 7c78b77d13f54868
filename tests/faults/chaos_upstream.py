"""An upstream that goes wrong at random, but the same way for the same seed: what it has, and how it lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from twisted.web.server import Request

from tests.support.distributions import make_sdist, make_wheel
from tests.support.upstream import EvilUpstream
from tests.support.upstream_content import Served
from tests.support.upstream_faults import RIGHT, Fault

#: The part of all requests that is answered wrongly, while it misbehaves.
WRONG = 0.45
#: Seconds between the beginnings of times in which it is away altogether, and how long each lasts.
AWAY_EVERY, AWAY_FOR = 12.0, 1.5

Making = Callable[[Random, int], dict[str, Any]]


def _refused(random: Random, size: int) -> dict[str, Any]:
    status = random.choice((401, 403, 429, 500, 502, 503, 504))
    return {"status": status, "headers": {"Retry-After": "1"} if status in (429, 503) else {}}


#: How an answer of any kind goes wrong: given the size of the right body.
ANYTHING: Mapping[str, Making] = {
    "late": lambda random, size: {"delay": random.uniform(0.1, 3)},
    "hangs": lambda random, size: {"mute": "hang"},
    "is reset": lambda random, size: {"mute": "reset"},
    "is closed": lambda random, size: {"mute": "close"},
    "hangs in the middle": lambda random, size: {"hang_after": random.randrange(size)},
    "is reset in the middle": lambda random, size: {"reset_after": random.randrange(size)},
    "is closed in the middle": lambda random, size: {"close_after": random.randrange(size)},
    "is cut, and of no length": lambda random, size: {"framing": "close", "close_after": random.randrange(size)},
    "is shorter than told": lambda random, size: {"content_length": size + 9},
    "is refused": _refused,
    "leads in a circle": lambda random, size: {"redirect_to": "?again"},
    "leads to the inside": lambda random, size: {"redirect_to": "http://127.0.0.1:1/"},
    "leads to no server": lambda random, size: {"redirect_to": "file:///etc/passwd"},
    "has not changed": lambda random, size: {"status": 304},
    "never ends": lambda random, size: {"endless": True},
    "drips": lambda random, size: {"rate": max(2000.0, size / random.uniform(1, 5))},
    "comes in chunks": lambda random, size: {"framing": "chunked"},
    "is packed": lambda random, size: {"gzip": True},
    "is a bomb": lambda random, size: {"gzip_bomb": 300 << 20},
    "is something else": lambda random, size: {"body": random.choice((b"", b"<html>Log in</html>", b"{}", b"PK\3\4"))},
}
PAGES: Mapping[str, Making] = {
    **ANYTHING,
    # Far shorter: a page's size is not known here, and one that is as long as told is whole for all that anybody knows.
    "is shorter than told": lambda random, size: {"content_length": 10_000_000},
    "has its first bit flipped": lambda random, size: {"flip": 0},
    "says that it is a picture": lambda random, size: {"headers": {"Content-Type": "image/png"}},
    "is another project's": lambda random, size: {
        "body": b'{"meta": {"api-version": "1.0"}, "name": "other", "files": []}',
        "headers": {"Content-Type": "application/vnd.pypi.simple.v1+json"},
    },
    "is of a time to come": lambda random, size: {
        "body": b'{"meta": {"api-version": "2.0"}, "name": "other", "files": []}',
        "headers": {"Content-Type": "application/vnd.pypi.simple.v1+json"},
    },
}
FILES: Mapping[str, Making] = {
    **ANYTHING,
    "has a bit flipped": lambda random, size: {"flip": random.randrange(size)},
    "is a part of it": lambda random, size: {"status": 206, "body": bytes(size // 2)},
    "is as long, and another": lambda random, size: {"body": bytes(size)},
    "is longer than told": lambda random, size: {"content_length": size // 2},
}
#: What costs seconds each time.
RARE = frozenset({"is a bomb", "never ends"})


class ChaosUpstream(EvilUpstream):
    """
    See the module. What it has only grows; C{truth} says all that ever was right.

    @ivar calm: whether it behaves.
    @ivar believed: projects that Cheddar has shown: a "not found" of these is no news to be believed at once.
    @ivar wrong: how often an answer went wrong, by how.
    """

    def __init__(self, reactor: Any, seed: int) -> None:
        super().__init__(reactor)
        self.seed = seed
        self.calm = False
        self.believed: set[str] = set()
        self.wrong: Counter[str] = Counter()
        self._begun = reactor.seconds()
        self._turns: Counter[str] = Counter()
        self._random = Random(seed)
        self._stock()

    @property
    def truth(self) -> dict[str, Served]:
        """Every file, by its name."""
        return {file.filename: file for files in self.projects.values() for file in files}

    def publish(self) -> None:
        """A project has another release."""
        project = self._random.choice(sorted(self.projects.keys() - {"app", "lib"}))
        self.add_file(
            project, *make_wheel(project, f"2.{len(self.projects[project])}", size=self._random.choice(SIZES))
        )

    def _stock(self) -> None:
        for number, size in enumerate(SIZES):
            name = f"plain-{number}"
            self.add_file(name, *make_wheel(name, "1.0", size=size))
            self.add_file(name, *make_sdist(name, "1.0", size=size))
            # Its core metadata is made by Cheddar, out of parts of it.
            self.add_file(f"bare-{number}", *make_wheel(f"bare-{number}", "1.0", size=size), core_metadata=None)
            # Lengths are unknown beforehand.
            self.add_file(f"html-{number}", *make_wheel(f"html-{number}", "1.0", size=size))
        self.add_file("lib", *make_wheel("lib", "1.0", requires=["plain-1"], size=100_000))
        self.add_file("app", *make_wheel("app", "1.0", requires=["lib", "bare-1", "html-1"]))

    def _begin(self, request: Request) -> None:
        path = request.path.decode("latin-1")
        self.json = not path.startswith("/simple/html-")
        self.ranges = self.calm or self._random.random() < 0.95
        super()._begin(request)

    def _take_fault(self, path: str) -> Fault:
        if self.calm:
            return RIGHT
        if (self.reactor.seconds() - self._begun) % AWAY_EVERY > AWAY_EVERY - AWAY_FOR:
            self.wrong["is away"] += 1
            return Fault(mute="reset")
        # The same for the same question, whatever else is asked meanwhile.
        self._turns[path] += 1
        random = Random(f"{self.seed} {path} {self._turns[path]}")
        if random.random() > WRONG:
            return RIGHT
        kind, _, name = path.strip("/").partition("/")
        faults = dict(PAGES if kind == "simple" else FILES)
        if kind == "simple" and name in self.believed:
            faults["is not found"] = lambda random, size: {"status": 404}
        chosen = random.choice(sorted(faults))
        if chosen in RARE and random.random() < 0.9:
            chosen = "is reset in the middle"
        self.wrong[f"{'page' if kind == 'simple' else 'file'} {chosen}"] += 1
        file = self.truth.get(name.removesuffix(".metadata"))
        size = 400 if file is None or name.endswith(".metadata") else file.size
        return Fault(**faults[chosen](random, size))


#: Bytes of padding: what fits into the end that is held back until it is verified, and what does not.
SIZES = (0, 14_000, 150_000, 1_200_000)
