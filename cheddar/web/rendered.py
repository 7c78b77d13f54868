"""Pages that were rendered, for as long as there is nothing else to render."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field, frozen

from cheddar.formats.negotiation import Choice
from cheddar.model import Project
from cheddar.web.responses import Compressed

#: Bytes of bodies that are kept.
MOST = 32 * 1024 * 1024
#: Projects of up to so many files are compared file by file: a millisecond's work.
_COMPARED = 300


@define(eq=False)
class Rendered:
    """
    One page in one format.

    @ivar project: what was rendered.
    @ivar body: the page.
    @ivar etag: its entity tag.
    @ivar compressed: the page in gzip, once somebody has asked for that.
    """

    project: Project
    body: bytes
    etag: str
    compressed: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.body) + len(self.compressed or b"")


@define(eq=False)
class RenderedPages:
    """Keeps what was asked for last, up to a number of bytes."""

    _most: int = MOST
    _pages: OrderedDict[tuple[str, str, Choice], Rendered] = field(factory=OrderedDict, init=False)
    _size: int = field(default=0, init=False)

    def find(self, root: str, choice: Choice, project: Project) -> Rendered | None:
        """
        The page, if the project is still what it was.

        @param root: the way from the page to the root of the server: links depend on it.
        """
        key = (root, project.name, choice)
        page = self._pages.get(key)
        if page is None:
            return None
        if not _same(page.project, project):
            self._drop(key)
            return None
        self._pages.move_to_end(key)
        return page

    def keep(self, root: str, choice: Choice, page: Rendered) -> None:
        """Remember a page."""
        key = (root, page.project.name, choice)
        self._drop(key)
        self._pages[key] = page
        self._size += page.size
        self._shrink()

    def compressed(self, root: str, choice: Choice, page: Rendered) -> Compressed:
        """Where the page is kept in gzip, as long as the page itself is kept."""
        return _Compressed(self, (root, page.project.name, choice), page)

    def _keep_compressed(self, key: tuple[str, str, Choice], page: Rendered, compressed: bytes) -> None:
        if self._pages.get(key) is page and page.compressed is None:
            page.compressed = compressed
            self._size += len(compressed)
            self._shrink()

    def _shrink(self) -> None:
        while self._size > self._most:
            self._drop(next(iter(self._pages)))

    def _drop(self, key: tuple[str, str, Choice]) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self._size -= page.size


@frozen
class _Compressed:
    """See L{Compressed}."""

    _pages: RenderedPages
    _key: tuple[str, str, Choice]
    _page: Rendered

    def get(self) -> bytes | None:
        return self._page.compressed

    def put(self, body: bytes) -> None:
        self._pages._keep_compressed(self._key, self._page, body)


def _same(one: Project, other: Project) -> bool:
    if one.files is not other.files and len(other.files) > _COMPARED:
        return False  # to compare them would take longer than a request may hold up the others
    return _shown(one) == _shown(other) and one.files == other.files


def _shown(project: Project) -> tuple[object, ...]:
    """What a page shows besides files."""
    return project.versions, project.display_name, project.status, project.status_reason, project.index
