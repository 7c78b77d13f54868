"""
What is never evicted from the cache of upstream's files: patterns in a file of the cache's own folder, where the server
and the command line both see them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from attrs import define

from cheddar.errors import Invalid, Unavailable
from cheddar.storage.cache_folder import CacheFolder
from cheddar.storage.cache_patterns import Pattern, read_patterns
from cheddar.storage.work import storing

#: No key begins with a dot.
FILE = ".pins"
_HEAD = "# What is never evicted. Changed by `cheddar cache pin` and `cheddar cache unpin`.\n"


@define(eq=False)
class Pins:
    """Everything here blocks, and runs in threads."""

    _folder: CacheFolder

    def read(self) -> tuple[Pattern, ...]:
        """@raise Unavailable: nobody can say what is pinned."""
        path = self._folder.root / FILE
        try:
            lines = path.read_text("utf-8").splitlines()
            return read_patterns([line for line in lines if line and not line.startswith("#")])
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeError, Invalid) as error:
            raise Unavailable(f"What is pinned cannot be read in {path}: {error}") from error

    def add(self, patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
        """Pin; when this returns, no eviction goes on that does not know of it. @return: what is new. [CheddarError]"""
        with storing():
            self._folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._folder.gate(wait=True):
            before = self.read()
            self._write({*before, *patterns})
            return tuple(pattern for pattern in patterns if pattern not in before)

    def remove(self, patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
        """Unpin. @return: what was pinned of these. [CheddarError]"""
        if not self.read():
            return ()
        with self._folder.gate(wait=True):
            before = self.read()
            self._write(set(before) - set(patterns))
            return tuple(pattern for pattern in patterns if pattern in before)

    def _write(self, patterns: set[Pattern]) -> None:
        path = self._folder.root / FILE
        new = path.with_name(f"{FILE}.new")
        with storing():
            with new.open("w", encoding="utf-8") as file:
                file.write(_HEAD + "".join(f"{text}\n" for text in sorted(pattern.text for pattern in patterns)))
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
