"""Who has to go when the cache of upstream's files is full: what was not used for the longest time."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from cheddar.storage.cache_folder import Amount, CachedFile, CacheFolder, amount
from cheddar.storage.cache_patterns import Pattern, matches_any

#: How much is free after an eviction, as a part of the limit: so not every file that comes makes one go.
SLACK = 1 / 20


@frozen
class Evicted:
    """
    What came of it.

    @ivar removed: what went.
    @ivar left: what is there now.
    @ivar pinned: what of that is pinned.
    """

    removed: Amount
    left: Amount
    pinned: Amount


def evict(folder: CacheFolder, limit: int, pins: Sequence[Pattern]) -> Evicted:
    """
    Remove files until there is some room below C{limit} bytes: the least recently used first, never one that is pinned
    or read. Blocks. [NoRoom, OSError, Unavailable]

    A file that is over the limit alone takes no other file's place: it goes as soon as nobody reads it.
    """
    files = sorted(folder.files(), key=lambda file: (file.used, file.key))
    pinned = [file for file in files if matches_any(pins, file)] if pins else []
    kept = {file.key for file in pinned}
    removed: list[CachedFile] = []

    def remove(file: CachedFile) -> bool:
        if file.key in kept or not folder.remove_unused(file):
            return False
        removed.append(file)
        return True

    for file in files:
        if file.size > limit:
            remove(file)
    excess = sum(file.size for file in files if file.size <= limit) - limit
    if excess > 0:
        excess += int(limit * SLACK)
        for file in files:
            if file.size <= limit and remove(file):
                excess -= file.size
                if excess <= 0:
                    break
    gone = amount(removed)
    whole = amount(files)
    return Evicted(gone, Amount(whole.files - gone.files, whole.size - gone.size), amount(pinned))
