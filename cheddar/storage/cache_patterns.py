"""Patterns by which files of the cache are named on a command line, and pinned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from cheddar.errors import Invalid
from cheddar.formats.filenames import is_distribution, same_version
from cheddar.names import normalize
from cheddar.storage.cache_folder import CachedFile

#: What L{read_pattern} reads, in words.
PATTERNS = (
    "a project (flask), a project and a version (flask/3.0.0), or a file name (flask-3.0.0-py3-none-any.whl); each may "
    "have * and ? in it"
)
_ALLOWED = re.compile(r"\A[A-Za-z0-9._+!*?-]+\Z", re.ASCII)
_WILD = re.compile(r"[*?]")


@frozen
class Pattern:
    """
    @ivar text: as it is shown and kept.
    """

    text: str
    _project: str = ""
    _version: str = ""
    _filename: str = ""

    def matches(self, file: CachedFile) -> bool:
        """Whether it is of this file, or of what lies beside one of those that it is of."""
        if self._filename:
            return fnmatchcase(file.filename, self._filename) or fnmatchcase(file.name, self._filename)
        if not fnmatchcase(file.project, self._project):
            return False
        if not self._version:
            return True
        if _WILD.search(self._version):
            return fnmatchcase(file.version, self._version)
        return same_version(file.version, self._version)


def read_pattern(text: str) -> Pattern:
    """@raise Invalid: it is none; the message says what would be one."""
    project, slash, version = text.partition("/")
    if not all(map(_ALLOWED.match, (project, version) if slash else (project,))):
        raise Invalid(f"{text!r} is no pattern of cached files: give {PATTERNS}.")
    if not slash and is_distribution(text):
        return Pattern(text, filename=text)
    # What stands between the wildcards is a piece of a name.
    name = re.sub(r"[^*?]+", lambda piece: normalize(piece[0]), project)
    return Pattern(f"{name}{slash}{version}", project=name, version=version)


def read_patterns(texts: Sequence[str]) -> tuple[Pattern, ...]:
    """Each once, sorted. [Invalid]"""
    return tuple(sorted({read_pattern(text) for text in texts}, key=lambda pattern: pattern.text))


def matches_any(patterns: Sequence[Pattern], file: CachedFile) -> bool:
    """Whether one of them is of this file."""
    return any(pattern.matches(file) for pattern in patterns)
