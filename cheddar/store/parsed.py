"""Listings that were read from a store, as values, for as long as the store's text of them stays the same."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import AnyStr, Generic

from cheddar.formats.records import load_page
from cheddar.model import CachedPage

#: Characters of text that are remembered, all together and of one listing: some 25,000 files.
MOST = 8 * 1024 * 1024
MOST_OF_ONE = MOST // 2


class ParsedListings(Generic[AnyStr]):
    """
    To read a listing of thousands of files costs tens of milliseconds of a thread; to see that its text is what it was,
    none. And a listing that is the very same object need not be rendered again.

    May be used by several threads at once.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[AnyStr, CachedPage]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def load(self, index: str, name: str, record: AnyStr) -> CachedPage:
        """
        Blocks, for a text that is not known. The page that C{record} describes.

        @raise StoreUnavailable: the text is damaged.
        """
        key = (index, name)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is not None and known[0] == record:
            return known[1]
        page = load_page(record if isinstance(record, str) else record.decode())
        with self._lock:
            self._forget(key)
            if len(record) <= MOST_OF_ONE:
                self._known[key] = (record, page)
                self._size += len(record)
            while self._size > MOST:
                self._forget(next(iter(self._known)))
        return page

    def _forget(self, key: tuple[str, str]) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self._size -= len(known[0])
