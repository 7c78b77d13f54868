"""
The way from a path to its route, for routes whose rules are made of words and plain C{<names>} alone: some look-ups,
where the router's patterns cost as much as all the rest of a request. What is not found here is the router's to find.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from cheddar.deferreds import returns_deferred
from cheddar.web.request import CheddarRequest

Handle = Callable[..., Awaitable[None]]


@define(eq=False)
class _Place:
    """What may follow on the segments before: a word, anything, or the end."""

    words: dict[str, _Place] = field(factory=dict)
    anything: _Place | None = None
    ends: dict[bytes, tuple[Handle, tuple[str, ...]]] = field(factory=dict)


@define(eq=False)
class Shapes:
    """The rules that are simple enough."""

    _root: _Place = field(factory=_Place, init=False)

    def add(self, rule: str, methods: tuple[str, ...], handle: Handle) -> None:
        """Register a rule, if it is simple enough."""
        names: list[str] = []
        place = self._root
        segments = rule.strip("/").split("/")
        if any("<" in segment and (not segment.startswith("<") or ":" in segment) for segment in segments):
            return
        for segment in segments:
            if segment.startswith("<"):
                names.append(segment[1:-1])
                place.anything = place = place.anything or _Place()
            else:
                place = place.words.setdefault(segment, _Place())
        for method in methods:
            place.ends[method.encode()] = (handle, tuple(names))

    def find(self, method: bytes, segments: list[bytes]) -> tuple[Handle, dict[str, str]] | None:
        """
        The route, and the parts of the path that its rule names; None where the router is to be asked.

        @param segments: of the path, as bytes with nothing quoted.
        """
        if segments and not segments[-1]:
            segments = segments[:-1]  # each rule is for paths with and without a slash at the end
        try:
            words = [segment.decode("utf-8") for segment in segments]
        except UnicodeDecodeError:
            return None
        if not all(words) or any("/" in word for word in words):
            return None
        return _follow(self._root, method, words, 0, ())


def _follow(
    place: _Place, method: bytes, words: list[str], at: int, named: tuple[str, ...]
) -> tuple[Handle, dict[str, str]] | None:
    # A word goes before a name, as in the router.
    if at == len(words):
        end = place.ends.get(method)
        return None if end is None else (end[0], dict(zip(end[1], named, strict=True)))
    word = words[at]
    after = place.words.get(word)
    found = None if after is None else _follow(after, method, words, at + 1, named)
    if found is None and place.anything is not None:
        found = _follow(place.anything, method, words, at + 1, (*named, word))
    return found


class DirectResource(Resource):
    """All of the HTTP surface: asks L{Shapes} first, and the router where that does not know."""

    isLeaf = True

    _log = Logger()

    def __init__(
        self, shapes: Shapes, router: IResource, unforeseen: Callable[[CheddarRequest, Failure], Awaitable[None]]
    ) -> None:
        """
        @param unforeseen: answers where a route has failed.
        """
        super().__init__()
        self._shapes = shapes
        self._router = router
        self._unforeseen = unforeseen

    def render(self, request: Any) -> Any:
        """See L{IResource}."""
        found = self._shapes.find(request.method, request.postpath)
        if found is None:
            return self._router.render(request)
        handle, parts = found
        answering = self._answer(request, handle, parts)
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(lambda failure: self._log.failure("An answer could not be ended", failure=failure))
        return NOT_DONE_YET

    @returns_deferred
    async def _answer(self, request: CheddarRequest, handle: Handle, parts: dict[str, str]) -> None:
        try:
            await handle(request, **parts)
        except Exception:  # noqa: BLE001  # a wait given up in the route, say: its client still gets a 500
            await self._unforeseen(request, Failure())
        request.finish()
